"""Rewards of whole-body tracking, those of BeyondMimic (Liao et al. 2025) as holosoma has them: `View` -> [E].

An error e gives exp(-mean(e^2) / sigma^2), the mean over the tracked bodies.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp

from holosoma_jax import rotations
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.types import NonNegativeFloat, PositiveFloat
from holosoma_jax.envs.terms.motion import objects
from holosoma_jax.envs.terms.motion.reference import anchors, reference_bodies, robot_bodies, state_of
from holosoma_jax.envs.view import View
from holosoma_jax.robots.robot import Robot


def anchor_position(view: View, *, sigma: PositiveFloat) -> jax.Array:
    """The anchor's position in the world, sigma in m."""
    theirs, ours = anchors(view)
    return _exp(_squared(theirs.pos - ours.pos), sigma)


def anchor_orientation(view: View, *, sigma: PositiveFloat) -> jax.Array:
    """The anchor's orientation in the world, sigma in rad."""
    theirs, ours = anchors(view)
    return _exp(jnp.square(rotations.angle_between(theirs.quat, ours.quat)), sigma)


def body_position(view: View, *, sigma: PositiveFloat) -> jax.Array:
    """Positions of the tracked bodies against the aligned targets, sigma in m."""
    return _exp(_squared(state_of(view).target_pos - robot_bodies(view).pos).mean(-1), sigma)


def body_orientation(view: View, *, sigma: PositiveFloat) -> jax.Array:
    """Orientations of the tracked bodies against the aligned targets, sigma in rad."""
    angle = rotations.angle_between(state_of(view).target_quat, robot_bodies(view).quat)
    return _exp(jnp.square(angle).mean(-1), sigma)


def body_lin_vel(view: View, *, sigma: PositiveFloat) -> jax.Array:
    """Linear velocities of the tracked bodies in the world, not aligned; sigma in m/s."""
    return _exp(_squared(reference_bodies(view).lin_vel - robot_bodies(view).lin_vel).mean(-1), sigma)


def body_ang_vel(view: View, *, sigma: PositiveFloat) -> jax.Array:
    """Angular velocities of the tracked bodies in the world, not aligned; sigma in rad/s."""
    return _exp(_squared(reference_bodies(view).ang_vel - robot_bodies(view).ang_vel).mean(-1), sigma)


def undesired_contacts(
    view: View, *, undesired_contacts_body_names: str | None = None, threshold: NonNegativeFloat = 1.0
) -> jax.Array:
    """How many bodies touch something with more than `threshold` N [E].

    Reads the net force of the last physics step; holosoma reads the last three.

    Args:
      view: the state.
      undesired_contacts_body_names: regular expression that the bodies' names match; default: all bodies but feet,
        soles and hands.
      threshold: N.

    Raises:
      ConfigError: not an expression, or no body matches it.
    """
    robot = view.robot
    if undesired_contacts_body_names is None:
        welcome = robot.end_bodies + robot.foot_height_bodies
        bodies = tuple(name for name in robot.body_names if name not in welcome)
    else:
        bodies = _matching(undesired_contacts_body_names, robot)
    touching = _squared(view.contact_force_of(bodies)) > threshold**2
    return jnp.sum(touching.astype(jnp.float32), axis=-1)


def _matching(expression: str, robot: Robot) -> tuple[str, ...]:
    where = "reward 'undesired_contacts': undesired_contacts_body_names"
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise ConfigError(f"{where}: '{expression}' is no expression: {error}.") from None
    bodies = tuple(name for name in robot.body_names if pattern.match(name))
    if not bodies:
        raise ConfigError(f"{where}: '{expression}' matches no body of robot '{robot.name}'.")
    return bodies


def _squared(vectors: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(vectors), axis=-1)


def _exp(squared_error: jax.Array, sigma: float) -> jax.Array:
    return jnp.exp(-squared_error / sigma**2)


TERMS: dict[str, Callable[..., jax.Array]] = {
    "motion_global_ref_position_error_exp": anchor_position,
    "motion_global_ref_orientation_error_exp": anchor_orientation,
    "motion_relative_body_position_error_exp": body_position,
    "motion_relative_body_orientation_error_exp": body_orientation,
    "motion_global_body_lin_vel": body_lin_vel,
    "motion_global_body_ang_vel": body_ang_vel,
    "undesired_contacts": undesired_contacts,
    **objects.REWARDS,
}
