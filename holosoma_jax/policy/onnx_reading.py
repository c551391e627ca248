"""Metadata of a policy file as anybody may have written it, in the form that our exporter writes.

The reference writes every value as JSON; what it writes has changed from release to release. What does
not matter for running a policy never stops it from being run: only keys in `READ` have to make sense.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

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
    "control_dt",
    "iteration",
)
"""Keys that an evaluation acts upon."""

_USUAL_CLIP = 100.0  # of the reference's presets, as of ours
_PER_JOINT = ("kp", "kd", "action_scale", "default_joint_pos", "torque_limit")


def decode(raw: Mapping[str, str]) -> dict[str, Any]:
    """Inverse of `onnx_metadata.encode`, and more lenient.

    A value is a JSON document, with Python's ``NaN`` and ``Infinity``, or a Python literal
    (``"['a', 'b']"``). Text of any other kind is kept as it is where its key is not in `READ`.

    Raises:
      ValueError: names the key of `READ` whose text cannot be read.
    """
    decoded = {}
    for key, text in raw.items():
        try:
            decoded[key] = _value(text)
        except ValueError as error:
            if key in READ:
                shown = text if len(text) <= 40 else text[:37] + "..."
                raise ValueError(f"metadata '{key}' is not JSON ({shown!r}): {error}.") from None
            decoded[key] = text
    return decoded


def harmonize(meta: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Decoded metadata with every value that is written in another way rewritten as ours is.

    - per-joint numbers given by name -> in the order of ``dof_names``;
    - ``observation_layout``: the terms of `group` alone, where terms say which group they are of; a missing
      history is one frame, no scale (null) is 1, a scale repeated for every entry is that scale; a term's
      clip that is as wide as the whole observation's is none;
    - an ``iteration`` that is whole but not an integer -> an integer.

    What cannot be rewritten is left for `onnx_metadata.check_metadata` to name.

    Raises:
      ValueError: a term scales its entries differently, or is clipped; neither can be observed here.
    """
    result = dict(meta)
    names = meta.get("dof_names")
    for key in _PER_JOINT:
        value = meta.get(key)
        if isinstance(value, Mapping) and isinstance(names, list) and set(value) == set(names):
            result[key] = [value[name] for name in names]
    iteration = meta.get("iteration")
    if isinstance(iteration, float) and iteration.is_integer():
        result["iteration"] = int(iteration)
    layout = meta.get("observation_layout")
    if isinstance(layout, (list, tuple)) and all(isinstance(term, Mapping) for term in layout):
        clip = meta.get("observation_clip")
        widest = float(clip) if isinstance(clip, (int, float)) else _USUAL_CLIP
        result["observation_layout"] = [
            _term(term, widest) for term in layout if term.get("group", group) == group
        ]
    return result


def _value(text: str) -> Any:
    """The JSON document or Python literal that `text` is; raises ValueError where it is neither."""
    try:
        return json.loads(text)
    except ValueError as error:
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise ValueError(str(error)) from None


def _term(term: Mapping[str, Any], widest: float) -> dict[str, Any]:
    name = term.get("name")
    result = {"history_length": 1, **term}
    if "scale" in term:
        scale = np.unique(np.asarray(1.0 if term["scale"] is None else term["scale"], np.float64))
        if scale.size != 1:
            raise ValueError(
                f"observation term '{name}' has {scale.size} different scales; one for all of its entries "
                "can be observed here."
            )
        result["scale"] = float(scale[0])
    clip = term.get("clip")
    if clip is not None and float(np.min(np.abs(np.asarray(clip, np.float64)))) < widest:
        raise ValueError(
            f"observation term '{name}' is clipped to {clip}; terms are not clipped one by one here."
        )
    return result
