"""Reward terms: `View` -> [E], unweighted. The environment multiplies by weight and control_dt.

Formulas: holosoma's locomotion task (velocity tracking in the tilted base frame, a gait reward
on sole heights, and penalties).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from holosoma_jax import rotations
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.types import Fraction, NonNegativeFloat, PositiveFloat
from holosoma_jax.envs.terms.gait import swing_height_target
from holosoma_jax.envs.terms.motion import rewards as motion
from holosoma_jax.envs.view import View, row


def tracking_lin_vel(view: View, *, tracking_sigma: PositiveFloat) -> jax.Array:
    """exp(-|commanded - measured horizontal velocity|^2 / tracking_sigma) [E].

    Args:
      view: the state.
      tracking_sigma: (m/s)^2, enters as written, not squared.
    """
    error = view.command[:, :2] - view.base_lin_vel[:, :2]
    return jnp.exp(-jnp.sum(jnp.square(error), -1) / tracking_sigma)


def tracking_ang_vel(view: View, *, tracking_sigma: PositiveFloat) -> jax.Array:
    """exp(-(commanded - measured yaw rate)^2 / tracking_sigma) [E], tracking_sigma in (rad/s)^2."""
    return jnp.exp(-jnp.square(view.command[:, 2] - view.base_ang_vel[:, 2]) / tracking_sigma)


def penalty_ang_vel_xy(view: View) -> jax.Array:
    """Squared roll and pitch rate of the base [E], (rad/s)^2."""
    return jnp.sum(jnp.square(view.base_ang_vel[:, :2]), -1)


def penalty_orientation(view: View) -> jax.Array:
    """Squared horizontal part of the projected gravity [E]; 0 when upright."""
    return jnp.sum(jnp.square(view.projected_gravity[:, :2]), -1)


def penalty_action_rate(view: View) -> jax.Array:
    """Squared change of the raw action since the last step, summed over joints [E]."""
    return jnp.sum(jnp.square(view.action - view.prev_action), -1)


def feet_phase(
    view: View,
    *,
    swing_height: NonNegativeFloat,
    tracking_sigma: PositiveFloat,
    foot_bodies: tuple[str, str] | None = None,
) -> jax.Array:
    """exp(-sum over feet (height - target of the gait phase)^2 / tracking_sigma) [E].

    Args:
      view: the state.
      swing_height: m, height of the sole at mid-swing.
      tracking_sigma: m^2.
      foot_bodies: left and right body whose origins are measured; default: the robot's sole markers.

    Raises:
      ConfigError: the robot has no such body.
    """
    try:
        height = view.height_of(foot_bodies) if foot_bodies else view.foot_height
    except KeyError as error:
        raise ConfigError(f"reward 'feet_phase': foot_bodies: {error.args[0]}") from None
    error = height - swing_height_target(view.phase, swing_height)
    return jnp.exp(-jnp.sum(jnp.square(error), -1) / tracking_sigma)


def pose(view: View, *, pose_weights: Sequence[NonNegativeFloat]) -> jax.Array:
    """Weighted squared distance of the joints from the default pose [E], rad^2.

    Raises:
      ConfigError: `pose_weights` has not one entry a joint.
    """
    if len(pose_weights) != view.robot.num_joints:
        raise ConfigError(
            f"reward 'pose': pose_weights has {len(pose_weights)} entries, robot '{view.robot.name}' has "
            f"{view.robot.num_joints} joints. Give one weight per joint, in the robot's joint order."
        )
    nominal = view.sim.joint_pos - row(view.robot.default_joint_pos)
    return jnp.sum(row(pose_weights) * jnp.square(nominal), -1)


def penalty_close_feet_xy(view: View, *, close_feet_threshold: NonNegativeFloat) -> jax.Array:
    """1 where the feet's lateral distance in the heading frame is below the threshold (m) [E]."""
    yaw = rotations.heading(view.sim.root_quat)
    # subtract before rotating: positions can be 160 m from the origin
    apart = view.feet_pos[:, 0] - view.feet_pos[:, 1]
    lateral = jnp.abs(jnp.cos(yaw) * apart[:, 1] - jnp.sin(yaw) * apart[:, 0])
    return (lateral < close_feet_threshold).astype(jnp.float32)


def penalty_feet_ori(view: View) -> jax.Array:
    """Tilt of both soles: length of the horizontal part of gravity in each foot frame, summed [E]."""
    gravity = rotations.projected_gravity(view.feet_quat)
    return jnp.sum(jnp.sqrt(jnp.sum(jnp.square(gravity[..., :2]), -1)), -1)


def alive(view: View) -> jax.Array:
    """1 every step [E]."""
    return jnp.ones_like(view.sim.root_pos[:, 0])


def termination(view: View) -> jax.Array:
    """1 where the episode failed in this step [E] (not where the clock ran out)."""
    if view.terminated is None:
        raise ValueError("reward 'termination' needs the terminations of this step; call it after them.")
    return view.terminated.astype(jnp.float32)


def limits_dof_pos(view: View, *, soft_dof_pos_limit: Fraction | None = None) -> jax.Array:
    """How far joints are beyond their soft limits, summed [E], rad.

    Args:
      view: the state.
      soft_dof_pos_limit: share of each joint's range that is free, about its middle; default: the robot's.
    """
    lower, upper = view.soft_limits if soft_dof_pos_limit is None else view.limits_at(soft_dof_pos_limit)
    below = jnp.maximum(lower - view.sim.joint_pos, 0.0)
    above = jnp.maximum(view.sim.joint_pos - upper, 0.0)
    return jnp.sum(below + above, -1)


def base_height(view: View, *, target: NonNegativeFloat) -> jax.Array:
    """Squared distance of the base from its target height (m) above the ground [E], m^2."""
    return jnp.square(view.base_height - target)


def penalty_stumble(view: View, *, ratio: NonNegativeFloat = 4.0) -> jax.Array:
    """1 where a foot's horizontal contact force exceeds `ratio` times its vertical one [E]."""
    force = view.feet_contact_force
    horizontal = jnp.sqrt(jnp.sum(jnp.square(force[..., :2]), -1))
    return jnp.any(horizontal > ratio * jnp.abs(force[..., 2]), -1).astype(jnp.float32)


TERMS: dict[str, Callable[..., jax.Array]] = {
    "tracking_lin_vel": tracking_lin_vel,
    "tracking_ang_vel": tracking_ang_vel,
    "penalty_ang_vel_xy": penalty_ang_vel_xy,
    "penalty_orientation": penalty_orientation,
    "penalty_action_rate": penalty_action_rate,
    "action_rate_l2": penalty_action_rate,
    "feet_phase": feet_phase,
    "pose": pose,
    "penalty_close_feet_xy": penalty_close_feet_xy,
    "penalty_feet_ori": penalty_feet_ori,
    "alive": alive,
    "termination": termination,
    "limits_dof_pos": limits_dof_pos,
    "base_height": base_height,
    "penalty_stumble": penalty_stumble,
    **motion.TERMS,
}
