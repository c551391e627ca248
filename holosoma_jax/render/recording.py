"""Trajectories as files: what one robot did in an evaluation.

A recording is an ``.npz`` with one array per quantity, [T, ...], float32, SI units, world frame,
quaternions w x y z, at the end of each control step and before any reset; names, rates and limits are
the JSON document under ``_metadata_json``. ``ghost_*`` is the pose of a second robot, where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bridges.protocol import OBJECT_STATE, Array, Ground, Pose, SimState
from holosoma_jax import __version__
from holosoma_jax.files import replacing
from holosoma_jax.render import scene
from holosoma_jax.render.video_job import GhostPath, Trajectory
from holosoma_jax.robots.robot import Robot

METADATA = "_metadata_json"
STARTS = "episode_start"
"""Array [T] bool: frames of the first control step after a reset."""
HEIGHTS = "ground_heights"
"""Array [rows, cols] m of a ground that is no plane, see `Ground`; its place is in the metadata, under 'ground'."""
UNITS: Mapping[str, str] = {
    "joint_pos": "rad",
    "joint_vel": "rad/s",
    "joint_target": "rad",
    "joint_torque": "N m",
    "action": "policy's own, before action scale and default pose",
    "command": "m/s forward, m/s left, rad/s yaw rate",
    "root_pos": "m",
    "root_quat": "w x y z",
    "root_lin_vel": "m/s",
    "root_ang_vel": "rad/s",
    "body_pos": "m",
    "body_quat": "w x y z",
    "body_lin_vel": "m/s",
    "body_ang_vel": "rad/s",
    "contact_force": "N",
    "object_pos": "m",
    "object_quat": "w x y z",
    "object_lin_vel": "m/s",
    "object_ang_vel": "rad/s",
    "ghost_root_pos": "m",
    "ghost_root_quat": "w x y z",
    "ghost_joint_pos": "rad",
    "ghost_object_pos": "m",
    "ghost_object_quat": "w x y z",
}
"""Array -> unit; the order in the file."""
POSE = ("root_pos", "root_quat", "joint_pos")
"""What a pose is; of a second robot it is kept as ``ghost_...``"""


_LIMITS = ("kp", "kd", "torque_limit", "velocity_limit", "joint_lower", "joint_upper", "default_joint_pos")


@dataclass(frozen=True, eq=False)
class Recording:
    """One robot over T frames."""

    arrays: Mapping[str, np.ndarray]
    """of `UNITS`, and `STARTS`, [T, ...]; one made of a motion clip lacks some"""
    joint_names: tuple[str, ...]
    body_names: tuple[str, ...]
    robot: str | None
    """name of the robot's record; None where the file does not say"""
    dt: float
    """s between frames"""
    metadata: Mapping[str, Any]
    """the whole JSON document; empty if it is made of a motion clip"""
    ground: Ground = field(default_factory=Ground)
    """what the robot stands on"""

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.arrays["root_pos"])

    def frame(self, t: int) -> SimState:
        """Frame `t` as the state of one environment, [1, ...]; what the file lacks is zero."""
        bodies = len(self.body_names)
        shapes = {"body_quat": (bodies, 4), "root_lin_vel": (3,), "root_ang_vel": (3,)}

        def row(name: str) -> np.ndarray | None:
            if name in self.arrays:
                return self.arrays[name][t : t + 1]
            if name in OBJECT_STATE:
                return None
            return np.zeros((1, *shapes.get(name, (bodies, 3))), np.float32)

        return SimState(**{name: row(name) for name in SimState._fields})

    def ghost(self, t: int) -> Pose | None:
        """The second robot in frame `t`, [1, ...], its velocities zero; None if the file has none."""
        if "ghost_root_pos" not in self.arrays:
            return None
        pos, quat, joints = (self.arrays[f"ghost_{name}"][t : t + 1] for name in POSE)
        zero = np.zeros((1, 3), np.float32)
        box = {
            name: self.arrays[f"ghost_{name}"][t : t + 1]
            for name in ("object_pos", "object_quat")
            if f"ghost_{name}" in self.arrays
        }
        return Pose(pos, quat, zero, zero, joints, np.zeros_like(joints), **box)

    def trajectory(self, first: int = 0, last: int | None = None, stride: int = 1) -> Trajectory:
        """Every `stride`-th frame from `first` to before `last`, as it is drawn."""
        part, found = slice(first, last, stride), self.arrays
        ghost = None
        if "ghost_root_pos" in found:
            theirs = (name for name in GhostPath._fields if f"ghost_{name}" in found)
            ghost = GhostPath(**{name: found[f"ghost_{name}"][part] for name in theirs})
        own = {name: found[name][part] for name in Trajectory._fields if name in found}
        return Trajectory(**own, ghost=ghost)  # type: ignore[arg-type]


