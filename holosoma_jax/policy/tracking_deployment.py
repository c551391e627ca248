"""What holosoma's deployment program asks of a file of whole-body tracking, as a check; see `deployment`.

The program runs the graph at a frame's number that it counts itself, observes the frame of the tick before, and finds
the anchor's orientation from the joints with the URDF in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from holosoma_jax.motion.formats.onnx_graph import GraphIndex
from holosoma_jax.motion.formats.policy_graph import ANCHOR, CLIPS, HOLOSOMA, TIME_STEP

if TYPE_CHECKING:
    import onnx

TERMS = (
    ("actions", 29),
    ("base_ang_vel", 3),
    ("dof_pos", 29),
    ("dof_vel", 29),
    ("motion_command", 58),
    ("motion_ref_ori_b", 6),
)
"""Term -> entries of one frame; the program builds this observation, with scales of 1."""
ACTION_CLIP = 100.0
"""Actions are clipped to +- this, whatever the file says."""
STILL = 0.5
"""rad/s: at the end of the clip the program keeps commanding the last frame's joint velocities; slower ones are rest"""


def graph_problems(graph: onnx.GraphProto) -> list[str]:
    """Inputs and outputs that the program does not feed or read; one sentence each."""
    faults = []
    inputs, outputs = [i.name for i in graph.input], [o.name for o in graph.output]
    if inputs != ["obs", TIME_STEP]:
        faults.append(f"the inputs are {inputs}, wanted 'obs' and '{TIME_STEP}'")
    if outputs != ["actions", *HOLOSOMA]:
        missing = next((name for name in ("actions", *HOLOSOMA) if name not in outputs), outputs[0])
        faults.append(f"the outputs are {outputs}, look at '{missing}': export with --signature holosoma")
    return faults


def conventions(meta: Mapping[str, Any], last_joint_vel: np.ndarray | None) -> list[str]:
    """What the program takes for granted, and the policy was trained otherwise; one sentence each.

    Args:
      meta: decoded metadata.
      last_joint_vel: [J] rad/s of the clip's last frame; None where the file has none.
    """
    faults = []
    urdf, anchor = meta.get("robot_urdf"), meta.get("anchor_body_name", ANCHOR)
    if not isinstance(urdf, str):
        faults.append("metadata 'robot_urdf' has none: the program needs it for the anchor's orientation")
    elif f'"{ANCHOR}"' not in urdf:
        faults.append(f"metadata 'robot_urdf' has no link '{ANCHOR}', whose orientation the program observes")
    if anchor != ANCHOR:
        faults.append(f"it observes the orientation of '{ANCHOR}'; this policy was trained with '{anchor}'")
    clip = meta.get("action_clip")
    if clip is not None and not np.isclose(clip, ACTION_CLIP):
        faults.append(f"it clips actions to {ACTION_CLIP:g}; this policy was trained with {clip:g}")
    clips = meta.get(CLIPS) or ()
    if len(clips) > 1:
        faults.append(f"it plays the {len(clips)} clips one behind the other, without a transition")
    if last_joint_vel is not None and np.abs(last_joint_vel).max() > STILL:
        fastest = float(np.abs(last_joint_vel).max())
        faults.append(
            f"it holds the last frame of the clip, in which a joint moves at {fastest:.1f} rad/s: give it a transition "
            "with motion_config.enable_default_pose_append, or motion_end_timestep there"
        )
    return faults


def last_joint_vel(graph: onnx.GraphProto) -> np.ndarray | None:
    """[J] rad/s of the clip's last frame, in the table's order; None where the graph has no such table."""
    from onnx import numpy_helper

    found = GraphIndex(graph).table("joint_vel")
    return None if found is None else np.take(numpy_helper.to_array(found[0]), -1, axis=found[1])
