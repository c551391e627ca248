"""Curricula: running averages that decide how hard the task is. Both states are one float for the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.types import Fraction, NonNegativeFloat, PositiveFloat
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.terms.term import Curriculum
from holosoma_jax.envs.view import View

TRACKER = "average_episode_tracker"
"""The curriculum that `penalty_curriculum` reads."""


def average_episode_tracker(*, num_compute_average_epl: PositiveFloat = 1000.0) -> Curriculum:
    """Moving average of episode lengths in control steps, weighted by how many episodes ended. State: [].

    Args:
      num_compute_average_epl: episodes that the average remembers, at 4096 environments; scales with their
        number.
    """

    def update(view: View, average: jax.Array) -> jax.Array:
        assert view.finished is not None
        window = tracker_window(num_compute_average_epl, view.scene.num_envs)
        return moving_average(average, view.episode_step, view.finished, window)

    return Curriculum(
        init=lambda key, scene: jnp.zeros((), jnp.float32),
        update=update,
        metrics=lambda view, average: {"average_episode_length": average},
    )


def tracker_window(episodes: float, num_envs: int) -> int:
    """Episodes that the average remembers at `num_envs` environments, at least 1."""
    return max(1, int(episodes * num_envs / 4096))


def moving_average(average: jax.Array, length: jax.Array, done: jax.Array, window: int) -> jax.Array:
    """The average [] after the episodes `done` [E] bool of `length` [E] control steps.

    Without a finished episode the average stays.
    """
    count = jnp.sum(done.astype(jnp.float32))
    total = jnp.sum(jnp.where(done, length.astype(jnp.float32), 0.0))
    weight = jnp.minimum(count / window, 1.0)
    return (1.0 - weight) * average + weight * total / jnp.maximum(count, 1.0)


def penalty_curriculum(
    *,
    enabled: bool = True,
    tag: str = "penalty_curriculum",
    initial_scale: NonNegativeFloat = 0.1,
    min_scale: NonNegativeFloat = 0.0,
    max_scale: NonNegativeFloat = 1.0,
    level_down_threshold: NonNegativeFloat = 150.0,
    level_up_threshold: NonNegativeFloat = 750.0,
    degree: Fraction = 0.00025,
) -> Curriculum:
    """Scales the weight of tagged (penalty) terms by how long episodes last. State: the scale [].

    Args:
      enabled: False leaves the weights as they are, also where a run is resumed that had it enabled.
      tag: reward terms that carry this tag are scaled.
      initial_scale: at the start of training.
      min_scale: lower bound.
      max_scale: upper bound.
      level_down_threshold: control steps: a shorter average lowers the scale.
      level_up_threshold: control steps: a longer average raises it.
      degree: relative change per control step.

    Raises:
      ConfigError: `initial_scale` is not between the bounds.
    """
    if enabled and not min_scale <= initial_scale <= max_scale:
        raise ConfigError(
            f"initial_scale: got {initial_scale}, wanted from min_scale to max_scale, {min_scale} to {max_scale}."
        )
    first = initial_scale if enabled else 1.0

    def init(key: jax.Array, scene: Scene) -> jax.Array:
        del key, scene
        return jnp.asarray(first, jnp.float32)

    def update(view: View, scale: jax.Array) -> jax.Array:
        if not enabled:
            return jnp.full_like(scale, first)
        average = view.curricula[TRACKER]
        down = jnp.where(average < level_down_threshold, 1.0 - degree, 1.0)
        up = jnp.where(average > level_up_threshold, 1.0 + degree, 1.0)
        return jnp.clip(scale * down * up, min_scale, max_scale)

    return Curriculum(
        init=init,
        update=update,
        reward_scale=(lambda scale, tags: scale if tag in tags else None) if enabled else None,
        metrics=lambda view, scale: {"penalty_scale": scale},
    )


TERMS: dict[str, Callable[..., Any]] = {
    "average_episode_tracker": average_episode_tracker,
    "penalty_curriculum": penalty_curriculum,
}
