"""A small robot for tests of the bridges, and ways to run it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bridges.mujoco import MujocoBridge
from bridges.protocol import Ground, Pose
from holosoma_jax.config.schema import MujocoConfig, SimConfig, SimulatorConfig, SimulatorSettings
from holosoma_jax.robots.robot import Robot

STANDING = 0.73
"""m, height of the torso when the soles touch the ground in the default pose"""
GRAVITY = 9.81

BIPED = Robot(
    name="biped",
    mjcf=Path(__file__).parent / "biped.xml",
    joint_names=("left_hip", "right_hip", "left_ankle", "right_ankle", "neck"),  # not the MJCF's order
    body_names=(
        "torso", "head", "left_leg", "left_foot", "left_sole", "right_leg", "right_foot", "right_sole",
    ),
    default_joint_pos=np.zeros(5, np.float32),
    kp=np.array([200, 200, 150, 150, 20], np.float32),
    kd=np.array([5, 5, 4, 4, 0.5], np.float32),
    torque_limit=np.array([60, 60, 40, 40, 5], np.float32),
    velocity_limit=np.full(5, 20, np.float32),
    armature=np.array([0.02, 0.02, 0.01, 0.01, 0.005], np.float32),
    joint_lower=np.array([-2, -2, -1, -1, -2], np.float32),
    joint_upper=np.array([2, 2, 1, 1, 2], np.float32),
    action_scale=np.full(5, 0.25, np.float32),
    mirror_index=np.array([1, 0, 3, 2, 4], np.int32),
    mirror_sign=np.array([1, 1, 1, 1, -1], np.float32),
    init_pos=(0.0, 0.0, STANDING),
    init_quat=(1.0, 0.0, 0.0, 0.0),
    root_body="torso",
    torso_body="torso",
    feet_bodies=("left_foot", "right_foot"),
    foot_height_bodies=("left_sole", "right_sole"),
    termination_bodies=("torso",),
    randomized_mass_bodies=("torso", "left_leg", "right_leg"),
    body_mass=np.array([6, 1, 2, 0.5, 0, 2, 0.5, 0], np.float32),
)  # fmt: skip


def config(*, fps: int = 200, decimation: int = 4, **mujoco: Any) -> SimulatorConfig:
    """Simulator config with these rates and settings of MuJoCo."""
    mujoco = {"num_threads": 1, **mujoco}
    return SimulatorConfig(
        config=SimulatorSettings(sim=SimConfig(fps, decimation), mujoco=MujocoConfig(**mujoco))
    )


def start(
    num_envs: int, *, robot: Robot = BIPED, ground: Ground | None = None, **settings: Any
) -> tuple[MujocoBridge, Any]:
    """A bridge and its first physics value."""
    collide = settings.pop("self_collisions", False)
    bridge = MujocoBridge(config(**settings), robot, ground or Ground(), num_envs, self_collisions=collide)
    return bridge, bridge.init()


def pose(num_envs: int, *, robot: Robot = BIPED, **fields: Any) -> Pose:
    """The robot's initial pose in every environment, but for `fields`, broadcast to [num_envs, ...]."""
    rest = {
        "root_pos": robot.init_pos,
        "root_quat": robot.init_quat,
        "root_lin_vel": np.zeros(3),
        "root_ang_vel": np.zeros(3),
        "joint_pos": robot.default_joint_pos,
        "joint_vel": np.zeros(robot.num_joints),
    }
    rows = {name: np.asarray(value, np.float32) for name, value in (rest | fields).items()}
    return Pose(**{name: np.broadcast_to(v, (num_envs, v.shape[-1])) for name, v in rows.items()})


def everyone(num_envs: int) -> np.ndarray:
    return np.ones(num_envs, bool)


def only(num_envs: int, *envs: int) -> np.ndarray:
    return np.isin(np.arange(num_envs), envs)


def numpy(sim: Any) -> Any:
    """The same tree of NumPy arrays."""
    return jax.tree.map(np.asarray, sim)


def random_pose(num_envs: int, seed: int = 0, *, height: float = 5.0, speed: float = 1.0) -> Pose:
    """Any position, attitude, velocity and joint state, well inside the limits."""
    rng = np.random.default_rng(seed)
    quat = rng.standard_normal((num_envs, 4))
    fields = {
        "root_pos": rng.uniform(-1, 1, (num_envs, 3)) + np.array([0, 0, height]),
        "root_quat": quat / np.linalg.norm(quat, axis=1, keepdims=True),
        "root_lin_vel": speed * rng.standard_normal((num_envs, 3)),
        "root_ang_vel": speed * rng.standard_normal((num_envs, 3)),
        "joint_pos": rng.uniform(-0.5, 0.5, (num_envs, 5)),
        "joint_vel": speed * rng.standard_normal((num_envs, 5)),
    }
    return pose(num_envs, **fields)


def with_gains(robot: Robot, **fields: Any) -> Robot:
    """`robot` with some control arrays replaced."""
    return replace(robot, **{name: np.asarray(v, np.float32) for name, v in fields.items()})
