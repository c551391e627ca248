"""What may be wrong with the metadata of a policy file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holosoma_jax.config.values import MAX_FLOAT, MIN_FLOAT

HISTORY_FILLS = ("zero", "first")
"""What the frames of a history hold that lie before the episode."""
REQUIRED = ("dof_names", "kp", "kd")
"""Without these holosoma's deployment program cannot run a policy."""

_PER_JOINT = ("kp", "kd", "action_scale", "default_joint_pos", "torque_limit")


def check_metadata(
    meta: Mapping[str, Any],
    *,
    obs_dim: int | None = None,
    action_dim: int | None = None,
    required: Sequence[str] = REQUIRED,
) -> list[str]:
    """What is wrong with decoded metadata, one line each; empty when nothing is.

    Every known key is checked when present, unknown keys are ignored.

    Args:
      meta: decoded values.
      obs_dim: entries of the policy's input; compared with the layout when both are there.
      action_dim: entries of the policy's output; compared with ``dof_names``.
      required: keys that have to be there; the default is what a file for a robot needs.
    """
    problems = [f"'{key}' is missing" for key in required if meta.get(key) is None]
    names = meta.get("dof_names")
    joints = action_dim
    if names is not None:
        if not _is_list_of(names, str) or not all(names) or not names:
            problems.append(f"'dof_names' is {_shown(names)}, wanted a list of joint names")
        else:
            repeated = [name for i, name in enumerate(names) if name in names[:i]]
            if repeated:
                problems.append(f"'dof_names' lists '{repeated[0]}' twice")
            if action_dim is not None and len(names) != action_dim:
                problems.append(f"'dof_names' has {len(names)} names, the action has {action_dim} entries")
            joints = len(names)
    for key in _PER_JOINT:
        if meta.get(key) is not None:
            problems += _check_per_joint(key, meta[key], joints)
    problems += _check_ranges(meta.get("command_ranges"))
    problems += _check_layout(meta.get("observation_layout"), obs_dim)
    for key in ("observation_clip", "action_clip", "control_dt"):
        value = meta.get(key)
        if value is not None and not (_is_number(value) and value > 0):
            problems.append(f"'{key}' is {_shown(value)}, wanted a positive number")
    iteration = meta.get("iteration")
    if iteration is not None and (
        not isinstance(iteration, int) or isinstance(iteration, bool) or iteration < 0
    ):
        problems.append(f"'iteration' is {_shown(iteration)}, wanted an integer >= 0")
    return problems


def _check_per_joint(key: str, value: Any, joints: int | None) -> list[str]:
    if key == "action_scale" and _is_number(value):  # one scale for every joint
        return [] if value >= MIN_FLOAT else [f"'action_scale' is {value}, wanted > 0"]
    if not isinstance(value, list) or not all(_is_number(item) for item in value):
        return [f"'{key}' is {_shown(value)}, wanted one finite number per joint"]
    if joints is not None and len(value) != joints:
        return [f"'{key}' has {len(value)} entries, wanted {joints}, one per joint"]
    if key in ("kp", "kd", "torque_limit") and min(value, default=1) < MIN_FLOAT:
        return [f"'{key}' has the entry {min(value)}, wanted > 0"]
    if key == "action_scale" and min(value, default=1) < MIN_FLOAT:  # below, float32 holds 0
        return [f"'action_scale' has the entry {min(value)}, wanted > 0"]
    return []


def _check_ranges(ranges: Any) -> list[str]:
    if ranges is None:
        return []
    if not isinstance(ranges, Mapping):
        return [f"'command_ranges' is {_shown(ranges)}, wanted name -> [low, high], or null"]
    return [
        f"'command_ranges.{name}' is {_shown(pair)}, wanted [low, high]"
        for name, pair in ranges.items()
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and all(map(_is_number, pair)))
        or pair[0] > pair[1]
    ]


def _check_layout(layout: Any, obs_dim: int | None) -> list[str]:
    if layout is None:
        return []
    if not _is_list_of(layout, Mapping):
        return [f"'observation_layout' is {_shown(layout)}, wanted a list of objects"]
    total = 0
    for i, term in enumerate(layout):
        missing = [key for key in ("name", "dim", "history_length") if key not in term]
        if missing:
            return [f"'observation_layout[{i}]' lacks '{missing[0]}'"]
        if not isinstance(term["name"], str) or not term["name"]:
            return [f"'observation_layout[{i}].name' is {_shown(term['name'])}, wanted text"]
        frame, history = term["dim"], term["history_length"]
        if not (isinstance(frame, int) and isinstance(history, int) and frame > 0 and history > 0):
            return [f"'observation_layout[{i}]': dim {frame}, history_length {history}, wanted integers > 0"]
        if term.get("history_fill", "zero") not in HISTORY_FILLS:
            fill = _shown(term["history_fill"])
            return [
                f"'observation_layout[{i}]': history_fill {fill}, wanted one of {', '.join(HISTORY_FILLS)}"
            ]
        total += frame * history
    if obs_dim is not None and total != obs_dim:
        return [f"'observation_layout' adds up to {total} entries, the input has {obs_dim}"]
    return []


def _is_number(value: Any) -> bool:
    """Whether it is a number that float32 holds."""
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and -MAX_FLOAT <= value <= MAX_FLOAT
    )


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
