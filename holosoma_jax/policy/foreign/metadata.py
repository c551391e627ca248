"""Metadata of a policy file as other projects write it, in the form that our exporter writes.

holosoma writes every value as JSON; what it writes has changed from release to release. mjlab and BeyondMimic
(`whole_body_tracking`) write comma-separated text with three decimals, under other keys. Only keys in `READ` and
`ALIASES` have to make sense: what does not matter for running a policy never stops it from being run.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

from holosoma_jax.policy.foreign import observed_terms

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

PER_JOINT = ("kp", "kd", "action_scale", "default_joint_pos", "torque_limit")
"""Keys with one number a joint."""
_LISTS = (
    *ALIASES,
    *PER_JOINT,
    "dof_names",
    "observation_names",
    "command_names",
    "body_names",
    "observation_history_lengths",
    *observed_terms.EACH,
)
"""Keys whose value may be comma-separated text, mjlab's parts of which are lists with semicolons between."""


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
    - ``observation_layout``: as `observed_terms.layout`;
    - an ``iteration`` that is whole but not an integer -> an integer.

    What cannot be rewritten is left for `metadata_checks.check_metadata` to name.

    Raises:
      ValueError: as `observed_terms.layout`.
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
    layout = observed_terms.layout(meta, group, len(names) or None)
    return result if layout is None else result | {"observation_layout": layout}


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
    """The parts of comma-separated text: numbers where all of them are, lists of numbers where semicolons are."""
    parts = [part.strip() for part in text.split(",")]
    try:
        return [[float(x) for x in part.split(";")] if ";" in part else float(part) for part in parts]
    except ValueError:
        return parts
