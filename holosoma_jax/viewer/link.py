"""What the viewer's two processes tell each other.

The run writes a job file once, then frames: `View`s of one environment as float32 of a fixed length. The
viewer answers in lines of JSON: where it can be seen, which environment to send, the user's command.
Nothing here imports MuJoCo.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from bridges.protocol import Ground
from holosoma_jax.render.steering import Limits

FIXED = 17
"""numbers of a frame before the joints"""


class View(NamedTuple):
    """One environment at one moment; world frame."""

    env: int
    """index of the environment"""
    root_pos: np.ndarray
    """[3] m"""
    root_quat: np.ndarray
    """[4] w x y z"""
    root_lin_vel: np.ndarray
    """[3] m/s"""
    root_ang_vel: np.ndarray
    """[3] rad/s"""
    command: np.ndarray
    """[3] m/s, m/s, rad/s in the heading frame; NaN if the task has no velocity command"""
    joint_pos: np.ndarray
    """[J] rad"""


@dataclass(frozen=True, eq=False)
class ViewerJob:
    """All that the viewer's process needs to know."""

    mjcf: Path
    """the model that is drawn"""
    like: Path | None
    """the robot's own, if another is drawn"""
    joint_names: tuple[str, ...]
    ground: Ground
    num_envs: int
    title: str
    kind: Literal["web", "window"]
    host: str
    port: int
    limits: Limits | None
    """of commands; None: the user watches, and steers nothing"""
    command: tuple[float, float, float]
    """the first one, if the user steers"""
    stays: bool
    """whether the page may be closed and opened again; otherwise closing it ends the viewer"""


def pack(view: View) -> bytes:
    """A frame."""
    parts = (
        [float(view.env)],
        view.root_pos,
        view.root_quat,
        view.root_lin_vel,
        view.root_ang_vel,
        view.command,
        view.joint_pos,
    )
    return np.concatenate([np.asarray(part, np.float32) for part in parts]).tobytes()


def unpack(frame: bytes) -> View:
    """Inverse of `pack`."""
    row = np.frombuffer(frame, np.float32)
    env, pos, quat, lin, ang, command, joints = np.split(row, [1, 4, 8, 11, 14, FIXED])
    return View(int(env[0]), pos, quat, lin, ang, command, joints)


def frame_bytes(joints: int) -> int:
    """Length of a frame of a robot with so many joints."""
    return 4 * (FIXED + joints)


def write_job(path: Path, job: ViewerJob) -> None:
    """Everything of `job` as one npz file."""
    heights = job.ground.heights
    facts = {
        "mjcf": str(Path(job.mjcf).resolve()),
        "like": None if job.like is None else str(Path(job.like).resolve()),
        "joint_names": job.joint_names,
        "cell": job.ground.cell,
        "corner": job.ground.corner,
        "num_envs": job.num_envs,
        "title": job.title,
        "kind": job.kind,
        "host": job.host,
        "port": job.port,
        "limits": job.limits,
        "command": job.command,
        "stays": job.stays,
    }
    np.savez(
        path,
        facts=np.array(json.dumps(facts)),
        heights=np.zeros((0, 0), np.float32) if heights is None else heights,
    )


def read_job(path: Path) -> ViewerJob:
    """Inverse of `write_job`."""
    with np.load(path) as file:
        facts = json.loads(str(file["facts"]))
        heights = file["heights"] if file["heights"].size else None
    corner, limits = facts.pop("corner"), facts["limits"]
    ground = Ground(heights, facts.pop("cell"), (corner[0], corner[1]))
    facts |= {
        "mjcf": Path(facts["mjcf"]),
        "like": None if facts["like"] is None else Path(facts["like"]),
        "joint_names": tuple(facts["joint_names"]),
        "limits": None if limits is None else Limits(tuple(limits[0]), tuple(limits[1])),
        "command": tuple(facts["command"]),
    }
    return ViewerJob(ground=ground, **facts)
