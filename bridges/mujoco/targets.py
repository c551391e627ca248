"""What `PhysicsParams` act on in a MuJoCo model and which values they may have, for both of its bridges."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from bridges import specs
from bridges.mujoco.model import OBJECT
from bridges.protocol import OBJECT_PARAMS, UnsupportedRandomization
from holosoma_jax.robots.robot import Robot

INERTIAL = frozenset(
    {"mass_ratio", "com_offset", "armature_ratio", "object_mass_ratio", "object_inertia_ratio"}
)
"""fields from which MuJoCo derives constants, such as the inverse weights of bodies and joints"""


_POSITIVE = ("mass_ratio", "kp_scale", "object_mass_ratio", "object_inertia_ratio")


@dataclass(frozen=True, eq=False)
class Targets:
    """Indices into the model's arrays, for the robot's bodies, joints and geoms."""

    bodies: np.ndarray
    """[B], in the robot's order"""
    dofs: np.ndarray
    """[J], in the robot's order"""
    geoms: np.ndarray
    """[G], those whose friction is randomised"""
    pairs: np.ndarray
    """[P], contact pairs of these geoms with the ground, whose friction counts where there are any"""
    object: tuple[int, int] | None = None
    """body and geom of the object; None: there is none"""

    def shape(self, name: str, num_envs: int) -> tuple[int, ...]:
        """Shape of the field `name` of `PhysicsParams`."""
        robots = specs.param_shapes(num_envs, len(self.dofs), len(self.bodies))
        return (robots | specs.object_param_shapes(num_envs))[name]

    def require(self, name: str) -> None:
        """Make sure that the field `name` of `PhysicsParams` acts on something.

        Raises:
          UnsupportedRandomization: it is the object's, and there is none.
        """
        if name in OBJECT_PARAMS and self.object is None:
            raise UnsupportedRandomization(
                f"params.{name}: got one, but there is no object here; wanted None."
            )


def targets(model: mujoco.MjModel, robot: Robot, *, fixed_foot_friction: bool) -> Targets:
    """The targets of `robot` in `model`.

    fixed_foot_friction: friction leaves the geoms of `robot.feet_bodies` as they are.
    """
    feet = robot.feet_bodies if fixed_foot_friction else ()
    kept = [0, *(model.body(name).id for name in feet)]  # 0: the ground, which never decides
    box = None if robot.object is None else (model.body(OBJECT).id, model.geom(OBJECT).id)
    if box is not None:
        kept.append(box[0])
    geoms = np.flatnonzero(~np.isin(model.geom_bodyid, kept))
    with_ground = model.geom_bodyid[model.pair_geom1] == 0
    return Targets(
        bodies=np.array([model.body(name).id for name in robot.body_names]),
        dofs=np.array([model.joint(name).dofadr[0] for name in robot.joint_names]),
        geoms=geoms,
        pairs=np.flatnonzero(with_ground & np.isin(model.pair_geom2, geoms)),
        object=box,
    )


def least(name: str) -> tuple[float, bool]:
    """The lowest value that the field `name` of `PhysicsParams` may have, and whether it must be above that."""
    return (-np.inf if name == "com_offset" else 0.0), name in _POSITIVE
