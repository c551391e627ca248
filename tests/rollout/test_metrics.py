from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax.rollout import metrics
from holosoma_jax.rollout.metrics import LAST


def test_episode_returns_and_lengths_by_hand():
    # Two environments. The first earns 1, 2 and ends; the second earns 10, 20, 30 and ends.
    state = metrics.episodes(2)
    steps = [([1, 10], [0, 0]), ([2, 20], [1, 0]), ([4, 30], [0, 1])]
    for reward, done in steps:
        state = metrics.record(state, jnp.array(reward, float), jnp.array(done, bool), jnp.ones(2, bool))
    means = metrics.averages(metrics.recent(state))
    assert means == {"Train/mean_reward": (3 + 60) / 2, "Train/mean_episode_length": (2 + 3) / 2}
    np.testing.assert_array_equal(state.returns, [4, 0])  # the first has begun another
    np.testing.assert_array_equal(state.lengths, [1, 0])


def test_an_episode_that_ended_non_finite_is_forgotten():
    state = metrics.episodes(2)
    done, valid = jnp.ones(2, bool), jnp.array([True, False])
    state = metrics.record(state, jnp.array([5.0, 7.0]), done, valid)
    assert metrics.averages(metrics.recent(state))["Train/mean_reward"] == 5.0
    np.testing.assert_array_equal(state.returns, [0, 0])


def test_only_the_last_hundred_episodes_count():
    # Rewards 0, 1, 2, ... end an episode each; in groups of 1, 60 and 250 environments.
    for size in (1, 60, 250):
        state, record = metrics.episodes(size), jax.jit(metrics.record)
        count = 0
        while count < 2.5 * LAST:
            reward = jnp.arange(count, count + size, dtype=jnp.float32)
            state = record(state, reward, jnp.ones(size, bool), jnp.ones(size, bool))
            count += size
        expected = np.arange(count - LAST, count).mean()
        assert metrics.averages(metrics.recent(state))["Train/mean_reward"] == expected
        assert int(state.finished) == count


def test_buffer_pools_scalars_and_pairs():
    # A scalar is averaged over steps, a pair over its counts: (6 + 0) / (3 + 0) and (1 + 3) / 2.
    steps = [
        {"Env/a": jnp.float32(1), "Episode/b": (jnp.float32(6), jnp.int32(3)), "Episode/never": (0.0, 0.0)},
        {"Env/a": jnp.float32(3), "Episode/b": (jnp.float32(0), jnp.int32(0)), "Episode/never": (0.0, 0.0)},
    ]
    measured = metrics.buffer(steps[0])
    for step in steps:
        measured = metrics.pool(measured, step)
    assert metrics.averages(measured) == {"Env/a": 2.0, "Episode/b": 2.0}
