"""Metrics of control steps: sums on the device, numbers on the host once they are flushed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

LAST = 100
"""Finished episodes that `Train/mean_reward` and `Train/mean_episode_length` look back on."""


class Mean(NamedTuple):
    """A mean under construction."""

    total: jax.Array
    """[] sum of the values"""
    weight: jax.Array
    """[] how many there were"""


class Episodes(struct.PyTreeNode):
    """Returns and lengths of the episodes that are running, and of the last ones that ended."""

    # running, [E]
    returns: jax.Array
    lengths: jax.Array  # int32, control steps
    # finished, [LAST], oldest overwritten first
    last_returns: jax.Array
    last_lengths: jax.Array
    finished: jax.Array  # [] int32, all episodes that ever ended


def episodes(num_envs: int) -> Episodes:
    """Episodes of `num_envs` environments before their first control step."""
    return Episodes(
        returns=jnp.zeros(num_envs),
        lengths=jnp.zeros(num_envs, jnp.int32),
        last_returns=jnp.zeros(LAST),
        last_lengths=jnp.zeros(LAST, jnp.int32),
        finished=jnp.zeros((), jnp.int32),
    )


def record(state: Episodes, reward: jax.Array, done: jax.Array, valid: jax.Array) -> Episodes:
    """Count one control step.

    Lengths are counted here and not read off the environment's episode clock, which may start anywhere.

    Args:
      state: so far.
      reward: [E]
      done: [E] bool, the episode ends (terminated or truncated)
      valid: [E] bool; an episode that ends invalid, for a non-finite state, counts for nothing
    """
    returns, lengths = state.returns + reward, state.lengths + 1
    # The k-th environment that ends now writes slot finished + k; of more than LAST, the last remain.
    counted = done & valid
    ended = counted.sum(dtype=jnp.int32)
    rank = jnp.cumsum(counted, dtype=jnp.int32) - 1
    kept = counted & (rank >= ended - LAST)
    slot = jnp.where(kept, (state.finished + rank) % LAST, LAST)  # slot LAST is out of range: dropped
    return Episodes(
        returns=jnp.where(done, 0.0, returns),
        lengths=jnp.where(done, 0, lengths),
        last_returns=state.last_returns.at[slot].set(returns, mode="drop"),
        last_lengths=state.last_lengths.at[slot].set(lengths, mode="drop"),
        finished=state.finished + ended,
    )


def recent(state: Episodes) -> dict[str, Mean]:
    """`Train/mean_reward` and `Train/mean_episode_length` over the last `LAST` finished episodes."""
    count = jnp.minimum(state.finished, LAST).astype(jnp.float32)
    return {
        "Train/mean_reward": Mean(state.last_returns.sum(), count),
        "Train/mean_episode_length": Mean(state.last_lengths.sum(dtype=jnp.float32), count),
    }


def buffer(names: Iterable[str]) -> dict[str, Mean]:
    """An empty buffer for metrics of these names."""
    return {name: Mean(jnp.zeros(()), jnp.zeros(())) for name in names}


def pool(state: Mapping[str, Mean], metrics: Mapping[str, Any]) -> dict[str, Mean]:
    """Add one step's metrics: a scalar counts once, a (sum, count) pair as itself; the others stay.

    A name that is not in `state` gets a place in it: where that matters, start from `buffer`.
    """

    def add(mean: Mean | None, value: Any) -> Mean:
        total, count = value if isinstance(value, tuple) else (value, 1.0)
        added = Mean(jnp.asarray(total, jnp.float32), jnp.asarray(count, jnp.float32))
        return added if mean is None else Mean(mean.total + added.total, mean.weight + added.weight)

    return {**state, **{name: add(state.get(name), value) for name, value in metrics.items()}}


def averages(measured: Mapping[str, Mean]) -> dict[str, float]:
    """Means on the host; what was never counted is left out, unless it is not finite."""
    fetched = jax.device_get(dict(measured))
    counted = {name: m for name, m in fetched.items() if m.weight > 0 or not np.isfinite(m.total)}
    return {name: float(m.total / m.weight) for name, m in counted.items()}


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Scalar arrays on the host, in one transfer."""
    return {name: float(np.asarray(value)) for name, value in jax.device_get(dict(metrics)).items()}
