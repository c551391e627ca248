"""The box that is carried: what is observed, rewarded, ended and randomised of it. It has to follow the clip, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bridges.protocol import PhysicsParams
from holosoma_jax import rotations
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.types import PositiveFloat
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.terms.motion.reference import MOTION, anchors, reference
from holosoma_jax.envs.terms.physics import NonNegativeRange, PositiveRange, require_ordered, uniform
from holosoma_jax.envs.terms.term import Randomization, Range, Term
from holosoma_jax.envs.view import View

_AXES = {"Ixx": 0, "Iyy": 1, "Izz": 2}


class Object(NamedTuple):
    """Pose and velocity of the object, world frame."""

    pos: jax.Array
    """[E, 3] m"""
    quat: jax.Array
    """[E, 4] w x y z"""
    lin_vel: jax.Array
    """[E, 3] m/s"""


def objects(view: View) -> tuple[Object, Object]:
    """The object as the clip has it, and as it is.

    Raises:
      ConfigError: none is simulated, or not every clip tracks one.
    """
    sim = view.sim
    if sim.object_pos is None or sim.object_quat is None or sim.object_lin_vel is None:
        raise ConfigError(
            "robot.object.enabled: is false, but a term reads the object; choose exp:g1-29dof-wbt-w-object, or leave "
            "the term out."
        )
    clip = reference(view)
    if clip.object_pos is None:
        raise ConfigError(
            f"command.setup_terms.{MOTION}: a term reads the object, which not every clip tracks; name clips with "
            "object_pos_w and object_quat_w, such as g1_carry_box."
        )
    theirs = Object(clip.object_pos, clip.object_quat, clip.object_lin_vel)
    return theirs, Object(sim.object_pos, sim.object_quat, sim.object_lin_vel)


def obj_pos_b(view: View) -> jax.Array:
    """[E, 3] m, the object's position in the frame of the robot's anchor."""
    (_, anchor), (_, box) = anchors(view), objects(view)
    return rotations.rotate_inverse(anchor.quat, box.pos - anchor.pos)


def obj_ori_b(view: View) -> jax.Array:
    """[E, 6] the object's orientation in the anchor's frame, two columns of its matrix."""
    (_, anchor), (_, box) = anchors(view), objects(view)
    return rotations.two_columns(rotations.multiply(rotations.conjugate(anchor.quat), box.quat))


def obj_lin_vel_b(view: View, *, subtract_position: bool = False) -> jax.Array:
    """[E, 3] m/s, the object's velocity in the anchor's axes.

    Args:
      view: the state.
      subtract_position: subtract the anchor's position [m] from the velocity first, as holosoma does.
    """
    (_, anchor), (_, box) = anchors(view), objects(view)
    velocity = box.lin_vel - anchor.pos if subtract_position else box.lin_vel
    return rotations.rotate_inverse(anchor.quat, velocity)


def object_position(view: View, *, sigma: PositiveFloat) -> jax.Array:
    """exp(-d^2 / sigma^2) [E] with d the object's distance from where the clip has it, sigma in m."""
    theirs, ours = objects(view)
    return jnp.exp(-jnp.sum(jnp.square(theirs.pos - ours.pos), -1) / sigma**2)


def object_orientation(view: View, *, sigma: PositiveFloat) -> jax.Array:
    """The same of the angle between the two, sigma in rad."""
    theirs, ours = objects(view)
    return jnp.exp(-jnp.square(rotations.angle_between(theirs.quat, ours.quat)) / sigma**2)


def errors(view: View) -> dict[str, jax.Array]:
    """Distance m and angle rad [E] of the object from where the clip has it."""
    theirs, ours = objects(view)
    return {
        "error_object_pos": jnp.linalg.norm(theirs.pos - ours.pos, axis=-1),
        "error_object_rot": rotations.angle_between(theirs.quat, ours.quat),
    }


