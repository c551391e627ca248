"""A policy whose output is added to an action that its observations ask for."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.config.schema import PpoConfig
from holosoma_jax.learn import normalizer, ppo
from holosoma_jax.learn.ppo import PpoBatch, PpoSpec
from holosoma_jax.learn.prior import ActionPrior

N, T, DA, A = 6, 5, 7, 3
PRIOR = ActionPrior(columns=(4, 1, 6), scale=(2.0, -1.0, 0.5), offset=(0.1, 0.2, -0.3))
CFG = PpoConfig(
    actor_hidden=(8,),
    critic_hidden=(8,),
    use_symmetry=False,
    num_mini_batches=2,
    num_learning_epochs=2,
    empirical_normalization=True,
)


def learner(key: jax.Array, prior: ActionPrior | None = PRIOR) -> ppo.PpoState:
    """Fresh, with statistics that change every entry."""
    state = ppo.init(key, PpoSpec(DA, 4, A, prior=prior), CFG)
    stats = normalizer.update(state.actor_stats, 3.0 + 2.0 * jax.random.normal(key, (64, DA)))
    return state.replace(actor_stats=stats)


def observations(key: jax.Array) -> dict[str, jax.Array]:
    return {"actor_obs": jax.random.normal(key, (N, DA)), "critic_obs": jnp.zeros((N, 4))}


def silent(state: ppo.PpoState) -> ppo.PpoState:
    """The learner whose network says 0."""
    actor = state.actor.params._replace(mlp=jax.tree.map(jnp.zeros_like, state.actor.params.mlp))
    return state.replace(actor=state.actor.replace(params=actor))


def test_a_silent_network_leaves_what_is_asked_for(key: jax.Array) -> None:
    obs = observations(key)
    wanted = np.asarray(obs["actor_obs"])[:, [4, 1, 6]] * [2.0, -1.0, 0.5] + [0.1, 0.2, -0.3]
    state = silent(learner(key))
    np.testing.assert_allclose(ppo.mode(state, obs["actor_obs"]), wanted, rtol=1e-6, atol=1e-6)
    _, extras = ppo.act(state, obs, key)
    np.testing.assert_allclose(extras.mean, wanted, rtol=1e-6, atol=1e-6)


def test_an_update_is_that_of_a_learner_of_the_difference(key: jax.Array) -> None:
    """Two routes: learning with the prior, and without it from actions that lack what it adds."""
    state = learner(key)
    plain = state.replace(static=replace(state.static, spec=replace(state.static.spec, prior=None)))
    obs = observations(key)
    action, extras = ppo.act(state, obs, key)
    asked = PRIOR.action(obs["actor_obs"])
    np.testing.assert_allclose(PRIOR.action(extras.actor_obs), asked, rtol=1e-6)

    def batch(action: jax.Array, mean: jax.Array) -> PpoBatch:
        def rows(x: jax.Array) -> jax.Array:
            return jnp.broadcast_to(x, (T, *x.shape))

        off = jnp.zeros((T, N), bool)
        reward = jax.random.normal(key, (T, N))
        return PpoBatch(
            actor_obs=rows(extras.actor_obs),
            critic_obs=rows(extras.critic_obs),
            action=rows(action),
            log_prob=rows(extras.log_prob),
            mean=rows(mean),
            value=rows(extras.value),
            reward=reward,
            terminated=off,
            truncated=off,
            final_value=jnp.zeros((T, N)),
            valid=~off,
            last_value=extras.value,
        )

    ours, _ = ppo.update(state, batch(action, extras.mean), key)
    theirs, _ = ppo.update(plain, batch(action - asked, extras.mean - asked), key)
    for a, b in zip(jax.tree.leaves(ours.params), jax.tree.leaves(theirs.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("columns", [(0, 1), (0, 1, DA)])
def test_a_prior_of_another_size_is_refused(key: jax.Array, columns: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"PpoSpec\.prior"):
        learner(key, replace(PRIOR, columns=columns, scale=PRIOR.scale[: len(columns)]))
