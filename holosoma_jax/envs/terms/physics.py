"""Randomisation of the robot's physics: masses, centre of mass, friction, gains."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bridges.protocol import PhysicsParams
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.types import NonNegativeFloat, PositiveFloat, PositiveInt
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.terms.term import Actuation, Randomization, Range, where
from holosoma_jax.envs.view import View

PositiveRange = tuple[PositiveFloat, PositiveFloat]
NonNegativeRange = tuple[NonNegativeFloat, NonNegativeFloat]


def uniform(key: jax.Array, shape: tuple[int, ...], limits: Range) -> jax.Array:
    """Uniform float32 draw within limits (low, high)."""
    return jax.random.uniform(key, shape, minval=limits[0], maxval=limits[1])


def require_ordered(**ranges: Range) -> None:
    """Raise ConfigError for a range whose low end is above its high end."""
    for name, (low, high) in ranges.items():
        if low > high:
            raise ConfigError(f"{name}: got [{low}, {high}], wanted [low, high] with low <= high.")


def masses(
    *,
    enable_link_mass: bool = True,
    link_mass_range: PositiveRange = (0.9, 1.2),
    enable_base_mass: bool = True,
    added_mass_range: Range = (-1.0, 3.0),
) -> Randomization:
    """Link masses scale, and the torso carries extra mass; inertia follows by the same ratio. Once.

    Args:
      enable_link_mass: scale link masses.
      link_mass_range: factor, independent per link of the robot's `randomized_mass_bodies`.
      enable_base_mass: add mass to the torso.
      added_mass_range: kg on the robot's torso, after the factor.

    Raises:
      ConfigError: a range is reversed; when drawn: the torso could end up without mass.
    """
    require_ordered(link_mass_range=link_mass_range, added_mass_range=added_mass_range)

    def startup(key: jax.Array, scene: Scene) -> PhysicsParams:
        key_link, key_base = jax.random.split(key)
        robot, num_envs = scene.robot, scene.num_envs
        nominal = jnp.asarray(robot.body_mass, jnp.float32)[None]
        ratio = jnp.ones((num_envs, robot.num_bodies), jnp.float32)
        if enable_link_mass:
            links = robot.body_index(*robot.randomized_mass_bodies)
            ratio = ratio.at[:, links].set(uniform(key_link, (num_envs, len(links)), link_mass_range))
        if enable_base_mass:
            torso = int(robot.body_index(robot.torso_body)[0])
            mass = float(robot.body_mass[torso])
            factor = link_mass_range[0] if enable_link_mass else 1.0
            if factor * mass + added_mass_range[0] <= 0.0:
                raise ConfigError(
                    "randomization.setup_terms.mass_randomizer.params.added_mass_range: "
                    f"{added_mass_range[0]} kg would leave '{robot.torso_body}' ({mass:.2f} kg) "
                    "without mass; give a smaller negative number."
                )
            added = uniform(key_base, (num_envs,), added_mass_range)
            ratio = ratio.at[:, torso].add(added / nominal[0, torso])
        return PhysicsParams(mass_ratio=ratio)

    return Randomization(startup=startup)


def friction(
    *, friction_range: NonNegativeRange = (0.5, 1.25), num_buckets: PositiveInt = 64, enabled: bool = True
) -> Randomization:
    """One sliding friction coefficient per environment, in force at all of its contacts. Once.

    Args:
      friction_range: of the coefficient.
      num_buckets: the draw takes the midpoints of this many equal bins (PhysX has a material limit).
      enabled: False leaves friction as it is.

    Raises:
      ConfigError: the range is reversed.
    """
    require_ordered(friction_range=friction_range)

    def startup(key: jax.Array, scene: Scene) -> PhysicsParams:
        if not enabled:
            return PhysicsParams()
        low, high = friction_range
        bucket = jax.random.randint(key, (scene.num_envs,), 0, num_buckets).astype(jnp.float32)
        return PhysicsParams(friction=low + (high - low) * (bucket + 0.5) / num_buckets)

    return Randomization(startup=startup)


def base_com(*, base_com_range: dict[str, Range], enabled: bool = True) -> Randomization:
    """The torso's centre of mass is shifted; its inertia is not. Once.

    Args:
      base_com_range: m, for x, y and z.
      enabled: False leaves it where it is.

    Raises:
      ConfigError: an axis is missing or its range reversed.
    """
    for axis in "xyz":
        if axis not in base_com_range:
            raise ConfigError(f"base_com_range: axis '{axis}' is missing.")
    require_ordered(**{f"base_com_range.{axis}": base_com_range[axis] for axis in "xyz"})

    def startup(key: jax.Array, scene: Scene) -> PhysicsParams:
        if not enabled:
            return PhysicsParams()
        low, high = (jnp.asarray([base_com_range[a][side] for a in "xyz"]) for side in (0, 1))
        shift = low[None] + (high - low)[None] * jax.random.uniform(key, (scene.num_envs, 3))
        torso = int(scene.robot.body_index(scene.robot.torso_body)[0])
        offset = jnp.zeros((scene.num_envs, scene.robot.num_bodies, 3), jnp.float32)
        return PhysicsParams(com_offset=offset.at[:, torso].set(shift))

    return Randomization(startup=startup)


def actuators(
    *,
    kp_range: PositiveRange = (0.9, 1.1),
    kd_range: PositiveRange = (0.9, 1.1),
    rfi_lim_range: NonNegativeRange = (0.5, 1.5),
    enable_pd_gain: bool = True,
    enable_rfi_lim: bool = False,
) -> Randomization:
    """PD gains, and the torque noise's size, per environment and joint, new each episode.

    State: factor [E, J] on the torque noise.

    Args:
      kp_range: factor on the stiffness.
      kd_range: factor on the damping.
      rfi_lim_range: factor on the torque noise (`setup_torque_rfi`).
      enable_pd_gain: scale the gains.
      enable_rfi_lim: scale the torque noise.

    Raises:
      ConfigError: a range is reversed.
    """
    require_ordered(kp_range=kp_range, kd_range=kd_range, rfi_lim_range=rfi_lim_range)

    def draw(key: jax.Array, scene: Scene) -> dict[str, jax.Array]:
        keys = jax.random.split(key, 3)
        ranges = {"kp": kp_range, "kd": kd_range, "rfi": rfi_lim_range}
        shape = (scene.num_envs, scene.robot.num_joints)
        return {name: uniform(k, shape, ranges[name]) for name, k in zip(ranges, keys, strict=True)}

    def reset(view: View, mask: jax.Array, factor: jax.Array, draws: dict[str, jax.Array]) -> jax.Array:
        del view
        return where(mask, draws["rfi"], factor) if enable_rfi_lim else factor

    def physics(view: View, factor: jax.Array, draws: dict[str, jax.Array]) -> PhysicsParams:
        del view, factor
        return (
            PhysicsParams(kp_scale=draws["kp"], kd_scale=draws["kd"]) if enable_pd_gain else PhysicsParams()
        )

    def actuate(
        scene: Scene, actuation: Actuation, factor: jax.Array, draws: Any
    ) -> tuple[Actuation, jax.Array]:
        del scene, draws
        if not enable_rfi_lim:
            return actuation, factor
        scale = factor if actuation.torque_scale is None else factor * actuation.torque_scale
        return actuation._replace(torque_scale=scale), factor

    return Randomization(
        init=lambda key, scene: jnp.ones((scene.num_envs, scene.robot.num_joints), jnp.float32),
        reset=reset,
        draw=draw,
        physics=physics,
        actuate=actuate,
    )
