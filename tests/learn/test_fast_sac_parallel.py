"""Many learners at once (vmap), and one learner on many devices (pmap)."""

from __future__ import annotations

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax.learn import fast_sac
from holosoma_jax.learn.fast_sac import update_rows
from tests.support import small_sac
from tests.support.collectives import AXIS, pmapped

KEY = jax.random.key(5)
DEVICES = 4
TINY = {"num_updates": 2, "policy_frequency": 2}


def stack(trees: list) -> object:
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)


def dealt(batch: fast_sac.FastSacBatch) -> fast_sac.FastSacBatch:
    """The rows of a pooled batch, dealt out to the devices: [devices, U, B / devices, ...]."""

    def deal(x: jax.Array) -> jax.Array:
        return jnp.swapaxes(x.reshape(x.shape[0], DEVICES, -1, *x.shape[2:]), 0, 1)

    return jax.tree.map(deal, batch)


def test_vmap_over_seeds_equals_single_runs() -> None:
    states = [small_sac.learner(seed, **TINY) for seed in range(3)]
    batches = [small_sac.batch(2, seed=seed) for seed in range(3)]
    keys = list(jax.random.split(KEY, 3))
    together = jax.jit(jax.vmap(fast_sac.update))(stack(states), stack(batches), jnp.stack(keys))
    single = [small_sac.update(*arguments) for arguments in zip(states, batches, keys, strict=True)]
    chex.assert_trees_all_close(together, stack(single), rtol=1e-4, atol=1e-5)


def test_a_sweep_over_coefficients_is_a_vmap() -> None:
    state, batch = small_sac.learner(**TINY), small_sac.batch(2)

    def swept(tau: jax.Array) -> fast_sac.FastSacState:
        return state.replace(hyper=state.hyper.replace(tau=tau))

    found, _ = jax.jit(jax.vmap(lambda tau: fast_sac.update(swept(tau), batch, KEY)))(jnp.array([0.0, 1.0]))
    first = jax.tree.map(lambda x: x[0], found.target)
    chex.assert_trees_all_equal(first, state.target)
    last, online = (jax.tree.map(lambda x: x[1], tree) for tree in (found.target, found.critics.params))
    chex.assert_trees_all_close(last, online, rtol=1e-6)


def test_four_devices_equal_one_that_holds_all_rows() -> None:
    """Also with invalid rows that are spread unevenly over the devices."""
    state, batch = small_sac.learner(**TINY), small_sac.batch(2, rows=32)
    batch = batch._replace(valid=batch.valid.at[:, :5].set(False))
    one, metrics = small_sac.update(state, batch, KEY)
    update = pmapped(partial(fast_sac.update, axis_name=AXIS), in_axes=(None, 0, None))
    many, pooled = jax.device_get(update(state, dealt(batch), KEY))
    for device in range(DEVICES):
        chex.assert_trees_all_close(
            jax.tree.map(lambda x, d=device: x[d], (many, pooled)), (one, metrics), rtol=2e-4, atol=2e-5
        )
    # bit for bit the same on all devices, so that they never drift apart
    learnt = many.replace(actor_metrics=None)
    for x in jax.tree.leaves(learnt):
        np.testing.assert_array_equal(x, jnp.broadcast_to(x[:1], x.shape))


def test_devices_draw_what_one_device_would_draw() -> None:
    state = small_sac.learner(**TINY)
    rows = update_rows.prepare(state, jax.tree.map(lambda x: x[0], small_sac.batch(2, rows=32)))
    noise = partial(update_rows.row_noise, static=state.static)
    one = noise(KEY, rows=rows, axis_name=None).reshape(2, DEVICES, 8, 2)
    part = jax.tree.map(lambda x: x[: len(x) // DEVICES], rows)
    draw = pmapped(lambda _: noise(KEY, rows=part, axis_name=AXIS))
    many = jax.device_get(draw(jnp.arange(DEVICES)))
    for device in range(DEVICES):
        # two programs: the last bit is the compiler's
        np.testing.assert_allclose(many[device].reshape(2, 8, 2), one[:, device], rtol=1e-6)
