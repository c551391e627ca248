"""What is drawn, as a value and as a file: the run writes it, the drawing process reads it.

Nothing here imports MuJoCo: it reads ``MUJOCO_GL`` when imported, and the drawing process has yet to
choose that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bridges.protocol import Array, Ground, Pose, SimState


class VideoUnavailable(RuntimeError):
    """No video: the message says why and what to do about it."""


class GhostPath(NamedTuple):
    """A second robot of the same model over T control steps, drawn transparent: a reference motion, say."""

    root_pos: Array
    """[T, 3] m; not finite: not drawn in that frame"""
    root_quat: Array
    """[T, 4] w x y z"""
    joint_pos: Array
    """[T, J] rad"""
    object_pos: Array | None = None
    """[T, 3] m, of a second box"""
    object_quat: Array | None = None
    """[T, 4] w x y z"""


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
    ghost: GhostPath | None = None
    object_pos: Array | None = None
    """[T, 3] m, of the box beside the robot; its size is `Job.box`"""
    object_quat: Array | None = None
    """[T, 4] w x y z"""

    def every(self, stride: int) -> Trajectory:
        """Each `stride`-th frame, from the first on."""
        return _map(lambda parts: parts[0][::stride], [self])


def frame_of(
    sim: SimState, env: int, command: Array | None = None, ghost: SimState | Pose | None = None
) -> Trajectory:
    """One frame, without the axis of time: a copy of environment `env` of arrays [E, ...]."""

    def row(array: Array | None) -> np.ndarray | None:
        return None if array is None else np.array(array[env])

    second = ghost and GhostPath(*(row(getattr(ghost, name)) for name in GhostPath._fields))
    return Trajectory(
        np.array(sim.root_pos[env]),
        np.array(sim.root_quat[env]),
        np.array(sim.joint_pos[env]),
        row(sim.root_lin_vel),
        row(sim.root_ang_vel),
        row(command),
        second,
        row(sim.object_pos),
        row(sim.object_quat),
    )


def stack(frames: Sequence[Trajectory]) -> Trajectory:
    """Frames of `frame_of`, at least one, as a trajectory; all have the same parts."""
    return _map(np.stack, frames)


def _map(function: Callable[[list[Any]], Any], trajectories: Sequence[Trajectory]) -> Trajectory:
    """`function` of each array of the trajectories, which all have or all lack it."""

    def merged(parts: list[Any]) -> Any:
        if parts[0] is None:
            return None
        if isinstance(parts[0], GhostPath):
            return GhostPath(*(merged(list(column)) for column in zip(*parts, strict=True)))
        return function(parts)

    return Trajectory(*(merged(list(column)) for column in zip(*trajectories, strict=True)))


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
    own_mjcf: Path | None = None
    """the robot's own MJCF, if another is drawn"""
    box: tuple[float, float, float] | None = None
    """m, whole lengths of the box beside the robot; None: none is drawn"""


def write_job(path: Path, job: Job) -> None:
    """Everything of `job` as one npz file."""
    heights = job.ground.heights
    arrays: dict[str, Any] = {
        "mjcf": str(Path(job.mjcf).resolve()),
        "own_mjcf": "" if job.own_mjcf is None else str(Path(job.own_mjcf).resolve()),
        "joint_names": np.array(job.joint_names),
        "heights": np.zeros((0, 0), np.float32) if heights is None else heights,
        "ground": np.array([job.ground.cell, *job.ground.corner]),
        "size": np.array([job.width, job.height]),
        "fps": job.fps,
        "backend": job.backend,
        "box": np.zeros(0) if job.box is None else np.array(job.box),
    }
    own = job.trajectory._asdict()
    ghost = own.pop("ghost")
    parts = {"trajectory": own, "ghost": {} if ghost is None else ghost._asdict()}
    for name, part in parts.items():
        arrays |= {f"{name}.{key}": np.asarray(v, np.float32) for key, v in part.items() if v is not None}
    np.savez(path, **arrays)


def read_job(path: Path) -> Job:
    """Inverse of `write_job`."""
    with np.load(path) as file:
        fields = {key: file[f"trajectory.{key}"] for key in Trajectory._fields if f"trajectory.{key}" in file}
        if "ghost.root_pos" in file:
            fields["ghost"] = GhostPath(
                **{key: file[f"ghost.{key}"] for key in GhostPath._fields if f"ghost.{key}" in file}
            )
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
            own_mjcf=Path(own) if (own := str(file["own_mjcf"])) else None,
            box=tuple(map(float, file["box"])) if file["box"].size else None,  # type: ignore[arg-type]
        )
