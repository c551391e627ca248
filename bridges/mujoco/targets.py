"""What `PhysicsParams` act on in a MuJoCo model and which values they may have, for both of its bridges."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from bridges import specs
from holosoma_jax.robots.robot import Robot

INERTIAL = frozenset({"mass_ratio", "com_offset", "armature_ratio"})
"""fields from which MuJoCo derives constants, such as the inverse weights of bodies and joints"""


@dataclass(frozen=True, eq=False)
class Targets:
    """Indices into the model's arrays, for the robot's bodies, joints and geoms."""

    bodies: np.ndarray
    """[B], in the robot's order"""
    dofs: np.ndarray
    """[J], in the robot's order"""
    geoms: np.ndarray
    """[G], those whose friction is randomised"""

    def shape(self, name: str, num_envs: int) -> tuple[int, ...]:
        """Shape of the field `name` of `PhysicsParams`."""
        return specs.param_shapes(num_envs, len(self.dofs), len(self.bodies))[name]


def targets(model: mujoco.MjModel, robot: Robot, *, fixed_foot_friction: bool) -> Targets:
    """The targets of `robot` in `model`.

    fixed_foot_friction: friction leaves the geoms of `robot.feet_bodies` as they are.
    """
    feet = robot.feet_bodies if fixed_foot_friction else ()
    kept = [0, *(model.body(name).id for name in feet)]  # 0: the ground, which never decides
    return Targets(
        bodies=np.array([model.body(name).id for name in robot.body_names]),
        dofs=np.array([model.joint(name).dofadr[0] for name in robot.joint_names]),
        geoms=np.flatnonzero(~np.isin(model.geom_bodyid, kept)),
    )


def least(name: str) -> tuple[float, bool]:
    """The lowest value that the field `name` of `PhysicsParams` may have, and whether it must be above that."""
    return (-np.inf if name == "com_offset" else 0.0), name in ("mass_ratio", "kp_scale")
