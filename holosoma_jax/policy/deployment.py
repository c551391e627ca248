"""What holosoma's deployment program asks of a policy file, as a check; of tracking, with `tracking_deployment`.

The file may still be a good policy where this finds something: the program has the gains and rates of
its two robots built in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from holosoma_jax.motion.formats.policy_graph import TIME_STEP
from holosoma_jax.policy import tracking_deployment

INPUT_NAME = "actor_obs"
ACTION_SCALE = 0.25
"""rad per unit of action, whatever the file says"""
CONTROL_DT = 0.02
"""s, whatever the file says"""
TERMS = (
    ("actions", 29),
    ("base_ang_vel", 3),
    ("command_ang_vel", 1),
    ("command_lin_vel", 2),
    ("cos_phase", 2),
    ("dof_pos", 29),
    ("dof_vel", 29),
    ("projected_gravity", 3),
    ("sin_phase", 2),
)
"""Term -> entries of one frame; the program builds this observation."""
SCALES = {"g1": {"base_ang_vel": 0.25, "dof_vel": 0.05}, "t1": {"dof_vel": 0.1}}
"""Robot -> term -> what the program multiplies it by, whatever the file says; 1 for the others"""


def problems(path: str | os.PathLike[str]) -> list[str]:
    """Why the deployment program would refuse the file, or run it wrongly; one sentence each.

    Checked: inputs and outputs by name and shape; every metadata value a JSON document; ``kp``, ``kd`` and
    ``dof_names`` with one entry an action; 50 Hz, the terms that it observes and their scales, where the file states
    these. Of locomotion also an action scale of 0.25 for every joint; of tracking the URDF, the anchor, the clip's end.

    Raises:
      OSError: the file cannot be read.
    """
    import onnx

    model = onnx.load_model_from_string(Path(path).read_bytes())
    tracking = any(item.name == TIME_STEP for item in model.graph.input)
    faults = [] if not tracking else tracking_deployment.graph_problems(model.graph)
    faults += _graph(model, () if tracking else (INPUT_NAME,))
    meta: dict[str, Any] = {}
    for item in model.metadata_props:
        try:
            meta[item.key] = json.loads(item.value)
        except ValueError:
            faults.append(f"metadata '{item.key}' is not JSON: the program refuses the whole file")
    joints = (_shape(model.graph.output[0]) or [0])[-1]
    for key in ("dof_names", "kp", "kd"):
        value = meta.get(key)
        if not isinstance(value, list) or len(value) != joints:
            held = f"{len(value)} entries" if isinstance(value, list) else "none"
            faults.append(f"metadata '{key}' has {held}, wanted {joints}, one per action")
    if tracking:
        faults += tracking_deployment.conventions(meta, tracking_deployment.last_joint_vel(model.graph))
        return faults + _rates(meta) + _observed(meta, tracking_deployment.TERMS, {})
    scale = meta.get("action_scale")
    if scale is not None and not np.allclose(scale, ACTION_SCALE):
        faults.append(
            f"it moves joints by {ACTION_SCALE} rad per unit of action; this policy was trained otherwise"
        )
    return faults + _rates(meta) + _observed(meta, TERMS, SCALES.get(str(meta.get("robot"))))


def _graph(model: Any, names: tuple[str, ...]) -> list[str]:
    """What is wrong with the first input and output, and with the inputs' `names`, where there are some."""
    faults = []
    inputs, output = list(model.graph.input), model.graph.output[0]
    if names and tuple(i.name for i in inputs) != names:
        faults.append(f"the inputs are {[i.name for i in inputs]}, wanted '{INPUT_NAME}' alone")
    for kind, value in (("input", inputs[0]), ("output", output)):
        shape = _shape(value)
        if len(shape) != 2 or shape[0] != 1 or shape[1] < 1:
            said = str([size or "any" for size in shape]).replace("'", "")
            faults.append(f"the {kind} '{value.name}' is {said}, wanted [1, n] (export with a batch of 1)")
    return faults


def _rates(meta: dict[str, Any]) -> list[str]:
    dt = meta.get("control_dt")
    if dt is not None and abs(dt - CONTROL_DT) > 1e-9:
        return [f"it acts every {CONTROL_DT} s; this policy was trained for {dt} s"]
    return []


def _observed(
    meta: dict[str, Any], wanted_terms: tuple[tuple[str, int], ...], scales: Mapping[str, float] | None
) -> list[str]:
    """What is observed otherwise than `wanted_terms`; scales other than `scales`, 1 for the rest, None for any."""
    layout, faults = meta.get("observation_layout"), list[str]()
    if layout is None:
        return faults
    terms = tuple((term.get("name"), term.get("dim")) for term in layout)
    if terms != wanted_terms:
        odd = sorted(set(terms) ^ set(wanted_terms), key=str)
        faults.append(
            f"it observes other terms than this policy; they differ in {odd[0][0]} ({odd[0][1]} entries)"
            if odd
            else f"it observes the terms in another order; wanted {', '.join(name for name, _ in wanted_terms)}"
        )
    for term in layout if scales is not None else ():
        factor = (scales or {}).get(term.get("name"), 1.0)
        scale = term.get("scale", factor)
        if scale is None or not np.isclose(scale, factor):
            faults.append(
                f"it multiplies '{term.get('name')}' by {factor}; this policy was trained with {scale}"
            )
    frames = {term.get("history_length", 1) for term in layout}
    if frames != {1}:
        faults.append(f"its observation history has to be set to {max(frames)} frames there, too")
        if any(term.get("history_fill") == "first" for term in layout):
            faults.append(
                "it fills the history before the start with zeros, this policy's held its first frame"
            )
    return faults


def _shape(value: Any) -> list[int]:
    """Sizes; 0 for one that is not fixed."""
    return [int(d.dim_value) for d in value.type.tensor_type.shape.dim]
