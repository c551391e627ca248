"""A robot's numbers as plain values, to be kept with what was trained on it and compared later."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.robots.robot import Robot

PER_JOINT = ("default_joint_pos", "kp", "kd", "torque_limit", "armature", "joint_lower", "joint_upper")
"""What a run depends on, beside the masses"""
NAMED = (
    "root_body", "torso_body", "feet_bodies", "foot_height_bodies", "termination_bodies",
    "randomized_mass_bodies", "hand_bodies", "tracked_bodies",
)  # fmt: skip
"""Fields that name bodies"""
CONFIGURED = {
    "action_scale": ("control", ("action_scale", "action_scales_by_effort_limit_over_p_gain")),
    "init_pos": ("init_state", ("pos",)),
}
"""Key of `ROBOT` that the config may set instead of the robot's files -> section of the config's robot, its keys"""

ROBOT, MODEL = "robot", "model"
"""keys of the rest of the robot, and of the numbers of the compiled model, which earlier versions did not keep"""
RELATIVE, ABSOLUTE = 1e-5, 1e-7
"""by how much two numbers that mean the same differ between machines and versions of MuJoCo"""


def record(robot: Robot) -> dict[str, Any]:
    """Names and numbers of `robot`, ready for JSON: joint or body -> name -> float, the rest, and `Robot.model`."""
    joints = {
        name: {key: _plain(getattr(robot, key)[j]) for key in PER_JOINT}
        for j, name in enumerate(robot.joint_names)
    }
    bodies = {name: {"mass": _plain(robot.body_mass[b])} for b, name in enumerate(robot.body_names)}
    mirrored = [robot.joint_names[j] for j in robot.mirror_index]
    rest = {
        **{
            name: list(value) if isinstance(value := getattr(robot, name), tuple) else value for name in NAMED
        },
        "init_pos": [*map(_plain, robot.init_pos)],
        "init_quat": [*map(_plain, robot.init_quat)],
        "soft_limit_factor": _plain(robot.soft_limit_factor),
        "action_scale": dict(zip(robot.joint_names, map(_plain, robot.action_scale), strict=True)),
        "velocity_limit": dict(zip(robot.joint_names, map(_plain, robot.velocity_limit), strict=True)),
        "mirror": dict(zip(robot.joint_names, mirrored, strict=True)),
        "mirror_sign": dict(zip(robot.joint_names, map(_plain, robot.mirror_sign), strict=True)),
    }
    return {"joints": joints, "bodies": bodies, ROBOT: rest} | ({MODEL: robot.model} if robot.model else {})


def reconfigured(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of `ROBOT` that two sections `robot` of configs set differently: there, the robot itself has not changed."""

    def settings(robot: Mapping[str, Any], section: str, names: tuple[str, ...]) -> list[Any]:
        return [(robot.get(section) or {}).get(name) or None for name in names]

    return tuple(
        key for key, place in CONFIGURED.items() if settings(before, *place) != settings(now, *place)
    )


def first_difference(saved: Mapping[str, Any], robot: Robot, *, but: tuple[str, ...] = ()) -> str | None:
    """The first number of `robot` that is not as `saved` by `record`, in words; None where all are.

    What an older checkpoint does not hold (all of it, the rest of the robot, the model) differs in nothing.

    Args:
      saved: from `record`.
      robot: to be compared.
      but: keys of `ROBOT` that may differ (`reconfigured`).
    """
    if moved := _moved(saved, robot):
        return f"joints: {moved}"
    ours = {section: values for section, values in record(robot).items() if section in saved}
    theirs = {section: values for section, values in saved.items() if section in ours}
    for section in (ours, theirs):
        if isinstance(rest := section.get(ROBOT), Mapping):
            section[ROBOT] = {key: value for key, value in rest.items() if key not in but}
    here, there = dict(_flat(ours)), dict(_flat(theirs))
    for name in [*here, *there]:
        if not _same(here.get(name), there.get(name)):
            return f"{name} is {_shown(here.get(name))}, it was {_shown(there.get(name))}"
    return None


def require_order(where: str | Path, saved: Mapping[str, Any], robot: Robot) -> None:
    """Raise ConfigError if the joints of `robot` stand in another order than when checkpoint `where` was `saved`."""
    if moved := _moved(saved, robot):
        raise ConfigError(
            f"checkpoint {where}: robot '{robot.name}' has its joints in another order than the policy: {moved}. "
            "Export the policy: its .onnx file acts on joints in any order."
        )


def _moved(saved: Mapping[str, Any], robot: Robot) -> str | None:
    """The first of the same joints that stands elsewhere, in words; None where none does."""
    there, here = [*(_part(saved, "joints") or ())], [*robot.joint_names]
    if there == here or sorted(there) != sorted(here):
        return None
    was, now = next(pair for pair in zip(there, here, strict=True) if pair[0] != pair[1])
    return f"'{now}' stands where '{was}' was"


def trained_on(saved: Mapping[str, Any], robot: Robot) -> Robot:
    """`robot` with the joints' numbers that `record` saved, by name; what an older record does not hold stays."""

    def column(key: str) -> np.ndarray:
        now = dict(zip(robot.joint_names, getattr(robot, key), strict=True))
        there = _part(saved, ROBOT, key)
        rows = {
            name: _part(saved, "joints", name, key) if there is None else _part(there, name) for name in now
        }
        numbers = {
            name: value for name, value in rows.items() if isinstance(value, float) and math.isfinite(value)
        }
        return np.array([*(now | numbers).values()], np.float32)

    return dataclasses.replace(robot, **{key: column(key) for key in (*PER_JOINT, "action_scale")})


def _part(tree: Any, *keys: str) -> Any:
    """What `tree` holds under `keys`; None where it does not go so deep."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def unknown_model(where: Path, saved: Mapping[str, Any], robot: Robot) -> str | None:
    """What to tell whoever continues with checkpoint `where` if its record says nothing of the model; else None."""
    if MODEL in saved or not robot.model:
        return None
    return (
        f"checkpoint {where} is of an earlier version, which did not keep the numbers of the model: whether "
        f"{robot.mjcf.name} is as it was then cannot be told."
    )


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _flat(value, f"{path}[{index}]")
    else:
        yield path, tree


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return one == other


def _plain(value: Any) -> float:
    """The shortest decimal that reads back as the same float32."""
    return float(str(np.float32(value)))


def _shown(value: Any) -> str:
    return "absent" if value is None else f"{value:g}" if isinstance(value, float) else repr(value)[:60]
