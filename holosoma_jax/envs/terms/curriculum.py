"""Curricula: running averages that decide how hard the task is. All scalars, one for the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp


@dataclass(frozen=True, kw_only=True)
class AverageEpisodeTracker:
    """Moving average of episode lengths, weighted by how many episodes ended."""

    num_compute_average_epl: float = 1000.0
    """episodes that the average remembers, at 4096 environments; scales with their number"""

    def window(self, num_envs: int) -> int:
        """Episodes that the average remembers at `num_envs` environments, at least 1."""
        return max(1, int(self.num_compute_average_epl * num_envs / 4096))

    def update(self, average: jax.Array, length: jax.Array, done: jax.Array) -> jax.Array:
        """The average [] after the episodes `done` [E] bool of `length` [E] control steps.

        Raises nothing; without a finished episode the average stays.
        """
        count = jnp.sum(done.astype(jnp.float32))
        total = jnp.sum(jnp.where(done, length.astype(jnp.float32), 0.0))
        weight = jnp.minimum(count / self.window(length.shape[0]), 1.0)
        return (1.0 - weight) * average + weight * total / jnp.maximum(count, 1.0)


@dataclass(frozen=True, kw_only=True)
class PenaltyCurriculum:
    """Scales the weight of tagged (penalty) terms by how long episodes last."""

    enabled: bool = True
    tag: str = "penalty_curriculum"
    """reward terms that carry this tag are scaled"""
    initial_scale: float = 0.1
    min_scale: float = 0.0
    max_scale: float = 1.0
    level_down_threshold: float = 150.0
    """control steps: a shorter average lowers the scale"""
    level_up_threshold: float = 750.0
    """control steps: a longer average raises it"""
    degree: float = 0.00025
    """relative change per control step"""

    def initial(self) -> float:
        """The scale at the start of training."""
        return self.initial_scale if self.enabled else 1.0

    def update(self, scale: jax.Array, average_length: jax.Array) -> jax.Array:
        """The scale [] one control step later, given the average episode length []."""
        if not self.enabled:  # also where a run is resumed that had it enabled
            return jnp.full_like(scale, self.initial())
        down = jnp.where(average_length < self.level_down_threshold, 1.0 - self.degree, 1.0)
        up = jnp.where(average_length > self.level_up_threshold, 1.0 + self.degree, 1.0)
        return jnp.clip(scale * down * up, self.min_scale, self.max_scale)


TERMS: dict[str, Callable[..., Any]] = {
    "average_episode_tracker": AverageEpisodeTracker,
    "penalty_curriculum": PenaltyCurriculum,
}
