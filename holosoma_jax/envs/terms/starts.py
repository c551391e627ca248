"""How episodes start: joint angles and root velocity around the nominal pose."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bridges.protocol import Pose
from holosoma_jax import rotations
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.terms.physics import require_ordered, uniform
from holosoma_jax.envs.terms.term import Randomization, Range
from holosoma_jax.envs.view import View


def reset_joints(
    *,
    joint_pos_scale_range: Range = (0.5, 1.5),
    joint_pos_bias_range: Range = (0.0, 0.0),
    joint_vel_range: Range = (0.0, 0.0),
    clip_to_limits: bool = False,
) -> Randomization:
    """Joint state at the start of an episode, around the default pose.

    Args:
      joint_pos_scale_range: factor on each joint's angle.
      joint_pos_bias_range: rad, added.
      joint_vel_range: rad/s.
      clip_to_limits: clamp the angles to the joint ranges (holosoma does not).

    Raises:
      ConfigError: a range is reversed.
    """
    require_ordered(
        joint_pos_scale_range=joint_pos_scale_range,
        joint_pos_bias_range=joint_pos_bias_range,
        joint_vel_range=joint_vel_range,
    )

    def draw(key: jax.Array, scene: Scene) -> dict[str, jax.Array]:
        ranges = {"scale": joint_pos_scale_range, "bias": joint_pos_bias_range, "vel": joint_vel_range}
        keys, shape = jax.random.split(key, 3), (scene.num_envs, scene.robot.num_joints)
        return {name: uniform(k, shape, ranges[name]) for name, k in zip(ranges, keys, strict=True)}

    def pose(view: View, nominal: Pose, state: Any, draws: dict[str, jax.Array]) -> Pose:
        del state
        joint_pos = nominal.joint_pos * draws["scale"] + draws["bias"]
        if clip_to_limits:
            joint_pos = jnp.clip(joint_pos, view.robot.joint_lower[None], view.robot.joint_upper[None])
        return nominal._replace(joint_pos=joint_pos, joint_vel=draws["vel"])

    return Randomization(draw=draw, pose=pose, disturbance="start")


def reset_root(
    *,
    lin_vel_range: Range = (-0.5, 0.5),
    ang_vel_range: Range = (-0.5, 0.5),
    yaw_range: Range = (0.0, 0.0),
    height_range: Range = (0.0, 0.0),
) -> Randomization:
    """Root velocity, heading and height at the start of an episode (its place is the terrain's `spawn`).

    Args:
      lin_vel_range: m/s, each world axis.
      ang_vel_range: rad/s, each world axis.
      yaw_range: rad, heading (holosoma always starts at 0).
      height_range: m, added to the height that the robot's record gives (holosoma adds nothing).

    Raises:
      ConfigError: a range is reversed, or heights are not from -1 to 100 m.
    """
    require_ordered(
        lin_vel_range=lin_vel_range,
        ang_vel_range=ang_vel_range,
        yaw_range=yaw_range,
        height_range=height_range,
    )
    if not -1.0 <= height_range[0] <= height_range[1] <= 100.0:
        raise ConfigError(f"height_range: got {list(height_range)}, wanted metres from -1 to 100.")

    def draw(key: jax.Array, scene: Scene) -> dict[str, jax.Array]:
        key_yaw, key_lin, key_ang = jax.random.split(key, 3)
        return {
            "yaw": uniform(key_yaw, (scene.num_envs,), yaw_range),
            "lin": uniform(key_lin, (scene.num_envs, 3), lin_vel_range),
            "ang": uniform(key_ang, (scene.num_envs, 3), ang_vel_range),
            "height": uniform(jax.random.fold_in(key, 3), (scene.num_envs,), height_range),
        }

    def pose(view: View, nominal: Pose, state: Any, draws: dict[str, jax.Array]) -> Pose:
        del view, state
        return nominal._replace(
            root_pos=nominal.root_pos.at[:, 2].add(draws["height"]),
            root_quat=rotations.multiply(rotations.about_z(draws["yaw"]), nominal.root_quat),
            root_lin_vel=draws["lin"],
            root_ang_vel=draws["ang"],
        )

    return Randomization(draw=draw, pose=pose, disturbance="start")
