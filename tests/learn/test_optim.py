"""The KL rule, the norm clip, AdamW, and optimisers of one's own."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from holosoma_jax.config.schema import OptimizerConfig
from holosoma_jax.learn import fast_sac, optim, ppo
from tests.support import small, small_sac

F = jnp.float32
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("kl", "lr", "expected"),
    [
        (0.0, 1e-3, 1e-3),  # exactly 0: unchanged
        (-1e-9, 1e-3, 1e-3),
        (float("nan"), 1e-3, 1e-3),
        (1e-12, 1e-3, 1.5e-3),
        (0.004, 1e-3, 1.5e-3),  # below half the target: faster
        (0.006, 1e-3, 1e-3),  # near the target: unchanged
        (0.019, 1e-3, 1e-3),
        (0.021, 1e-3, 1e-3 / 1.5),  # above twice the target: slower
        (0.004, 9e-3, 1e-2),  # bounds
        (0.004, 1e-2, 1e-2),
        (0.021, 1.2e-5, 1e-5),
        (0.021, 1e-5, 1e-5),
    ],
)
def test_kl_rule(kl: float, lr: float, expected: float) -> None:
    found = optim.adapt_lr(F(lr), F(kl), F(0.01), F(1e-5), F(1e-2))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(("scale", "norm"), [(0.1, 0.5), (10.0, 1.0)])
def test_clip_limits_the_norm_of_all_entries_together(scale: float, norm: float) -> None:
    grads = {"a": jnp.array([3.0, 0.0]) * scale, "b": jnp.array([[4.0]]) * scale}  # norm 5 * scale
    clipped, _ = optim.clip_by_global_norm(1.0).update(grads, optax.EmptyState())
    np.testing.assert_allclose(optax.tree.norm(clipped), norm, rtol=1e-5)
    np.testing.assert_allclose(clipped["b"][0, 0] / clipped["a"][0], 4 / 3, rtol=1e-6)


def test_no_limit_changes_nothing() -> None:
    for size in (0.0, 1e-30, 1.0, 1e18):
        grads = jnp.full(3, size)
        clipped, _ = optim.clip_by_global_norm(optim.NO_LIMIT).update(grads, optax.EmptyState())
        np.testing.assert_array_equal(clipped, grads)


def test_steps_of_adamw_by_hand() -> None:
    """Loshchilov and Hutter 2019, algorithm 2, in double precision."""
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(4, 3))
    state = optim.adamw_state(jnp.asarray(wanted, F), OptimizerConfig(0.1, 0.8, 0.95, 1e-6), 1e-2)
    m = v = np.zeros((4, 3))
    for t in range(1, 6):
        grad = 0.1 * rng.normal(size=(4, 3))
        state = state.apply_gradients(jnp.asarray(grad, F))
        m, v = 0.8 * m + 0.2 * grad, 0.95 * v + 0.05 * grad**2
        step = m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.95**t)) + 1e-6)
        wanted = wanted - 1e-2 * (step + 0.1 * wanted)
    np.testing.assert_allclose(state.params, wanted, rtol=1e-5, atol=1e-6)


def test_hyperparams_are_leaves_that_can_be_swept() -> None:
    def train(lr: jax.Array, decay: jax.Array) -> jax.Array:
        state = optim.adamw_state(jnp.ones(2), OptimizerConfig(), 1e-3)
        state = state.with_hyperparams(learning_rate=lr, weight_decay=decay)
        return state.apply_gradients(jnp.ones(2)).params

    # the first step of Adam is lr * sign(gradient), and the decay takes lr * decay of the parameter
    swept = jax.vmap(train)(jnp.array([0.1, 0.2, 0.2]), jnp.array([0.0, 0.0, 0.5]))
    np.testing.assert_allclose(swept[:, 0], [0.9, 0.8, 0.7], rtol=1e-6)


def test_new_hyperparams_leave_moments_alone() -> None:
    saved = optim.adamw_state(jnp.ones(2), OptimizerConfig(), 1e-3).apply_gradients(jnp.ones(2))
    fresh = optim.adamw_state(jnp.ones(2), OptimizerConfig(b1=0.5), 1e-1, max_grad_norm=2.0)
    mixed = saved.with_hyperparams_of(fresh)
    for name in ("mu", "nu", "hyperparams"):
        of = fresh if name == "hyperparams" else saved
        chex.assert_trees_all_equal(optax.tree.get(mixed.opt_state, name), optax.tree.get(of.opt_state, name))


def test_actor_and_critic_are_clipped_apart() -> None:
    # Adam hides a common factor of all gradients, so look at its first moment: 0.1 * clipped gradient.
    def loss(params, minibatch, hyper, static):
        sums = [sum(jnp.sum(x) for x in jax.tree.leaves(p)) for p in params]
        return 1e3 * sums[0] + 1e-3 * sums[1], {ppo.KL: jnp.zeros(())}

    state = small.learner(num_learning_epochs=1, num_mini_batches=1)
    after, _ = small.update(state, small.rollout(state), KEY, loss=loss)
    np.testing.assert_allclose(optax.tree.norm(optax.tree.get(after.actor.opt_state, "mu")), 0.1, rtol=1e-5)
    for moment in jax.tree.leaves(optax.tree.get(after.critic.opt_state, "mu")):
        np.testing.assert_allclose(moment, 1e-4, rtol=1e-5)


SGD = optax.sgd(0.5)
LION = optax.inject_hyperparams(optax.lion)(learning_rate=1e-3)


def _ppo(tx: ppo.Pair, **changes: Any) -> ppo.PpoState:
    spec, cfg = ppo.PpoSpec(**small.DIMS), small.config(num_learning_epochs=1, num_mini_batches=1, **changes)
    return ppo.init(KEY, spec, cfg, tx)


def test_ppo_takes_other_optimisers() -> None:
    def loss(params, minibatch, hyper, static):
        return sum(jnp.sum(x) for x in jax.tree.leaves(params)), {ppo.KL: F(1.0)}  # gradients of 1

    state = _ppo(ppo.Pair(SGD, LION), schedule="fixed")
    after, metrics = small.update(state, small.rollout(state), KEY, loss=loss)
    moved = jax.tree.map(lambda a, b: a - b, state.params, after.params)
    for role, size in (("actor", 0.5), ("critic", 1e-3)):
        for x in jax.tree.leaves(getattr(moved, role)):
            np.testing.assert_allclose(x, size, rtol=1e-3, err_msg=role)
    assert "Loss/actor_learning_rate" not in metrics  # SGD was not asked to keep its rate
    assert ppo.reset_optimizer(after, small.config()).actor.tx is SGD


def test_the_kl_rule_moves_an_injected_rate_and_asks_for_one() -> None:
    state = _ppo(ppo.Pair(LION, LION))
    after, _ = small.update(state, small.rollout(state), KEY)
    np.testing.assert_allclose(after.actor.lr, 1.5e-3, rtol=1e-6)  # the first KL is 0 but for rounding
    with pytest.raises(ValueError, match=r"learning_rate .*inject_hyperparams"):
        state = _ppo(ppo.Pair(SGD, LION))
        ppo.update(state, small.rollout(state), KEY)


def test_fast_sac_takes_other_optimisers() -> None:
    tx = fast_sac.Optimizers(critics=optax.sgd(0.0))
    state = fast_sac.init(KEY, small_sac.SPEC, small_sac.config(), tx)
    after, _ = small_sac.update(state, small_sac.batch(), KEY)
    chex.assert_trees_all_equal(after.critics.params, state.critics.params)
    assert after.log_alpha.params != state.log_alpha.params
