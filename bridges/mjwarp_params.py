"""Physical parameters of each environment, as fields of the model: a pure function of arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from bridges.mjwarp_model import Fields
from bridges.mjwarp_programs import Programs
from bridges.mjwarp_state import Physics, where
from bridges.protocol import PhysicsParams
from holosoma_jax.robots.robot import Robot

INERTIAL = frozenset({"mass_ratio", "com_offset", "armature_ratio"})
"""fields of `PhysicsParams` from which MuJoCo derives constants, such as the inverse weights"""
POSITIVE = frozenset({"mass_ratio", "kp_scale"})
"""fields that may not be 0; the others, but for the centre of mass, may"""


class Writer:
    """Where each parameter goes; static."""

    def __init__(self, model: mujoco.MjModel, nominal: Fields, robot: Robot, *, fixed_foot_friction: bool):
        """`fixed_foot_friction`: friction leaves the geoms of `robot.feet_bodies` as they are."""
        self._nominal = nominal
        self._bodies = np.array([model.body(name).id for name in robot.body_names])
        self._dofs = np.array([model.joint(name).dofadr[0] for name in robot.joint_names])
        feet = robot.feet_bodies if fixed_foot_friction else ()
        kept = [0, *(model.body(name).id for name in feet)]  # 0: the ground, which never decides
        self._geoms = np.flatnonzero(~np.isin(model.geom_bodyid, kept))

    def write(self, programs: Programs, physics: Physics, params: PhysicsParams, mask: jax.Array) -> Physics:
        """Put the given parameters [E, ...] into force where `mask` [E]."""
        fields = self._fields(physics.fields, params)
        if any(getattr(params, name) is not None for name in INERTIAL):
            fields = fields._replace(**programs.constants(fields._asdict()))
        chosen = [where(mask, new, old) for new, old in zip(fields, physics.fields, strict=True)]
        return physics._replace(fields=Fields(*chosen))

    def _fields(self, fields: Fields, params: PhysicsParams) -> Fields:
        """`fields` with the given parameters in every environment, constants not yet derived."""
        nominal, bodies = self._nominal, self._bodies
        if params.mass_ratio is not None:  # the inertia tensor goes with the mass
            ratio, mass, inertia = params.mass_ratio, nominal.body_mass, nominal.body_inertia
            fields = fields._replace(
                body_mass=fields.body_mass.at[:, bodies].set(mass[None, bodies] * ratio),
                body_inertia=fields.body_inertia.at[:, bodies].set(inertia[None, bodies] * ratio[..., None]),
            )
        if params.com_offset is not None:
            moved = nominal.body_ipos[None, bodies] + params.com_offset
            fields = fields._replace(body_ipos=fields.body_ipos.at[:, bodies].set(moved))
        if params.friction is not None:
            friction = jnp.broadcast_to(params.friction[:, None], (len(params.friction), len(self._geoms)))
            fields = fields._replace(geom_friction=fields.geom_friction.at[:, self._geoms, 0].set(friction))
        if params.kp_scale is not None:
            gain, bias = nominal.actuator_gainprm[None, :, 0], nominal.actuator_biasprm[None, :, 1]
            fields = fields._replace(
                actuator_gainprm=fields.actuator_gainprm.at[:, :, 0].set(gain * params.kp_scale),
                actuator_biasprm=fields.actuator_biasprm.at[:, :, 1].set(bias * params.kp_scale),
            )
        if params.kd_scale is not None:
            damping = nominal.actuator_biasprm[None, :, 2] * params.kd_scale
            fields = fields._replace(actuator_biasprm=fields.actuator_biasprm.at[:, :, 2].set(damping))
        if params.armature_ratio is not None:
            armature = nominal.dof_armature[None, self._dofs] * params.armature_ratio
            fields = fields._replace(dof_armature=fields.dof_armature.at[:, self._dofs].set(armature))
        return fields