class Recorder:
    """Keeps one environment's control steps for `save`."""

    def __init__(self, robot: Robot, *, env: int = 0, ground: Ground | None = None):
        """Nothing is kept yet; environment `env` will be, with the part of `ground` around its path."""
        self._robot, self._env, self._ground = robot, env, ground or Ground()
        self._frames: list[dict[str, np.ndarray]] = []
        self._starts: list[bool] = []

    def add(
        self,
        sim: SimState,
        command: Array | None,
        action: Array,
        targets: Array,
        episode_start: bool = False,
        ghost: SimState | Pose | None = None,
    ) -> None:
        """Copy one control step.

        Args:
          sim: [E, ...] the state that the step reached.
          command: [E, 3]; None: the task takes none, in all steps.
          action: [E, A].
          targets: [E, J] rad.
          episode_start: whether the step was the first after a reset.
          ghost: [E, ...] a second pose, drawn transparent; in all steps or in none.
        """
        env, robot = self._env, self._robot
        seen = {name: value for name, value in sim._asdict().items() if value is not None}
        frame = {name: np.array(value[env], np.float32) for name, value in seen.items()}
        target = np.array(targets[env], np.float32)
        torque = robot.kp * (target - frame["joint_pos"]) - robot.kd * frame["joint_vel"]
        frame |= {
            **({} if command is None else {"command": np.array(command[env], np.float32)}),
            "action": np.array(action[env], np.float32),
            "joint_target": target,
            "joint_torque": np.clip(torque, -robot.torque_limit, robot.torque_limit),
        }
        if ghost is not None:
            theirs = {name: getattr(ghost, name) for name in GhostPath._fields}
            frame |= {
                f"ghost_{name}": np.array(value[env], np.float32)
                for name, value in theirs.items()
                if value is not None
            }
        self._frames.append(frame)
        self._starts.append(episode_start)

    def save(self, path: Path, *, control_dt: float, decimation: int, **facts: Any) -> Path:
        """Write everything as compressed ``.npz``, atomically.

        Args:
          path: target; its folder is created.
          control_dt: s between frames.
          decimation: physics steps per frame.
          facts: further entries of the metadata: policy, simulator, ...

        Raises:
          OSError: it cannot be written.
        """
        robot = self._robot
        metadata = {
            "holosoma_jax_version": __version__,
            "robot": robot.name,
            "dt": control_dt,
            "control_hz": round(1.0 / control_dt, 6),
            "physics_hz": round(decimation / control_dt, 6),
            "joint_names": list(robot.joint_names),
            "body_names": list(robot.body_names),
            **{name: np.asarray(getattr(robot, name)).tolist() for name in _LIMITS},
            "quaternions": "w x y z",
            "joint_torque": "clip(kp (target - q) - kd qd, limits) at the end of the control step",
            "units": dict(UNITS),
            **({} if robot.object is None else {"object_size": list(robot.object.size)}),
            **facts,
        }
        names = [name for name in UNITS if name in self._frames[0]]
        arrays = {name: np.stack([frame[name] for frame in self._frames]) for name in names}
        if self._ground.heights is not None:
            near = scene.crop_to_path(self._ground, arrays["root_pos"][:, :2])
            arrays[HEIGHTS] = np.asarray(near.heights, np.float32)
            metadata["ground"] = {"cell": near.cell, "corner": list(near.corner)}
        arrays |= {METADATA: np.array(json.dumps(metadata)), STARTS: np.array(self._starts)}
        with replacing(path) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **arrays)
        return path
