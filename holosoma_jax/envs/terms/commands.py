"""Velocity commands and the gait's frequency: what is drawn, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.types import Fraction, NonNegativeFloat, PositiveFloat

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class VelocityCommand:
    """Uniform velocity commands, held for `resampling_time`, some of them 'stand still'."""

    command_ranges: dict[Literal["lin_vel_x", "lin_vel_y", "ang_vel_yaw", "heading"], Range]
    """lin_vel_x, lin_vel_y in m/s and ang_vel_yaw in rad/s; 'heading' is carried but not used"""
    stand_prob: Fraction = 0.2
    """probability that a draw asks to stand still"""
    resampling_time: PositiveFloat = 10.0
    """s between draws within an episode"""

    def __post_init__(self) -> None:
        """Raise ConfigError for a missing or reversed range, a probability outside [0, 1]."""
        for name in ("lin_vel_x", "lin_vel_y", "ang_vel_yaw"):
            low, high = self.command_ranges.get(name, (1.0, 0.0))
            if low > high:
                raise ConfigError(
                    f"command.setup_terms.locomotion_command.params.command_ranges.{name}: "
                    f"got {self.command_ranges.get(name)}, wanted [low, high] with low <= high."
                )
        if not 0.0 <= self.stand_prob <= 1.0:
            raise ConfigError(
                f"command.setup_terms.locomotion_command.params.stand_prob: got {self.stand_prob}, wanted 0 to 1."
            )

    def sample(self, key: jax.Array, num_envs: int) -> jax.Array:
        """Commands [num_envs, 3]: m/s forward, m/s left, rad/s yaw rate."""
        key_value, key_stand = jax.random.split(key)
        names = ("lin_vel_x", "lin_vel_y", "ang_vel_yaw")
        low, high = (
            jnp.asarray([self.command_ranges[n][side] for n in names], jnp.float32) for side in (0, 1)
        )
        unit = jax.random.uniform(key_value, (num_envs, 3))
        moving = low[None] + (high - low)[None] * unit
        stand = jax.random.uniform(key_stand, (num_envs, 1)) <= self.stand_prob
        return jnp.where(stand, 0.0, moving)


@dataclass(frozen=True, kw_only=True)
class Gait:
    """How fast the gait clock runs."""

    gait_period: PositiveFloat = 1.0
    """s"""
    gait_period_randomization_width: NonNegativeFloat = 0.0
    """Hz, half-width of the draw around 1 / gait_period (of the frequency, despite the name)"""

    def sample(self, key: jax.Array, num_envs: int) -> jax.Array:
        """Frequencies [num_envs] in Hz."""
        width = self.gait_period_randomization_width
        return 1.0 / self.gait_period + jax.random.uniform(key, (num_envs,), minval=-width, maxval=width)


TERMS: dict[str, Callable[..., Any]] = {
    "locomotion_command": VelocityCommand,
    "locomotion_gait": Gait,
}
