"""Domain randomisation: what differs between environments, episodes and moments.

Physics terms return `PhysicsParams` for the bridge: `sample(key, robot, num_envs)`. Those with
`each_episode` are redrawn at every reset, the others once. The remaining terms act on the
environment's own functions (delay, torque noise, pushes, reset pose). Draws of different
environments, terms and stages are independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from bridges.protocol import PhysicsParams
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from holosoma_jax.robots.robot import Robot

Range = tuple[float, float]
PositiveRange = tuple[PositiveFloat, PositiveFloat]
NonNegativeRange = tuple[NonNegativeFloat, NonNegativeFloat]


def uniform(key: jax.Array, shape: tuple[int, ...], limits: Range) -> jax.Array:
    """Uniform float32 draw within limits (low, high)."""
    return jax.random.uniform(key, shape, minval=limits[0], maxval=limits[1])


def _ordered(term: str, **ranges: Range) -> None:
    """Raise ConfigError for a range whose low end is above its high end."""
    for name, (low, high) in ranges.items():
        if low > high:
            raise ConfigError(
                f"randomization.setup_terms.{term}.params.{name}: got [{low}, {high}], "
                "wanted [low, high] with low <= high."
            )


@dataclass(frozen=True, kw_only=True)
class MassRandomizer:
    """Link masses scale, and the torso carries extra mass; inertia follows by the same ratio."""

    each_episode: ClassVar[bool] = False
    enable_link_mass: bool = True
    link_mass_range: PositiveRange = (0.9, 1.2)
    """factor, independent per link of the robot's `randomized_mass_bodies`"""
    enable_base_mass: bool = True
    added_mass_range: Range = (-1.0, 3.0)
    """kg on the robot's torso, after the factor"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _ordered(
            "mass_randomizer", link_mass_range=self.link_mass_range, added_mass_range=self.added_mass_range
        )

    def sample(self, key: jax.Array, robot: Robot, num_envs: int) -> PhysicsParams:
        """Mass ratios of every body, 1 where nothing is drawn.

        Raises:
          ConfigError: the torso could end up without mass.
        """
        key_link, key_base = jax.random.split(key)
        nominal = jnp.asarray(robot.body_mass, jnp.float32)[None]
        ratio = jnp.ones((num_envs, robot.num_bodies), jnp.float32)
        if self.enable_link_mass:
            links = robot.body_index(*robot.randomized_mass_bodies)
            ratio = ratio.at[:, links].set(uniform(key_link, (num_envs, len(links)), self.link_mass_range))
        if self.enable_base_mass:
            torso = int(robot.body_index(robot.torso_body)[0])
            mass = float(robot.body_mass[torso])
            factor = self.link_mass_range[0] if self.enable_link_mass else 1.0
            if factor * mass + self.added_mass_range[0] <= 0.0:
                raise ConfigError(
                    "randomization.setup_terms.mass_randomizer.params.added_mass_range: "
                    f"{self.added_mass_range[0]} kg would leave '{robot.torso_body}' ({mass:.2f} kg) "
                    "without mass; give a smaller negative number."
                )
            added = uniform(key_base, (num_envs,), self.added_mass_range)
            ratio = ratio.at[:, torso].add(added / nominal[0, torso])
        return PhysicsParams(mass_ratio=ratio)


@dataclass(frozen=True, kw_only=True)
class FrictionRandomizer:
    """One sliding friction coefficient per environment, in force at all of its contacts."""

    each_episode: ClassVar[bool] = False
    friction_range: NonNegativeRange = (0.5, 1.25)
    num_buckets: PositiveInt = 64
    """the draw takes the midpoints of this many equal bins (PhysX has a material limit)"""
    enabled: bool = True

    def __post_init__(self) -> None:
        """Check the range."""
        _ordered("randomize_friction_startup", friction_range=self.friction_range)

    def sample(self, key: jax.Array, robot: Robot, num_envs: int) -> PhysicsParams:
        """Friction coefficients."""
        del robot
        if not self.enabled:
            return PhysicsParams()
        low, high = self.friction_range
        bucket = jax.random.randint(key, (num_envs,), 0, self.num_buckets).astype(jnp.float32)
        return PhysicsParams(friction=low + (high - low) * (bucket + 0.5) / self.num_buckets)


@dataclass(frozen=True, kw_only=True)
class BaseComRandomizer:
    """The torso's centre of mass is shifted; its inertia is not."""

    each_episode: ClassVar[bool] = False
    base_com_range: dict[str, Range]
    """m, for x, y and z"""
    enabled: bool = True

    def __post_init__(self) -> None:
        """Check that x, y, z are there and ordered."""
        for axis in "xyz":
            if axis not in self.base_com_range:
                raise ConfigError(
                    "randomization.setup_terms.randomize_base_com_startup.params.base_com_range: "
                    f"axis '{axis}' is missing."
                )
        _ordered("randomize_base_com_startup", **self.base_com_range)

    def sample(self, key: jax.Array, robot: Robot, num_envs: int) -> PhysicsParams:
        """Offsets of every body's centre of mass, zero but for the torso's."""
        if not self.enabled:
            return PhysicsParams()
        low, high = (jnp.asarray([self.base_com_range[a][side] for a in "xyz"]) for side in (0, 1))
        shift = low[None] + (high - low)[None] * jax.random.uniform(key, (num_envs, 3))
        torso = int(robot.body_index(robot.torso_body)[0])
        offset = jnp.zeros((num_envs, robot.num_bodies, 3), jnp.float32)
        return PhysicsParams(com_offset=offset.at[:, torso].set(shift))


