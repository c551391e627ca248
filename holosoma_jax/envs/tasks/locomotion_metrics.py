"""How well a velocity policy does: what is measured in each control step.

Pure functions of arrays. E environments, J joints, B bodies.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from bridges.protocol import SimState
from holosoma_jax import rotations
from holosoma_jax.envs.task import Measure, Measurement
from holosoma_jax.envs.view import row
from holosoma_jax.robots.robot import Robot

CONTACT = 1.0
"""N of net contact force above which a foot counts as standing, as in the contact termination."""

MEASURES: Mapping[str, Measure] = {
    "lin_vel_error": Measure("velocity error, horizontal", "m/s"),
    "yaw_rate_error": Measure("yaw rate error", "rad/s"),
    "lin_vel_x": Measure("forward velocity", "m/s"),
    "lin_vel_y": Measure("left velocity", "m/s"),
    "yaw_rate": Measure("yaw rate", "rad/s"),
    "drift_x": Measure("drift forward or back, where not asked", "m/s", magnitude=True),
    "drift_y": Measure("drift sideways, where not asked", "m/s", magnitude=True),
    "drift_yaw": Measure("turning, where not asked", "rad/s", magnitude=True),
    "action_rate": Measure("action rate, mean over joints", "rad/s"),
    "power": Measure("mechanical power", "W"),
    "foot_slip": Measure("foot slip, while in contact", "m/s"),
}
"""What an evaluation of a velocity policy reports."""


def measure(
    robot: Robot,
    control_dt: float,
    sim: SimState,
    command: jax.Array,
    targets: jax.Array,
    action_change: jax.Array,
    first_step: jax.Array,
) -> dict[str, Measurement]:
    """All measures of one control step, of the state that the step reached, before any reset.

    - ``lin_vel_error``: length of (v - command) in the horizontal plane of the base frame.
    - ``yaw_rate_error``: |w_z - command|, base frame.
    - ``lin_vel_x``, ``lin_vel_y``, ``yaw_rate``: the velocity reached, base frame.
    - ``drift_x``, ``drift_y``, ``drift_yaw``: the same, of the environments that are told 0 on that axis.
    - ``action_rate``: mean over joints of |a_t - a_(t-1)| * action_scale / dt, the speed at which the
      policy moves its joint targets, before delay. Not counted in the first step of an episode.
    - ``power``: sum over joints of |tau * qd|, mechanical, braking counted as work. tau is the PD law
      with nominal gains at the step's last state: clip(kp (target - q) - kd qd, +-limit).
    - ``foot_slip``: horizontal speed of a sole marker while its foot touches the ground.

    Args:
      robot: names, gains, limits.
      control_dt: s.
      sim: [E, ...].
      command: [E, 3] m/s, m/s, rad/s, the one that the policy saw.
      targets: [E, J] rad, what the simulator was asked for.
      action_change: [E, J] difference to the action of the step before.
      first_step: [E] bool, whether the episode began with this step.
    """
    lin_vel = rotations.rotate_inverse(sim.root_quat, sim.root_lin_vel)
    ang_vel = rotations.rotate_inverse(sim.root_quat, sim.root_ang_vel)
    always = jnp.ones(command.shape[:1], jnp.float32)
    target_speed = jnp.abs(action_change) * row(robot.action_scale) / control_dt
    torque = row(robot.kp) * (targets - sim.joint_pos) - row(robot.kd) * sim.joint_vel
    torque = jnp.clip(torque, -row(robot.torque_limit), row(robot.torque_limit))
    force = sim.contact_force[:, robot.body_index(*robot.feet_bodies)]
    touching = (jnp.linalg.norm(force, axis=-1) > CONTACT).astype(jnp.float32)
    sole_velocity = sim.body_lin_vel[:, robot.body_index(*robot.foot_height_bodies), :2]
    feet_down = touching.sum(-1)
    reached = jnp.stack([lin_vel[:, 0], lin_vel[:, 1], ang_vel[:, 2]], axis=-1)
    idle = (command == 0.0).astype(jnp.float32)  # [E, 3] axes on which nothing is asked
    slip = (touching * jnp.linalg.norm(sole_velocity, axis=-1)).sum(-1) / jnp.maximum(feet_down, 1.0)
    return {
        "lin_vel_error": Measurement(jnp.linalg.norm(lin_vel[:, :2] - command[:, :2], axis=-1), always),
        "yaw_rate_error": Measurement(jnp.abs(ang_vel[:, 2] - command[:, 2]), always),
        "lin_vel_x": Measurement(reached[:, 0], always),
        "lin_vel_y": Measurement(reached[:, 1], always),
        "yaw_rate": Measurement(reached[:, 2], always),
        "drift_x": Measurement(reached[:, 0], idle[:, 0]),
        "drift_y": Measurement(reached[:, 1], idle[:, 1]),
        "drift_yaw": Measurement(reached[:, 2], idle[:, 2]),
        "action_rate": Measurement(target_speed.mean(-1), jnp.where(first_step, 0.0, always)),
        "power": Measurement(jnp.abs(torque * sim.joint_vel).sum(-1), always),
        "foot_slip": Measurement(slip, feet_down),
    }
