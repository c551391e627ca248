"""Metadata of a policy file as other projects write it, in the form that our exporter writes.

holosoma writes every value as JSON; what it writes has changed from release to release. mjlab and BeyondMimic
(`whole_body_tracking`) write comma-separated text with three decimals, under other keys. Only keys in `READ` and
`ALIASES` have to make sense: what does not matter for running a policy never stops it from being run.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from holosoma_jax.policy.foreign import observation_names

READ = (
    "dof_names",
    "kp",
    "kd",
    "action_scale",
    "default_joint_pos",
    "torque_limit",
    "command_ranges",
    "observation_layout",
    "observation_clip",
    "action_clip",
    "control_dt",
    "iteration",
)
"""Keys that an evaluation acts upon."""

ALIASES: Mapping[str, str] = {
    "joint_names": "dof_names",
    "joint_stiffness": "kp",
    "joint_damping": "kd",
    "clip_actions": "action_clip",
}
"""Key of mjlab, BeyondMimic and rsl_rl -> ours."""

_LISTS = (
    *ALIASES,
    "default_joint_pos",
    "action_scale",
    "observation_names",
    "command_names",
    "body_names",
    "observation_history_lengths",
)
"""Keys whose value may be comma-separated text."""
_BEYOND_MIMIC = (
    *("motion_command", "motion_anchor_pos_b", "motion_anchor_ori_b"),
    *("base_lin_vel", "base_ang_vel", "joint_pos", "joint_vel", "actions"),
)
"""What policies of BeyondMimic and mjlab observe"""
_ESTIMATES = ("motion_anchor_pos_b", "base_lin_vel")
"""... but for those without state estimation"""
RESTATED = ("observation_scales", "observation_history", "observation_history_fill")
"""Keys that replace what a layout says of its terms."""
_USUAL_CLIP = 100.0  # of holosoma's presets, as of ours
PER_JOINT = ("kp", "kd", "action_scale", "default_joint_pos", "torque_limit")
"""Keys with one number a joint."""


def decode(raw: Mapping[str, str]) -> dict[str, Any]:
    """Inverse of `onnx_metadata.encode`, and more lenient.

    A value is a JSON document, with Python's ``NaN`` and ``Infinity``, a Python literal (``"['a', 'b']"``), or
    comma-separated where mjlab writes it so. Text of any other kind is kept as it is where its key is not in
    `READ`.

    Raises:
      ValueError: names the key of `READ` whose text cannot be read.
    """
    decoded = {}
    for key, text in raw.items():
        if not isinstance(key, str) or not isinstance(
            text, str
        ):  # protobuf's bytes, where they are not UTF-8
            raise ValueError(f"metadata {key!r:.40} is not UTF-8 text: the file is damaged.")
        try:
            decoded[key] = _value(text)
        except ValueError as error:
            if key in _LISTS:
                decoded[key] = _separated(text)
            elif key in READ:
                shown = text if len(text) <= 40 else text[:37] + "..."
                raise ValueError(f"metadata '{key}' is not JSON ({shown!r}): {error}.") from None
            else:
                decoded[key] = text
        if key in _LISTS and isinstance(decoded[key], tuple):
            decoded[key] = list(decoded[key])
    return decoded


def normalize(meta: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Decoded metadata with every value that is written in another way rewritten as ours is.

    - other projects' keys -> ours (`ALIASES`), ``observation_names`` -> ``observation_layout``;
    - per-joint numbers given by name, or one for all -> in the order of ``dof_names``;
    - ``observation_layout``: the terms of `group` alone, where terms say which group they are of, with
      ``observation_scales``, ``observation_history`` and ``observation_history_fill`` in place of their own; a
      missing history is one frame, no scale (null) is 1, a scale repeated for every entry is that scale; a
      term's clip that is as wide as the whole observation's is none;
    - an ``iteration`` that is whole but not an integer -> an integer.

    What cannot be rewritten is left for `metadata_checks.check_metadata` to name.

    Raises:
      ValueError: a term is clipped, which cannot be observed here, or has a scale for each of other entries; there
        are not as many scales as terms; a history is no number of frames.
    """
    result = dict(meta)
    for theirs, ours in ALIASES.items():
        if result.get(ours) is None and meta.get(theirs) is not None:
            result[ours] = meta[theirs]
    if isinstance(result.get("dof_names"), str):
        result["dof_names"] = [result["dof_names"]]
    names = result["dof_names"] if isinstance(result.get("dof_names"), list) else []
    for key in PER_JOINT if names else ():
        value = result.get(key)
        if isinstance(value, Mapping) and set(value) == set(names):
            result[key] = [value[name] for name in names]
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and key != "action_scale":
            result[key] = [value] * len(names)
    iteration = meta.get("iteration")
    if isinstance(iteration, float) and iteration.is_integer():
        result["iteration"] = int(iteration)
    layout, observed = meta.get("observation_layout"), meta.get("observation_names")
    if layout is None and observed is not None:
        if isinstance(observed, str):
            meta = {**meta, "observation_names": [observed]}
        elif not isinstance(observed, (list, tuple)):
            raise ValueError(f"'observation_names' is {observed!r:.60}, wanted a list of names.")
        layout = _layout(meta)
    if isinstance(layout, (list, tuple)) and all(isinstance(term, Mapping) for term in layout):
        clip = meta.get("observation_clip")
        widest = float(clip) if isinstance(clip, (int, float)) else _USUAL_CLIP
        joints = len(names) or None
        terms = [term for term in layout if term.get("group", group) == group]
        result["observation_layout"] = [_term(term, widest, joints) for term in _restated(terms, meta)]
    return result