@dataclass(frozen=True, kw_only=True)
class ActuatorRandomizer:
    """PD gains (and the torque noise's size) per environment and joint, new each episode."""

    each_episode: ClassVar[bool] = True
    kp_range: PositiveRange = (0.9, 1.1)
    kd_range: PositiveRange = (0.9, 1.1)
    rfi_lim_range: NonNegativeRange = (0.5, 1.5)
    """factor on `setup_torque_rfi`'s rfi_lim"""
    enable_pd_gain: bool = True
    enable_rfi_lim: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        _ordered("actuator_randomizer_state", kp_range=self.kp_range, kd_range=self.kd_range)

    def sample(self, key: jax.Array, robot: Robot, num_envs: int) -> PhysicsParams:
        """Factors on stiffness and damping."""
        if not self.enable_pd_gain:
            return PhysicsParams()
        key_kp, key_kd = jax.random.split(key)
        shape = (num_envs, robot.num_joints)
        return PhysicsParams(
            kp_scale=uniform(key_kp, shape, self.kp_range), kd_scale=uniform(key_kd, shape, self.kd_range)
        )


@dataclass(frozen=True, kw_only=True)
class Push:
    """Sudden changes of the root's horizontal velocity, at random intervals."""

    push_interval_s: PositiveRange = (5.0, 10.0)
    max_push_vel: NonNegativeRange = (1.0, 1.0)
    """m/s, x and y: the new velocity is uniform within +- these"""
    enabled: bool = True
    in_evaluation: bool = False
    """also push while a policy is evaluated"""

    def __post_init__(self) -> None:
        """Check the range."""
        _ordered("push_randomizer_state", push_interval_s=self.push_interval_s)

    def sample_interval(self, key: jax.Array, num_envs: int, dt: float) -> jax.Array:
        """Control steps until the next push [num_envs] int32."""
        return jnp.floor(uniform(key, (num_envs,), self.push_interval_s) / dt).astype(jnp.int32)

    def sample_velocity(self, key: jax.Array, num_envs: int) -> jax.Array:
        """World horizontal velocity after a push [num_envs, 2] m/s."""
        limit = jnp.asarray(self.max_push_vel, jnp.float32)[None]
        return limit * jax.random.uniform(key, (num_envs, 2), minval=-1.0, maxval=1.0)


