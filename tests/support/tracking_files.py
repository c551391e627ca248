"""Policy files of whole-body tracking as holosoma and as BeyondMimic write them, with a scripted policy inside.

The policy commands the joints that the clip has, as it reads them from its observation; stiff gains hold the robot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from holosoma_jax.motion.clip import Clip
from holosoma_jax.robots.robot import Robot
from tests.support.onnx_files import Graph

BODIES = (
    *("pelvis", "left_hip_roll_link", "left_knee_link", "left_ankle_roll_link"),
    *("right_hip_roll_link", "right_knee_link", "right_ankle_roll_link", "torso_link"),
    *("left_shoulder_roll_link", "left_elbow_link", "left_wrist_yaw_link"),
    *("right_shoulder_roll_link", "right_elbow_link", "right_wrist_yaw_link"),
)
LEG, WAIST, ARM = (350.0, 200.0, 200.0, 300.0, 300.0, 150.0), (200.0,) * 3, (40.0,) * 7
KP = np.array([*LEG, *LEG, *WAIST, *ARM, *ARM])
KD = np.array([*2 * (5.0, 5.0, 5.0, 10.0, 5.0, 5.0), *3 * (5.0,), *14 * (1.0,)])
SCALE = np.linspace(0.2, 0.6, 29)


def holosoma_file(
    path: Path, clip: Clip, robot: Robot, *, bound: np.ndarray | None = None, **changed: Any
) -> Path:
    """`obs` [1, 154] in alphabetical order, `time_step`; the anchor's pose, x y z w; JSON metadata as shipped.

    Args:
      path: to write.
      clip: what it holds.
      robot: of the clip.
      bound: [29], makes actions bound * tanh(...), as of a FastSAC policy.
      changed: metadata that is other than the shipped files'; ... leaves a key out.
    """
    anchor = clip.body_names.index("torso_link")
    tables = {
        "joint_pos": clip.joint_pos,
        "joint_vel": clip.joint_vel,
        "ref_pos_xyz": clip.body_pos[:, anchor],
        "ref_quat_xyzw": np.roll(clip.body_quat[:, anchor], -1, axis=-1),
    }
    meta = {
        "dof_names": list(robot.joint_names),
        "kp": KP.tolist(),
        "kd": KD.tolist(),
        "command_ranges": None,
    }
    meta |= {"action_scale": SCALE.tolist(), "robot_urdf": "<robot/>"} | changed
    raw = {key: json.dumps(value) for key, value in meta.items() if value is not ...}
    scale = (
        np.asarray(meta["action_scale"])
        if meta["action_scale"] is not ...
        else np.asarray(robot.action_scale)
    )
    return _write(path, tables, 154, 90, np.asarray(robot.default_joint_pos), scale, raw, bound)


def beyond_mimic_file(
    path: Path, clip: Clip, robot: Robot, order: Sequence[str], *, estimates: bool = True, **changed: Any
) -> Path:
    """`obs` [1, 160] or [1, 154], `time_step`; tracked bodies, w x y z; comma-separated metadata, three decimals.

    Args:
      path: to write.
      clip: what it holds.
      robot: of the clip.
      order: of the joints: the robot's in files of mjlab, breadth first in BeyondMimic's.
      estimates: whether position and linear velocity are observed.
      changed: metadata that is other; ... leaves a key out.
    """
    joints = [robot.joint_names.index(name) for name in order]
    rows = [clip.body_names.index(name) for name in BODIES]
    tables = {
        "joint_pos": clip.joint_pos[:, joints],
        "joint_vel": clip.joint_vel[:, joints],
        "body_pos_w": clip.body_pos[:, rows],
        "body_quat_w": clip.body_quat[:, rows],
        "body_lin_vel_w": clip.body_lin_vel[:, rows],
        "body_ang_vel_w": clip.body_ang_vel[:, rows],
    }
    scale = SCALE[joints].round(3)
    names = [
        "command",
        "motion_anchor_pos_b",
        "motion_anchor_ori_b",
        "base_lin_vel",
        "base_ang_vel",
        "joint_pos",
    ]
    names += ["joint_vel", "actions"]
    if not estimates:
        names = [name for name in names if name not in ("motion_anchor_pos_b", "base_lin_vel")]
    default = np.asarray(robot.default_joint_pos)[joints].round(3)
    raw: dict[str, Any] = {
        "run_path": "someone/tracking/abc123",
        "joint_names": separated(order),
        "joint_stiffness": separated(KP[joints]),
        "joint_damping": separated(KD[joints]),
        "default_joint_pos": separated(default),
        "command_names": "motion",
        "observation_names": separated(names),
        "observation_history_lengths": separated(["1"] * len(names)),
        "action_scale": separated(scale),
        "anchor_body_name": "torso_link",
        "body_names": separated(BODIES),
    }
    raw |= changed
    raw = {key: value for key, value in raw.items() if value is not ...}
    return _write(path, tables, 160 if estimates else 154, 0, default, scale, raw)


def separated(values: Any) -> str:
    """Comma-separated text, three decimals, as mjlab and BeyondMimic write it."""
    return ",".join(v if isinstance(v, str) else f"{v:.3f}" for v in values)


def save(graph: Graph, path: Path, obs_dim: int, outputs: Mapping[str, int], raw: Mapping[str, str]) -> Path:
    """Write `graph` with the two inputs, and `outputs` [1, n] behind the action."""
    shapes = {name: (1, n) for name, n in outputs.items()}
    return _save(graph, path, obs_dim, shapes, raw)


def _write(
    path: Path,
    tables: Mapping[str, np.ndarray],
    obs_dim: int,
    start: int,
    default: np.ndarray,
    scale: np.ndarray,
    raw: Mapping[str, str],
    bound: np.ndarray | None = None,
) -> Path:
    """The graph as PyTorch exports it: the frame's number is clamped above only."""
    graph, joints = Graph(), len(default)
    weight = np.zeros((joints, obs_dim))
    weight[np.arange(joints), start + np.arange(joints)] = 1.0 / scale
    made = "actions" if bound is None else None
    linear = graph.add(
        "Gemm", "obs", graph.const(weight), graph.const(-default / scale), output=made, transB=1
    )
    if bound is not None:
        scaled = graph.add("Mul", graph.add("Tanh", linear), graph.const(bound))
        graph.add("Add", scaled, graph.const(np.zeros(joints)), output="actions")
    frame = graph.add("Cast", "time_step", to=TensorProto.INT64)
    frame = graph.add("Squeeze", frame, graph.const([-1], np.int64))
    frame = graph.add("Min", frame, graph.const(len(tables["joint_pos"]) - 1, np.int64))
    for name, table in tables.items():
        graph.add("Gather", graph.const(table), frame, output=name, axis=0)
    return _save(graph, path, obs_dim, {name: (1, *x.shape[1:]) for name, x in tables.items()}, raw)


def _save(
    graph: Graph, path: Path, obs_dim: int, outputs: Mapping[str, tuple[int, ...]], raw: Mapping[str, str]
) -> Path:
    inputs = {"obs": (1, obs_dim), "time_step": (1, 1)}
    graph.save(path, raw=raw, inputs=inputs, output="actions", output_shape=(1, 29))
    model = onnx.load(str(path))
    for name, shape in outputs.items():
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    onnx.save(model, str(path))
    return path