def bad_object(
    *, bad_object_pos_threshold: PositiveFloat = 0.25, bad_object_ori_threshold: PositiveFloat = 0.8
) -> Term:
    """The object is too far from where the clip has it, or turned too much.

    Args:
      bad_object_pos_threshold: m.
      bad_object_ori_threshold: rad.
    """

    def apply(view: View, state: Any) -> tuple[jax.Array, Any]:
        found = errors(view)
        lost = found["error_object_pos"] > bad_object_pos_threshold
        return lost | (found["error_object_rot"] > bad_object_ori_threshold), state

    def metrics(view: View, state: Any) -> Mapping[str, Any]:
        """How many of the episodes that end do so for the object."""
        assert view.finished is not None
        lost, _ = apply(view, state)
        ended = view.finished.astype(jnp.float32)
        return {"bad_object": (jnp.sum(ended * lost.astype(jnp.float32)), jnp.sum(ended))}

    return Term(apply=apply, metrics=metrics)


def object_physics(
    *,
    added_mass_range: NonNegativeRange = (1.0, 4.0),
    friction_range: NonNegativeRange = (0.2, 0.9),
    inertia_ratio_range: dict[str, PositiveRange] | None = None,
    enabled: bool = True,
) -> Randomization:
    """Mass, moments of inertia and friction of the object. Once.

    Args:
      added_mass_range: kg, added to the nominal mass; the inertia grows by the same ratio.
      friction_range: sliding friction coefficient at all of its contacts.
      inertia_ratio_range: factor on Ixx, Iyy or Izz after that; default: Ixx by 0.5 to 1.5.
      enabled: False leaves it as it is.

    Raises:
      ConfigError: a range is reversed, or of no axis; when drawn: there is no object.
    """
    ratios: Mapping[str, Range] = {"Ixx": (0.5, 1.5)} if inertia_ratio_range is None else inertia_ratio_range
    for axis in ratios:
        if axis not in _AXES:
            raise ConfigError(f"inertia_ratio_range.{axis}: unknown; known: {', '.join(_AXES)}.")
    named = {f"inertia_ratio_range.{axis}": limits for axis, limits in ratios.items()}
    require_ordered(added_mass_range=added_mass_range, friction_range=friction_range, **named)

    def startup(key: jax.Array, scene: Scene) -> PhysicsParams:
        if not enabled:
            return PhysicsParams()
        box, e = scene.robot.object, scene.num_envs
        if box is None:
            raise ConfigError(
                "randomization.setup_terms: a term randomises the object, but robot.object.enabled is false; choose "
                "exp:g1-29dof-wbt-w-object, or leave the term out."
            )
        key_mass, key_friction, key_inertia = jax.random.split(key, 3)
        inertia = jnp.ones((e, 3), jnp.float32)
        for axis, limits in ratios.items():
            drawn = uniform(jax.random.fold_in(key_inertia, _AXES[axis]), (e,), limits)
            inertia = inertia.at[:, _AXES[axis]].set(drawn)
        return PhysicsParams(
            object_mass_ratio=1.0 + uniform(key_mass, (e,), added_mass_range) / box.mass,
            object_inertia_ratio=inertia,
            object_friction=uniform(key_friction, (e,), friction_range),
        )

    return Randomization(startup=startup)


OBSERVATIONS: dict[str, Callable[..., jax.Array]] = {
    "obj_pos_b": obj_pos_b,
    "obj_ori_b": obj_ori_b,
    "obj_lin_vel_b": obj_lin_vel_b,
}
REWARDS: dict[str, Callable[..., jax.Array]] = {
    "object_global_ref_position_error_exp": object_position,
    "object_global_ref_orientation_error_exp": object_orientation,
}
TERMINATIONS: dict[str, Callable[..., Any]] = {"bad_object": bad_object}
RANDOMIZATION: dict[str, Callable[..., Any]] = {"randomize_object_startup": object_physics}
