"""A robot's numbers as plain values, to be kept with what was trained on it and compared later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from holosoma_jax.robots.robot import Robot

PER_JOINT = ("default_joint_pos", "kp", "kd", "torque_limit", "armature", "joint_lower", "joint_upper")
"""What a run depends on, beside the masses; initial pose and action scale are the config's."""


def record(robot: Robot) -> dict[str, Any]:
    """Names and numbers of `robot`, ready for JSON: joint or body -> name -> float."""
    joints = {
        name: {key: _plain(getattr(robot, key)[j]) for key in PER_JOINT}
        for j, name in enumerate(robot.joint_names)
    }
    bodies = {name: {"mass": _plain(robot.body_mass[b])} for b, name in enumerate(robot.body_names)}
    return {"joints": joints, "bodies": bodies}


def first_difference(saved: Mapping[str, Any], robot: Robot) -> str | None:
    """The first number of `robot` that is not as `saved` by `record`, in words; None where all are.

    An empty record (of an older checkpoint) differs in nothing.
    """
    if not saved:
        return None
    theirs, ours = dict(_flat(saved)), dict(_flat(record(robot)))
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            return f"{name} is {_shown(ours.get(name))}, it was {_shown(theirs.get(name))}"
    return None


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(tree, Mapping):
        yield path, tree
        return
    for key, value in tree.items():
        yield from _flat(value, f"{path}.{key}" if path else str(key))


def _plain(value: Any) -> float:
    """The shortest decimal that reads back as the same float32."""
    return float(str(np.float32(value)))


def _shown(value: Any) -> str:
    return "absent" if value is None else f"{value:g}" if isinstance(value, float) else repr(value)[:60]
