"""A recording of the G1 walking in a straight line, made from nothing but its default pose."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bridges.protocol import SimState
from holosoma_jax import robots
from holosoma_jax.render.recording import Recorder

FRAMES = 25


def straight_walk(path: Path, asset: str = "g1") -> Path:
    """0.5 s forward at 1 m/s, upright, commanded 1.2 m/s."""
    robot = robots.load(asset)
    kept = Recorder(robot)
    bodies = np.zeros((1, robot.num_bodies, 3), np.float32)
    upright = np.array([[1.0, 0, 0, 0]], np.float32)
    for t in range(FRAMES):
        sim = SimState(
            root_pos=np.array([[0.02 * t, 0.0, robot.init_pos[2]]], np.float32),
            root_quat=upright,
            root_lin_vel=np.array([[1.0, 0.0, 0.0]], np.float32),
            root_ang_vel=np.zeros((1, 3), np.float32),
            joint_pos=robot.default_joint_pos[None],
            joint_vel=np.zeros((1, robot.num_joints), np.float32),
            body_pos=bodies,
            body_quat=np.tile(upright[:, None], (1, robot.num_bodies, 1)),
            body_lin_vel=bodies,
            body_ang_vel=bodies,
            contact_force=bodies,
        )
        zeros = np.zeros((1, robot.num_joints), np.float32)
        kept.add(sim, np.array([[1.2, 0.0, 0.0]]), zeros, robot.default_joint_pos[None])
    return kept.save(path, control_dt=0.02, decimation=4, policy="policy.onnx")
