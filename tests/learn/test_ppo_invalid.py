"""Transitions of a simulator that failed leave no trace in what is learnt."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn import ppo
from tests.support import small

KEY = jax.random.key(3)


def _spoil(batch: ppo.PpoBatch, where: np.ndarray, garbage: float) -> ppo.PpoBatch:
    """`batch` whose rows at `where` [T, N] are marked invalid and hold garbage."""

    def spoil(x: jax.Array, mask: np.ndarray) -> jax.Array:
        mask = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
        return jnp.where(mask, jnp.asarray(garbage).astype(x.dtype), x)

    marks = ppo.PpoBatch(*[where] * 11, last_value=where[-1])
    return jax.tree.map(spoil, batch, marks)._replace(valid=jnp.asarray(~where))


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
def test_environments_that_failed_might_as_well_not_exist(garbage: float) -> None:
    state = small.learner(num_mini_batches=1, use_symmetry=True)
    batch = small.rollout(state)
    where = np.zeros((6, 8), bool)
    where[:, [2, 5]] = True
    rest = jnp.array([0, 1, 3, 4, 6, 7])
    without = jax.tree.map(lambda x: x[rest] if x.ndim == 1 else x[:, rest], batch)
    found = small.update(state, _spoil(batch, where, garbage), KEY)
    chex.assert_trees_all_close(found, small.update(state, without, KEY), rtol=1e-5, atol=1e-6)


def test_a_failure_cuts_the_rollout_in_two() -> None:
    # Environment 0 fails at step 3. Steps 0 and 1 are one trajectory, whose future is the value of
    # step 2; step 2 itself leads nowhere; steps 4 and 5 are a new episode.
    state = small.learner(num_mini_batches=1)
    batch = small.rollout(state, num_envs=1)
    never = jnp.zeros((6, 1), bool)
    batch = batch._replace(terminated=never, truncated=never)
    where = np.zeros((6, 1), bool)
    where[3] = True
    rows = small.prepare(state, _spoil(batch, where, float("nan")))
    assert rows.weight.tolist() == [1, 1, 0, 0, 1, 1]

    def part(a: int, b: int, last: jax.Array) -> ppo.PpoBatch:
        return jax.tree.map(lambda x: x[a:b], batch._replace(last_value=jnp.zeros(9)))._replace(
            last_value=last
        )

    early = small.prepare(state, part(0, 2, batch.value[2]))
    late = small.prepare(state, part(4, 6, batch.last_value))
    np.testing.assert_allclose(rows.target[jnp.array([0, 1])], early.target, rtol=1e-6)
    np.testing.assert_allclose(rows.target[jnp.array([4, 5])], late.target, rtol=1e-6)
    chex.assert_tree_all_finite(rows)


def test_nothing_valid_is_survived() -> None:
    state = small.learner()
    batch = _spoil(small.rollout(state), np.ones((6, 8), bool), float("nan"))
    after, metrics = small.update(state, batch, KEY)
    chex.assert_tree_all_finite((after.params, after.actor.opt_state, metrics))


def test_a_placeholder_row_cannot_overflow() -> None:
    # With almost no spread, the placeholder action 0 can be e**170 times likelier than its
    # placeholder log-probability 0 says.
    state = small.learner(init_noise_std=1e-3, num_mini_batches=1)
    zeros = jax.tree.map(jnp.zeros_like, state.actor.params.mlp)
    state = state.replace(actor=state.actor.replace(params=state.actor.params._replace(mlp=zeros)))
    batch = small.rollout(state)
    where = np.zeros((6, 8), bool)
    where[:, 0] = True
    spoilt = _spoil(batch, where, float("nan"))
    std = jnp.full(2, 1e-30)  # exp(2 * ln(1e30)) is infinite in float32
    rows = small.prepare(state, spoilt)._replace(std=std[None])
    tiny = state.params._replace(actor=state.params.actor._replace(std=std))
    hyper = state.hyper.replace(min_noise_std=jnp.float32(-jnp.inf))
    rows = rows._replace(action=rows.mean, log_prob=jnp.where(rows.weight > 0, 136.3, 0.0))
    gradient = jax.jit(jax.value_and_grad(ppo.ppo_loss, has_aux=True), static_argnums=3)
    (_, metrics), grads = gradient(tiny, rows, hyper, state.static)
    assert jnp.isfinite(metrics["Loss/Surrogate"])
    chex.assert_tree_all_finite(grads.actor.mlp)
