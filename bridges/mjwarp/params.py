"""Physical parameters of each environment, as fields of the model: a pure function of arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from bridges.mjwarp.model import Fields
from bridges.mjwarp.programs import DevicePrograms, Programs
from bridges.mjwarp.state import Physics, where
from bridges.mujoco.targets import INERTIAL, Targets
from bridges.protocol import PhysicsParams


class Writer:
    """Where each parameter goes; static."""

    def __init__(self, nominal: Fields, targets: Targets):
        self._nominal, self._targets = nominal, targets

    def write(
        self, programs: Programs | DevicePrograms, physics: Physics, params: PhysicsParams, mask: jax.Array
    ) -> Physics:
        """Put the given parameters [E, ...] into force where `mask` [E]."""
        fields = self._fields(physics.fields, params)
        if any(getattr(params, name) is not None for name in INERTIAL):
            fields = fields._replace(**programs.constants(fields._asdict()))
        chosen = [where(mask, new, old) for new, old in zip(fields, physics.fields, strict=True)]
        return physics._replace(fields=Fields(*chosen))

    def _fields(self, fields: Fields, params: PhysicsParams) -> Fields:
        """`fields` with the given parameters in every environment, constants not yet derived."""
        nominal, bodies = self._nominal, self._targets.bodies
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
            geoms = self._targets.geoms
            friction = jnp.broadcast_to(params.friction[:, None], (len(params.friction), len(geoms)))
            fields = fields._replace(geom_friction=fields.geom_friction.at[:, geoms, 0].set(friction))
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
            dofs = self._targets.dofs
            armature = nominal.dof_armature[None, dofs] * params.armature_ratio
            fields = fields._replace(dof_armature=fields.dof_armature.at[:, dofs].set(armature))
        return fields if self._targets.object is None else self._object_fields(fields, params)

    def _object_fields(self, fields: Fields, params: PhysicsParams) -> Fields:
        """`fields` with the given parameters of the object; the ratio that is not given stays in force."""
        assert self._targets.object is not None
        nominal, (body, geom) = self._nominal, self._targets.object
        if params.object_mass_ratio is not None or params.object_inertia_ratio is not None:
            mass = fields.body_mass[:, body] / nominal.body_mass[body]
            inertia = fields.body_inertia[:, body] / (nominal.body_inertia[None, body] * mass[:, None])
            mass = mass if params.object_mass_ratio is None else params.object_mass_ratio
            inertia = inertia if params.object_inertia_ratio is None else params.object_inertia_ratio
            moments = nominal.body_inertia[None, body] * mass[:, None] * inertia
            fields = fields._replace(
                body_mass=fields.body_mass.at[:, body].set(nominal.body_mass[body] * mass),
                body_inertia=fields.body_inertia.at[:, body].set(moments),
            )
        if params.object_friction is not None:
            friction = fields.geom_friction.at[:, geom, 0].set(params.object_friction)
            fields = fields._replace(geom_friction=friction)
        return fields
