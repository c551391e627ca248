"""What is drawn, as a value and as a file: the hand-over from the loop to the drawing process.

Nothing here imports MuJoCo: it reads ``MUJOCO_GL`` when imported, and the drawing process has yet to
choose that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bridges.protocol import Array, Ground


class VideoUnavailable(RuntimeError):
    """No video: the message says why and what to do about it."""


class Trajectory(NamedTuple):
    """What one environment showed in T control steps; world frame, float32."""

    root_pos: Array
    """[T, 3] m"""
    root_quat: Array
    """[T, 4] w x y z"""
    joint_pos: Array
    """[T, J] rad"""
    root_lin_vel: Array | None = None
    """[T, 3] m/s; drawn as a green arrow"""
    root_ang_vel: Array | None = None
    """[T, 3] rad/s"""
    command: Array | None = None
    """[T, 3] commanded v_x, v_y m/s, yaw rate rad/s in the robot's heading frame; a blue arrow"""


@dataclass(frozen=True, eq=False)
class Job:
    """All that a drawing process needs to know."""

    trajectory: Trajectory
    mjcf: Path
    """what is drawn"""
    joint_names: tuple[str, ...]
    ground: Ground
    width: int
    height: int
    fps: float
    backend: str
    like: Path | None = None
    """the robot's own MJCF, if another is drawn"""


def write_job(path: Path, job: Job) -> None:
    """Everything of `job` as one npz file."""
    heights = job.ground.heights
    arrays: dict[str, Any] = {
        "mjcf": str(Path(job.mjcf).resolve()),
        "like": "" if job.like is None else str(Path(job.like).resolve()),
        "joint_names": np.array(job.joint_names),
        "heights": np.zeros((0, 0), np.float32) if heights is None else heights,
        "ground": np.array([job.ground.cell, *job.ground.corner]),
        "size": np.array([job.width, job.height]),
        "fps": job.fps,
        "backend": job.backend,
    }
    for key, value in job.trajectory._asdict().items():
        if value is not None:
            arrays[f"trajectory.{key}"] = np.asarray(value, np.float32)
    np.savez(path, **arrays)


def read_job(path: Path) -> Job:
    """Inverse of `write_job`."""
    with np.load(path) as file:
        fields = {key: file[f"trajectory.{key}"] for key in Trajectory._fields if f"trajectory.{key}" in file}
        cell, x, y = (float(value) for value in file["ground"])
        heights = file["heights"] if file["heights"].size else None
        names: Sequence[str] = file["joint_names"].tolist()
        width, height = (int(value) for value in file["size"])
        return Job(
            trajectory=Trajectory(**fields),
            mjcf=Path(str(file["mjcf"])),
            joint_names=tuple(names),
            ground=Ground(heights, cell, (x, y)),
            width=width,
            height=height,
            fps=float(file["fps"]),
            backend=str(file["backend"]),
            like=Path(like) if (like := str(file["like"])) else None,
        )
