"""The terms that a policy observes, out of what other projects' metadata say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from holosoma_jax.policy.foreign import observation_names

EACH = ("observation_terms_scale", "observation_terms_clip", "observation_terms_history_length")
"""Keys of mjlab with one entry for each of ``observation_names``; a history of 0 is one frame."""

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


def layout(meta: Mapping[str, Any], group: str, joints: int | None) -> Any:
    """``observation_layout`` of decoded metadata, or the one that ``observation_names`` gives; None without either.

    It has the terms of `group` alone, where terms say which group they are of, with ``observation_scales``,
    ``observation_history`` and ``observation_history_fill`` in place of their own; a missing history is one frame, no
    scale (null) is 1, a scale repeated for every entry is that scale; a term's clip that is as wide as the whole
    observation's is none. What is no list of terms is left as it is.

    Args:
      meta: as `metadata.decode` returns it, and what is stated otherwise.
      group: the environment's group that the policy reads.
      joints: of the policy; None: not known.

    Raises:
      ValueError: a term is clipped, which cannot be observed here, or has a scale for each of other entries; there
        are not as many scales as terms; a history is no number of frames.
    """
    found, observed = meta.get("observation_layout"), meta.get("observation_names")
    if found is None and observed is not None:
        if isinstance(observed, str):
            meta = {**meta, "observation_names": [observed]}
        elif not isinstance(observed, (list, tuple)):
            raise ValueError(f"'observation_names' is {observed!r:.60}, wanted a list of names.")
        found = _of_names(meta)
    if not isinstance(found, (list, tuple)) or not all(isinstance(term, Mapping) for term in found):
        return found
    clip = meta.get("observation_clip")
    widest = float(clip) if isinstance(clip, (int, float)) else _USUAL_CLIP
    terms = [term for term in found if term.get("group", group) == group]
    return [_term(term, widest, joints) for term in _restated(terms, meta)]


def _of_names(meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The layout that ``observation_names`` gives, with what BeyondMimic and mjlab say of each term.

    Both are frameworks in which the frames before an episode hold its first one.

    Raises:
      ValueError: a history is no number of frames; there are not as many entries of `EACH` as names.
    """
    names = [str(name) for name in meta["observation_names"]]
    scales, clips, lengths = (_each(meta, key, names) for key in EACH)
    if lengths is None:
        lengths = meta.get("observation_history_lengths")  # one for each name, by name, or one for all
    if isinstance(lengths, (int, float)):
        lengths = [lengths] * len(names)
    if isinstance(lengths, Mapping):
        lengths = [lengths.get(name) for name in names]
    if meta.get("observation_history") is not None or not isinstance(lengths, (list, tuple)):
        lengths = ()
    commands = meta.get("command_names")
    motion = isinstance(commands, (str, list, tuple)) and "motion" in commands
    terms: list[dict[str, Any]] = []
    for i, name in enumerate(names):
        frames = _frames(lengths[i] if i < len(lengths) else None, name)
        term = {"name": "motion_command" if motion and name == "command" else name, "history_length": frames}
        term["scale"] = 1.0 if scales is None else scales[i]
        term |= {"history_fill": "first"} if frames > 1 else {}
        terms.append(term if clips is None else term | {"clip": clips[i]})
    return terms


def _each(meta: Mapping[str, Any], key: str, names: Sequence[str]) -> Sequence[Any] | None:
    """The value of `key`, one entry for each of `names`; None where it is not stated.

    Raises:
      ValueError: it has another number of entries.
    """
    value = meta.get(key)
    if isinstance(value, (int, float)):  # of the only name
        value = [value]
    if value is None or (isinstance(value, (list, tuple)) and len(value) == len(names)):
        return value
    raise ValueError(f"'{key}' is {value!r:.60}, wanted one entry for each of the {len(names)} terms.")


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


def _numbers(value: Any, what: str, *, finite: bool = True) -> np.ndarray:
    """`value` as float64; raises ValueError where it is not made of numbers."""
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.full(1, np.nan)
    if not numbers.size or np.isnan(numbers).any() or (finite and np.isinf(numbers).any()):
        raise ValueError(f"the {what} is {value!r}, wanted {'finite ' * finite}numbers.")
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
    if clip is not None and np.min(np.abs(_numbers(clip, f"clip of '{name}'", finite=False))) < widest:
        raise ValueError(
            f"observation term '{name}' is clipped to {clip}; terms are not clipped one by one here."
        )
    return result
