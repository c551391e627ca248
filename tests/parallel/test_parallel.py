from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.learn import ppo
from holosoma_jax.parallel import devices, processes
from holosoma_jax.rollout import seeding
from tests.support import small


def test_pooled_learners_stay_equal_and_learn_from_every_shard():
    """Four devices on a quarter of the environments each: all end with the same state, close to the one
    that a single device reaches on all of them (the mini-batches are other ones)."""
    learner = small.learner(num_mini_batches=1, num_learning_epochs=1, schedule="fixed")
    batch = small.rollout(learner, steps=8, num_envs=16)
    alone, _ = jax.jit(ppo.update)(learner, batch, jax.random.key(1))

    steps = batch._replace(last_value=batch.last_value[None])
    shards = devices.shard(steps, 4, axis=1)
    shards = shards._replace(last_value=shards.last_value[:, 0])
    keys = jax.random.split(jax.random.key(1), 4)
    pooled = devices.pooled(ppo.update, 4)
    together, _ = pooled(devices.replicate(learner, 4), shards, keys)
    for device in range(1, 4):
        chex.assert_trees_all_equal(
            jax.tree.map(lambda x, d=device: x[d], together.params), devices.first(together.params)
        )
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), alone.params, learner.params)
    assert min(jax.tree.leaves(jax.device_get(moved))) > 1e-6
    chex.assert_trees_all_close(devices.first(together.params), alone.params, atol=1e-5)


def test_shard_splits_and_names_what_does_not_divide():
    x = jnp.arange(24).reshape(2, 6, 2)
    parts = devices.shard({"x": x}, 3, axis=1)["x"]
    assert parts.shape == (3, 2, 2, 2)
    np.testing.assert_array_equal(jnp.concatenate(parts, 1), x)
    with pytest.raises(ValueError, match=r"axis 1 of shape \(2, 6, 2\) does not divide into 4"):
        devices.shard(x, 4, axis=1)


def test_more_devices_than_there_are():
    with pytest.raises(ConfigError, match="64 devices were asked for, 4 are visible"):
        devices.pooled(ppo.update, 64)


def test_environments_are_shared_evenly(monkeypatch):
    assert processes.local_share(4096) == 4096
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    assert processes.local_share(12) == 4
    with pytest.raises(
        ConfigError, match=r"num_envs is 4096, which 3 processes .* Pass --training.num-envs 4095"
    ):
        processes.local_share(4096)


def test_streams_are_unrelated_and_reproducible():
    root = seeding.root(5)
    draws = {
        (name, step): float(jax.random.uniform(seeding.stream(root, name, step)))
        for name in ("act", "update", "init")
        for step in range(20)
    }
    assert len(set(draws.values())) == 60
    traced = jax.jit(lambda step: jax.random.uniform(seeding.stream(root, "act", step)))
    assert float(traced(jnp.int32(7))) == draws["act", 7]
    assert float(jax.random.uniform(seeding.stream(seeding.root(5), "act", 7))) == draws["act", 7]


def test_processes_draw_different_numbers_but_share_what_must_be_equal():
    roots = [seeding.root(5, process) for process in range(4)] + [seeding.shared(5)]
    assert len({float(jax.random.uniform(root)) for root in roots}) == 5
    chex.assert_trees_all_equal(
        jax.random.key_data(seeding.shared(5)), jax.random.key_data(seeding.shared(5))
    )
