"""The KL rule, the norm clip, and AdamW."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from holosoma_jax.learn import optim, ppo
from tests.support import small

F = jnp.float32


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
    clipped = optim.clip_by_norm(grads, F(1.0))
    np.testing.assert_allclose(optax.tree.norm(clipped), norm, rtol=1e-5)
    np.testing.assert_allclose(clipped["b"][0, 0] / clipped["a"][0], 4 / 3, rtol=1e-6)


def _hyper(weight_decay: float) -> optim.AdamHyper:
    return optim.AdamHyper(F(0.9), F(0.999), F(1e-8), F(weight_decay), F(1e-5), F(1e-2))


def test_descend_is_optax_adamw() -> None:
    key = jax.random.key(0)
    params = {"w": jax.random.normal(key, (4, 3)), "b": jnp.ones(3)}
    ours, theirs = optim.fresh(params, 1e-2), params
    tx = optax.adamw(1e-2, 0.9, 0.999, eps=1e-8, weight_decay=0.1)
    state = tx.init(params)
    for i in range(5):
        grads = jax.tree.map(lambda p: 0.1 * jax.random.normal(jax.random.fold_in(key, i), p.shape), params)  # noqa: B023
        ours = optim.descend(ours, grads, _hyper(0.1), F(1e9))
        with jax.numpy_dtype_promotion("standard"):
            updates, state = tx.update(grads, state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    chex.assert_trees_all_close(ours.params, theirs, rtol=1e-5, atol=1e-6)
    assert int(ours.adam.count) == 5


def test_actor_and_critic_are_clipped_apart() -> None:
    # Adam hides a common factor of all gradients, so look at its first moment: 0.1 * clipped gradient.
    def loss(params, minibatch, hyper, static):
        sums = [sum(jnp.sum(x) for x in jax.tree.leaves(p)) for p in params]
        return 1e3 * sums[0] + 1e-3 * sums[1], {ppo.KL: jnp.zeros(())}

    state = small.learner(num_learning_epochs=1, num_mini_batches=1)
    after, _ = small.update(state, small.rollout(state), jax.random.key(0), loss=loss)
    np.testing.assert_allclose(optax.tree.norm(after.actor.adam.mu), 0.1, rtol=1e-5)
    for moment in jax.tree.leaves(after.critic.adam.mu):
        np.testing.assert_allclose(moment, 1e-4, rtol=1e-5)