@dataclass(frozen=True, kw_only=True)
class ActionDelay:
    """Whole control steps between an action and its effect, per episode."""

    ctrl_delay_step_range: tuple[NonNegativeInt, NonNegativeInt] = (0, 1)
    """both ends included"""
    enabled: bool = True

    def __post_init__(self) -> None:
        """Check the range."""
        low, high = self.ctrl_delay_step_range
        if low < 0 or low > high:
            raise ConfigError(
                "randomization.setup_terms.setup_action_delay_buffers.params.ctrl_delay_step_range: "
                f"got [{low}, {high}], wanted [low, high] control steps with 0 <= low <= high."
            )

    @property
    def longest(self) -> int:
        """The longest delay, in control steps."""
        return self.ctrl_delay_step_range[1] if self.enabled else 0

    def sample(self, key: jax.Array, num_envs: int) -> jax.Array:
        """Delays [num_envs] int32."""
        low, high = self.ctrl_delay_step_range if self.enabled else (0, 0)
        return jax.random.randint(key, (num_envs,), low, high + 1)


@dataclass(frozen=True, kw_only=True)
class TorqueNoise:
    """Random force injection: uniform torque noise at every physics step."""

    enabled: bool = False
    rfi_lim: NonNegativeFloat = 0.1
    """half-width, as a fraction of each joint's torque limit"""


@dataclass(frozen=True, kw_only=True)
class JointBias:
    """A constant error of each joint's zero, per environment: shifts targets and observations."""

    dof_pos_bias_range: Range = (-0.01, 0.01)
    """rad"""
    enabled: bool = False

    def sample(self, key: jax.Array, robot: Robot, num_envs: int) -> jax.Array:
        """Biases [num_envs, J] rad, zero when disabled."""
        limits = self.dof_pos_bias_range if self.enabled else (0.0, 0.0)
        return uniform(key, (num_envs, robot.num_joints), limits)


@dataclass(frozen=True, kw_only=True)
class ResetJoints:
    """Joint state at the start of an episode, around the default pose."""

    joint_pos_scale_range: Range = (0.5, 1.5)
    """factor on each joint's default angle"""
    joint_pos_bias_range: Range = (0.0, 0.0)
    """rad, added"""
    joint_vel_range: Range = (0.0, 0.0)
    """rad/s"""
    clip_to_limits: bool = False
    """clamp the angles to the joint ranges (the reference does not)"""

    def sample(self, key: jax.Array, robot: Robot, default: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Joint positions [E, J] rad and velocities [E, J] rad/s around `default` [E, J]."""
        key_scale, key_bias, key_vel = jax.random.split(key, 3)
        pos = default * uniform(key_scale, default.shape, self.joint_pos_scale_range)
        pos = pos + uniform(key_bias, default.shape, self.joint_pos_bias_range)
        if self.clip_to_limits:
            pos = jnp.clip(pos, robot.joint_lower[None], robot.joint_upper[None])
        return pos, uniform(key_vel, default.shape, self.joint_vel_range)


@dataclass(frozen=True, kw_only=True)
class ResetRoot:
    """Root velocity at the start of an episode (its place is the terrain's `spawn`)."""

    lin_vel_range: Range = (-0.5, 0.5)
    """m/s, each world axis"""
    ang_vel_range: Range = (-0.5, 0.5)
    """rad/s, each world axis"""
    yaw_range: Range = (0.0, 0.0)
    """rad, heading (the reference always starts at 0)"""


TERMS: dict[str, Callable[..., Any]] = {
    "mass_randomizer": MassRandomizer,
    "randomize_friction_startup": FrictionRandomizer,
    "randomize_base_com_startup": BaseComRandomizer,
    "actuator_randomizer_state": ActuatorRandomizer,
    "push_randomizer_state": Push,
    "setup_action_delay_buffers": ActionDelay,
    "setup_torque_rfi": TorqueNoise,
    "setup_dof_pos_bias": JointBias,
    "randomize_dof_state": ResetJoints,
    "randomize_root_state": ResetRoot,
}
