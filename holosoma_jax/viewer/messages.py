"""What the run and the viewer's process send each other.

The run writes a job file once, then frames of one environment as float32 of a fixed length. The viewer answers
in lines of JSON, each an object with one key:

    ready   the address of the page, "" for a window         error   why there is no viewer, one line
    env     index of the environment to send                  command [3] m/s, m/s, rad/s
    paused  whether the clock is stopped                      speed   of real time
    step    control steps or frames to go while paused        seek    frame of the recording or timeline to go to
    rope    m of the gantry's rope at rest, null to let go

Nothing here imports MuJoCo.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from bridges.protocol import Ground
from holosoma_jax.viewer.controls import WATCH_ONLY, CommandLimits, Playback

SIZES = (1, 1, 3, 4, 3, 3, 3, 3, 4)
"""Numbers of each field of a `Frame` before the joints."""
BOXES = (3, 4, 3, 4)
"""Likewise, behind them"""
NOWHERE = (np.full(3, np.nan, np.float32), np.full(4, np.nan, np.float32))
"""Place and attitude of what is not there"""


class Frame(NamedTuple):
    """One environment at one moment; world frame."""

    env: int
    """index of the environment"""
    frame_index: int
    """of the frame in a recording or a task's timeline; -1 in a run without one"""
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
    ghost_root_pos: np.ndarray
    """[3] m of a second robot; NaN if there is none"""
    ghost_root_quat: np.ndarray
    """[4] w x y z"""
    joint_pos: np.ndarray
    """[J] rad"""
    ghost_joint_pos: np.ndarray
    """[J] rad"""
    object_pos: np.ndarray = NOWHERE[0]
    """[3] m of the box beside the robot; NaN if there is none"""
    object_quat: np.ndarray = NOWHERE[1]
    """[4] w x y z"""
    ghost_object_pos: np.ndarray = NOWHERE[0]
    """[3] m of the ghost's"""
    ghost_object_quat: np.ndarray = NOWHERE[1]
    """[4] w x y z"""


@dataclass(frozen=True, eq=False)
class ViewerJob:
    """All that the viewer's process needs to know."""

    mjcf: Path
    """the model that is drawn"""
    own_mjcf: Path | None
    """the robot's own, if another is drawn"""
    joint_names: tuple[str, ...]
    ground: Ground
    num_envs: int
    title: str
    kind: Literal["web", "window"]
    host: str = "127.0.0.1"
    port: int = 0
    limits: CommandLimits | None = None
    """of velocity commands; None: the user gives none"""
    command: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """the first one, if the user gives some"""
    playback: Playback = WATCH_ONLY
    stays: bool = False
    """whether the page may be closed and opened again; otherwise closing it ends the viewer"""
    box: tuple[float, float, float] | None = None
    """m, whole lengths of the box beside the robot; None: there is none"""


def pack(frame: Frame) -> bytes:
    """A frame as bytes."""
    parts = ([float(part)] if isinstance(part, int) else part for part in frame)
    return np.concatenate([np.asarray(part, np.float32) for part in parts]).tobytes()


def unpack(data: bytes) -> Frame:
    """Inverse of `pack`."""
    row = np.frombuffer(data, np.float32)
    joints = (len(row) - sum(SIZES) - sum(BOXES)) // 2
    env, frame_index, *parts = np.split(row, np.cumsum([*SIZES, joints, joints, *BOXES[:-1]]))
    return Frame(int(env[0]), int(frame_index[0]), *parts)


def frame_bytes(joints: int) -> int:
    """Length of a frame of a robot with so many joints."""
    return 4 * (sum(SIZES) + 2 * joints + sum(BOXES))


def write_job(path: Path, job: ViewerJob) -> None:
    """Everything of `job` as one npz file."""
    heights = job.ground.heights
    facts = {
        "mjcf": str(Path(job.mjcf).resolve()),
        "own_mjcf": None if job.own_mjcf is None else str(Path(job.own_mjcf).resolve()),
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
        "playback": job.playback,
        "stays": job.stays,
        "box": job.box,
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
        "own_mjcf": None if facts["own_mjcf"] is None else Path(facts["own_mjcf"]),
        "joint_names": tuple(facts["joint_names"]),
        "limits": None if limits is None else CommandLimits(tuple(limits[0]), tuple(limits[1])),
        "command": tuple(facts["command"]),
        "playback": Playback(*facts["playback"]),
        "box": None if facts["box"] is None else tuple(facts["box"]),
    }
    return ViewerJob(ground=ground, **facts)
