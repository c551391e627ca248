"""What follows from a robot and the config for every bridge: its spec, the shapes of its arrays, its start pose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bridges.protocol import (
    OBJECT_PARAMS,
    OBJECT_STATE,
    ROBOT_PARAMS,
    BridgeSpec,
    Pose,
    SimState,
)

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
      robot: has the names of joints and bodies, and the object if there is one.
      num_envs: environments.
      **more: further fields of `BridgeSpec`.

    Raises:
      ValueError: `num_envs` is not positive.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs: got {num_envs}, wanted 1 or more.")
    sim, has_object = cfg.config.sim, robot.object is not None
    return BridgeSpec(
        simulator=simulator,
        num_envs=num_envs,
        joint_names=robot.joint_names,
        body_names=robot.body_names,
        physics_dt=1.0 / sim.fps,
        decimation=sim.control_decimation,
        randomizes=frozenset(ROBOT_PARAMS + (OBJECT_PARAMS if has_object else ())),
        has_object=has_object,
        **more,
    )


def pose_shapes(e: int, joints: int) -> Shapes:
    """Those of the robot's fields of `Pose`, for E environments and J joints."""
    widths = {"root_quat": 4, "joint_pos": joints, "joint_vel": joints}
    return {name: (e, widths.get(name, 3)) for name in Pose._fields if name not in OBJECT_STATE}


def present_fields(spec: BridgeSpec, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a pose that are not None.

    Raises:
      ValueError: some but not all of an object's are given, or the simulator has no object.
    """
    present = {name: value for name, value in fields.items() if value is not None}
    named = [name for name in OBJECT_STATE if name in present]
    if named and not spec.has_object:
        raise ValueError(f"pose.{named[0]}: got one, but there is no object here; wanted None.")
    if named and len(named) < len(OBJECT_STATE):
        missing = next(name for name in OBJECT_STATE if name not in present)
        raise ValueError(
            f"pose.{missing}: got None beside pose.{named[0]}; wanted all of {', '.join(OBJECT_STATE)}."
        )
    return present


def object_shapes(e: int) -> Shapes:
    """Those of the object's fields of `Pose` and of `SimState`."""
    return {name: (e, 4 if name == "object_quat" else 3) for name in OBJECT_STATE}


def param_shapes(e: int, joints: int, bodies: int) -> Shapes:
    """Those of the robot's fields of `PhysicsParams`, for E environments, J joints and B bodies."""
    shapes = {"mass_ratio": (e, bodies), "com_offset": (e, bodies, 3), "friction": (e,)}
    return {name: shapes.get(name, (e, joints)) for name in ROBOT_PARAMS}


def object_param_shapes(e: int) -> Shapes:
    """Those of the object's fields of `PhysicsParams`."""
    return {name: (e, 3) if name == "object_inertia_ratio" else (e,) for name in OBJECT_PARAMS}


def state_shapes(e: int, joints: int, bodies: int) -> Shapes:
    """Those of the robot's fields of `SimState`, for E environments, J joints and B bodies."""
    own = (name for name in SimState._fields if name not in OBJECT_STATE)
    of_bodies = {name: (e, bodies, 4 if name == "body_quat" else 3) for name in own}
    return of_bodies | pose_shapes(e, joints)


def initial_pose(robot: Robot, num_envs: int) -> Pose:
    """Every robot at its initial pose, at rest; NumPy arrays [num_envs, ...]."""
    rest, joints = np.zeros(3), np.zeros(robot.num_joints)
    row = (robot.init_pos, robot.init_quat, rest, rest, robot.default_joint_pos, joints)
    return Pose(*(np.tile(field, (num_envs, 1)) for field in row))