def of_tracking(
    meta: Mapping[str, Any], clip: tuple[str, ...], obs_dim: int, action_dim: int
) -> dict[str, Any]:
    """Decoded metadata of a policy with a motion clip, with what its framework's files mean without saying.

    The term ``command`` is the clip's. mjlab's and BeyondMimic's layout is one of their two, with and without state
    estimation, by the size of the input; holosoma's is its preset's.

    Args:
      meta: as `decode` returns it, and what is stated otherwise.
      clip: outputs that hold the clip.
      obs_dim: entries of the input.
      action_dim: of the output.
    """
    result: dict[str, Any] = {"command_names": ["motion"]} | dict(meta)
    silent = all(meta.get(key) is None for key in ("observation_layout", "observation_names"))
    if silent and "ref_pos_xyz" not in clip:
        for names in (_BEYOND_MIMIC, tuple(n for n in _BEYOND_MIMIC if n not in _ESTIMATES)):
            if sum(observation_names.width(name, action_dim) or 0 for name in names) == obs_dim:
                result["observation_names"] = list(names)
    return result


def _layout(meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The layout that ``observation_names`` gives, with BeyondMimic's ``observation_history_lengths``.

    Raises:
      ValueError: a history is no number of frames.
    """
    names = [str(name) for name in meta["observation_names"]]
    commands = meta.get("command_names")
    motion = isinstance(commands, (str, list, tuple)) and "motion" in commands
    names = ["motion_command" if motion and name == "command" else name for name in names]
    lengths: Any = None
    if meta.get("observation_history") is None:
        lengths = meta.get("observation_history_lengths")  # one for each name, or for all
    if isinstance(lengths, (int, float)):
        lengths = [lengths] * len(names)
    frames = dict(zip(names, lengths if isinstance(lengths, (list, tuple)) else (), strict=False))
    return [{"name": name, "scale": 1.0, "history_length": _frames(frames.get(name), name)} for name in names]


def _restated(terms: Sequence[Mapping[str, Any]], meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`terms` with ``observation_scales``, ``observation_history`` and ``observation_history_fill`` laid over.

    Raises:
      ValueError: there are not as many scales as terms, or a history is no number of frames.
    """
    scales, history, fill = (meta.get(key) for key in RESTATED)
    if isinstance(scales, (int, float)):
        scales = [scales] * len(terms)
    if scales is not None and not isinstance(scales, (list, tuple, Mapping)):
        raise ValueError(f"'observation_scales' is {scales!r}, wanted one number for each term.")
    if isinstance(scales, (list, tuple)) and len(scales) != len(terms):
        raise ValueError(
            f"'observation_scales' has {len(scales)} entries, the observation {len(terms)} terms."
        )
    result = []
    for index, term in enumerate(terms):
        changed, name = dict(term), str(term.get("name"))
        if isinstance(scales, Mapping):
            changed |= {"scale": scales[name]} if name in scales else {}
        elif scales is not None:
            changed["scale"] = scales[index]
        frames = history.get(name) if isinstance(history, Mapping) else history
        if frames is not None:
            changed["history_length"] = _frames(frames, name)
        result.append(changed if fill is None else changed | {"history_fill": fill})
    return result


def _frames(value: Any, name: str) -> int:
    """Frames of the term `name`, of which there is one at least; raises ValueError where `value` is no number."""
    try:
        return max(1, int(1 if value is None else value))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"the history of '{name}' is {value!r:.40}, wanted a number of frames.") from None


def _value(text: str) -> Any:
    """The JSON document or Python literal that `text` is; raises ValueError where it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            raise ValueError(str(error)) from None


def _separated(text: str) -> list[Any]:
    """The parts of comma-separated text: numbers where all of them are."""
    parts = [part.strip() for part in text.split(",")]
    try:
        return [float(part) for part in parts]
    except ValueError:
        return parts


def _numbers(value: Any, what: str) -> np.ndarray:
    """`value` as float64; raises ValueError where it is not made of finite numbers."""
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.full(1, np.nan)
    if not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(f"the {what} is {value!r}, wanted finite numbers.")
    return numbers


def _term(term: Mapping[str, Any], widest: float, joints: int | None) -> dict[str, Any]:
    name = term.get("name")
    result = {"history_length": 1, **term}
    if "dim" not in term and joints is not None:
        result["dim"] = observation_names.width(str(name), joints)
        if result["dim"] is None:
            known = ", ".join(observation_names.known())
            raise ValueError(
                f"it observes '{name}', which is not known here. Known: {known}; give --policy.observation-names."
            )
    if "scale" in term:
        scale = _numbers(1.0 if term["scale"] is None else term["scale"], f"scale of '{name}'")
        distinct = np.unique(scale)
        if distinct.size > 1 and scale.shape != (result.get("dim"),):
            raise ValueError(
                f"observation term '{name}' has {distinct.size} different scales for {result.get('dim')} entries."
            )
        result["scale"] = float(distinct[0]) if distinct.size == 1 else scale.tolist()
    clip = term.get("clip")
    if clip is not None and np.min(np.abs(_numbers(clip, f"clip of '{name}'"))) < widest:
        raise ValueError(
            f"observation term '{name}' is clipped to {clip}; terms are not clipped one by one here."
        )
    return result
