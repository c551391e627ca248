"""What follows from a robot and the config for every bridge: its spec, the shapes of its arrays, its start pose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bridges.protocol import BridgeSpec, PhysicsParams, Pose, SimState

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot

Shapes = dict[str, tuple[int, ...]]
"""field -> shape"""


def spec(simulator: str, cfg: SimulatorConfig, robot: Robot, num_envs: int, **more: Any) -> BridgeSpec:
    """The spec of a simulator that can change every parameter.

    Args:
      simulator: its name in messages.
      cfg: has the rates.
      robot: has the names of joints and bodies.
      num_envs: environments.
      **more: further fields of `BridgeSpec`.

    Raises:
      ValueError: `num_envs` is not positive.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs: got {num_envs}, wanted 1 or more.")
    sim = cfg.config.sim
    return BridgeSpec(
        simulator=simulator,
        num_envs=num_envs,
        joint_names=robot.joint_names,
        body_names=robot.body_names,
        physics_dt=1.0 / sim.fps,
        decimation=sim.control_decimation,
        randomizes=frozenset(PhysicsParams._fields),
        **more,
    )


def pose_shapes(e: int, joints: int) -> Shapes:
    """Those of the fields of `Pose`, for E environments and J joints."""
    widths = {"root_quat": 4, "joint_pos": joints, "joint_vel": joints}
    return {name: (e, widths.get(name, 3)) for name in Pose._fields}


def param_shapes(e: int, joints: int, bodies: int) -> Shapes:
    """Those of the fields of `PhysicsParams`, for E environments, J joints and B bodies."""
    shapes = {"mass_ratio": (e, bodies), "com_offset": (e, bodies, 3), "friction": (e,)}
    return {name: shapes.get(name, (e, joints)) for name in PhysicsParams._fields}


def state_shapes(e: int, joints: int, bodies: int) -> Shapes:
    """Those of the fields of `SimState`, for E environments, J joints and B bodies."""
    of_bodies = {name: (e, bodies, 4 if name == "body_quat" else 3) for name in SimState._fields}
    return of_bodies | pose_shapes(e, joints)


def initial_pose(robot: Robot, num_envs: int) -> Pose:
    """Every robot at its initial pose, at rest; NumPy arrays [num_envs, ...]."""
    rest, joints = np.zeros(3), np.zeros(robot.num_joints)
    row = Pose(robot.init_pos, robot.init_quat, rest, rest, robot.default_joint_pos, joints)
    return Pose(*(np.tile(field, (num_envs, 1)) for field in row))
