"""From the policy's action to joint targets: clip, delay, scale."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def push_queue(queue: jax.Array, action: jax.Array) -> jax.Array:
    """The delay queue [E, max_delay + 1, J] with `action` [E, J] as its newest entry, slot 0."""
    return jnp.concatenate([action[:, None], queue[:, :-1]], axis=1)


def delayed(queue: jax.Array, delay: jax.Array) -> jax.Array:
    """The action [E, J] that arrived `delay` [E] int32 control steps ago; zero before the reset."""
    return jnp.take_along_axis(queue, delay[:, None, None], axis=1)[:, 0]


def joint_targets(action: jax.Array, default_joint_pos: jax.Array, scale: jax.Array) -> jax.Array:
    """Joint targets [E, J] rad: default [E, J] + scale [1, J] * action [E, J]."""
    return default_joint_pos + scale * action
