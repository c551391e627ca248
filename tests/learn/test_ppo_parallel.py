"""Many learners at once (vmap), and one learner on many devices (pmap, shard_map)."""

from __future__ import annotations

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from holosoma_jax.learn import ppo
from tests.support import small
from tests.support.collectives import AXIS, pmapped

KEY = jax.random.key(5)
DEVICES = 4


def test_vmap_over_seeds_equals_single_runs() -> None:
    seeds = range(3)
    states = [small.learner(seed) for seed in seeds]
    batches = [small.rollout(state, seed=i) for i, state in enumerate(states)]
    keys = [jax.random.key(i) for i in seeds]
    together = jax.jit(jax.vmap(ppo.update))(_stack(states), _stack(batches), jnp.stack(keys))
    single = [small.update(*arguments) for arguments in zip(states, batches, keys, strict=True)]
    chex.assert_trees_all_close(together, _stack(single), rtol=1e-5, atol=1e-6)


def test_init_under_vmap_gives_the_same_learners() -> None:
    spec = ppo.PpoSpec(**small.DIMS)
    init = partial(ppo.init, spec=spec, cfg=small.config())
    keys = jax.random.split(KEY, 3)
    chex.assert_trees_all_close(jax.jit(jax.vmap(init))(keys), _stack([init(key) for key in keys]), rtol=1e-6)


def test_vmap_over_coefficients_is_a_sweep() -> None:
    state = small.learner()
    batch = small.rollout(state)

    def swept(entropy_coef: jax.Array) -> ppo.PpoState:
        return state.replace(hyper=state.hyper.replace(entropy_coef=entropy_coef))

    coefficients = jnp.array([0.0, 0.1, 10.0])
    found, _ = jax.jit(jax.vmap(lambda c: ppo.update(swept(c), batch, KEY)))(coefficients)
    single = [small.update(swept(c), batch, KEY)[0] for c in coefficients]
    chex.assert_trees_all_close(found, _stack(single), rtol=1e-5, atol=1e-6)
    spread = found.actor.params.std.mean(-1)
    assert jnp.all(jnp.diff(spread) > 0)  # more entropy is worth more spread


def _stack(trees: list) -> object:
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)


def _parts(batch: ppo.PpoBatch) -> ppo.PpoBatch:
    """The environments of a pooled batch, dealt out to the devices: [devices, T, N / devices, ...]."""

    def deal(x: jax.Array) -> jax.Array:
        axis = 0 if x.ndim == 1 else 1
        return jnp.stack(jnp.split(x, DEVICES, axis))

    return jax.tree.map(deal, batch)


@pytest.fixture
def pooled() -> tuple[ppo.PpoState, ppo.PpoBatch]:
    """A learner, and a rollout of which some devices lost more than others."""
    state = small.learner(num_mini_batches=1)
    batch = small.rollout(state, num_envs=16)
    valid = np.ones((6, 16), bool)
    valid[1:4, 0] = valid[2:, 1] = valid[:, 5] = False
    return state, batch._replace(valid=jnp.asarray(valid))


def test_pmap_equals_one_device_on_the_pooled_batch(pooled: tuple[ppo.PpoState, ppo.PpoBatch]) -> None:
    state, batch = pooled
    update = pmapped(partial(ppo.update, axis_name=AXIS))
    found = update(_stack([state] * DEVICES), _parts(batch), jax.random.split(KEY, DEVICES))
    expected = small.update(state, batch, KEY)
    _each_equals(found, expected)


def test_mini_batches_of_the_devices_join() -> None:
    # Two mini-batches a device: a pooled learner must see the union of the devices' k-th ones.
    state = small.learner(schedule="fixed")
    batch = small.rollout(state, num_envs=16)
    keys = jax.random.split(KEY, DEVICES)
    update = pmapped(partial(ppo.update, axis_name=AXIS))
    found, _ = update(_stack([state] * DEVICES), _parts(batch), keys)

    index = np.arange(6 * 16).reshape(6, 16)  # rows are time-major; device d holds four environments
    chosen = []
    for d in range(DEVICES):
        order = jax.random.permutation(jax.random.split(keys[d], 2)[0], 24)
        chosen.append(index[:, 4 * d : 4 * d + 4].reshape(-1)[np.asarray(order)].reshape(2, 12))
    rows = small.prepare(state, batch)
    one_step = small.learner(schedule="fixed", num_learning_epochs=1, num_mini_batches=1).static
    pooled = state.replace(static=one_step)
    optimize = jax.jit(ppo.optimize)
    for k in (0, 1, 0, 1):  # two epochs
        union = np.concatenate([rows_of_device[k] for rows_of_device in chosen])
        part = jax.tree.map(lambda x: x[union], rows._replace(std=rows.weight))  # noqa: B023
        pooled, _ = optimize(pooled, part._replace(std=rows.std), KEY)
    _each_equals(found.params, pooled.params)


def test_observe_pools_the_statistics() -> None:
    state = small.learner(empirical_normalization=True)
    obs = {
        "actor_obs": jax.random.normal(KEY, (16, 3)) + 3.0,
        "critic_obs": jax.random.normal(KEY, (16, 4)),
    }
    observe = pmapped(partial(ppo.observe, axis_name=AXIS))
    parts = jax.tree.map(lambda x: x.reshape(DEVICES, 4, -1), obs)
    _each_equals(observe(_stack([state] * DEVICES), parts), ppo.observe(state, obs))


def test_shard_map_runs_the_same_function(pooled: tuple[ppo.PpoState, ppo.PpoBatch]) -> None:
    state, batch = pooled
    mesh = jax.make_mesh((DEVICES,), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
    rows, envs = P(None, AXIS), P(AXIS)
    update = jax.shard_map(
        partial(ppo.update, axis_name=AXIS),
        mesh=mesh,
        in_specs=(P(), ppo.PpoBatch(*[rows] * 11, last_value=envs), P()),
        out_specs=P(),
        check_vma=False,
    )
    found = jax.block_until_ready(jax.jit(update)(state, batch, KEY))
    chex.assert_trees_all_close(found, small.update(state, batch, KEY), rtol=1e-5, atol=1e-6)


def _each_equals(found: object, expected: object) -> None:
    found = jax.device_get(found)  # a row of an array on many devices would be computed by all of them
    for d in range(DEVICES):
        here = jax.tree.map(lambda x: x[d], found)  # noqa: B023
        chex.assert_trees_all_close(here, expected, rtol=1e-5, atol=1e-6)
