"""Networks that are symmetric by construction, and learning rates that fall at the end of a run."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn import fast_sac, normalizer
from holosoma_jax.learn.fast_sac import loss as losses
from holosoma_jax.learn.fast_sac import optimize as updates
from holosoma_jax.learn.fast_sac import update_rows
from holosoma_jax.learn.fast_sac.loss import Rows
from holosoma_jax.learn.symmetry import reflect
from tests.support import small_sac
from tests.support.small import MIRROR

ACTOR, CRITIC = MIRROR.obs["actor_obs"], MIRROR.obs["critic_obs"]
KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def trained() -> fast_sac.FastSacState:
    """A learner whose heads have left their zeros."""
    state = small_sac.learner(symmetric_networks=True)
    for seed in range(3):
        state, _ = small_sac.update(state, small_sac.batch(seed=seed), jax.random.key(seed))
    return state


def rows_of(state: fast_sac.FastSacState) -> Rows:
    return update_rows.prepare(state, jax.tree.map(lambda x: x[0], small_sac.batch()))


def image(rows: Rows) -> Rows:
    return rows._replace(
        actor_obs=reflect(rows.actor_obs, ACTOR),
        critic_obs=reflect(rows.critic_obs, CRITIC),
        action=reflect(rows.action, MIRROR.action),
        next_actor_obs=reflect(rows.next_actor_obs, ACTOR),
        next_critic_obs=reflect(rows.next_critic_obs, CRITIC),
    )


def test_the_policy_of_a_mirror_image_is_the_mirror_image_of_the_policy(
    trained: fast_sac.FastSacState,
) -> None:
    obs = jax.random.normal(KEY, (50, 3))
    action = fast_sac.mode(trained, obs)
    assert float(jnp.max(jnp.abs(action))) > 1e-3
    np.testing.assert_allclose(
        fast_sac.mode(trained, reflect(obs, ACTOR)), reflect(action, MIRROR.action), atol=1e-6
    )


def test_the_policy_that_acts_is_the_one_that_is_exported(trained: fast_sac.FastSacState) -> None:
    obs = jax.random.normal(KEY, (4, 3))
    seen = normalizer.normalize(trained.actor_stats, obs)
    drawn = losses.draw(trained.actor.params, seen, jnp.zeros((4, 2)), trained.static)
    np.testing.assert_allclose(drawn.action, fast_sac.mode(trained, obs), atol=1e-6)


def test_losses_of_mirrored_rows_are_the_same(trained: fast_sac.FastSacState) -> None:
    rows, static = rows_of(trained), trained.static
    assert rows.reward.shape == (16,)  # no images among the rows
    noise = jax.random.normal(KEY, (16, 2))
    alpha, actor, critics = jnp.float32(0.1), trained.actor.params, trained.critics.params

    def both_losses(rows: Rows, noise: jax.Array) -> tuple[jax.Array, ...]:
        following = losses.draw(actor, rows.next_actor_obs, noise, static)
        targets = losses.critic_targets(trained.target, rows, following, alpha, static)
        critic, _ = losses.critic_loss(critics, rows, targets, static)
        return critic, losses.actor_loss(actor, critics, rows, noise, alpha, static)[0]

    mirrored = both_losses(image(rows), reflect(noise, MIRROR.action))
    chex.assert_trees_all_close(both_losses(rows, noise), mirrored, rtol=1e-5)


def test_without_the_mirror_the_same_networks_are_not_symmetric(trained: fast_sac.FastSacState) -> None:
    plain = small_sac.learner(use_symmetry=False, symmetric_networks=True)
    plain = plain.replace(actor=trained.actor)
    obs = jax.random.normal(KEY, (50, 3))
    action = fast_sac.mode(plain, obs)
    there = reflect(fast_sac.mode(plain, reflect(obs, ACTOR)), MIRROR.action)
    assert float(jnp.max(jnp.abs(action - there))) > 1e-4


@pytest.mark.parametrize(
    ("anneal_share", "calls", "rate"),
    [(0.4, 0, 1.0), (0.4, 60, 1.0), (0.4, 80, 0.5), (0.4, 99, 0.025), (0.4, 500, 0.02), (0.0, 500, 1.0)],
)
def test_rates_fall_linearly_over_the_last_part_of_the_run(
    anneal_share: float, calls: int, rate: float
) -> None:
    cfg = small_sac.config(num_learning_iterations=100, anneal_share=anneal_share)
    hyper = fast_sac.hyper_from(small_sac.SPEC, cfg)
    np.testing.assert_allclose(updates.annealing(hyper, jnp.int32(calls)), rate, rtol=1e-5)


@pytest.mark.parametrize(
    ("last", "calls", "target"), [(None, 90, -1.0), (2.0, 60, -1.0), (2.0, 80, -2.5), (2.0, 98, -3.85)]
)
def test_the_entropy_target_falls_with_the_rates(last: float | None, calls: int, target: float) -> None:
    ratios = {"target_entropy_ratio": 0.5, "final_target_entropy_ratio": last}
    cfg = small_sac.config(num_learning_iterations=100, anneal_share=0.4, **ratios)
    hyper = fast_sac.hyper_from(small_sac.SPEC, cfg)  # of two actions
    share = updates.annealing(hyper, jnp.int32(calls))
    np.testing.assert_allclose(updates.entropy_target(hyper, share), target, rtol=1e-5)


def test_the_temperature_follows_the_target_as_it_falls() -> None:
    settings = {"num_learning_iterations": 100, "anneal_share": 1.0, "target_entropy_ratio": -2.5}
    states = [small_sac.learner(**settings, final_target_entropy_ratio=last) for last in (-2.5, 25.0)]
    before = float(states[0].log_alpha.params)
    late = [small_sac.update(s.replace(updates=jnp.int32(90)), small_sac.batch(), KEY)[0] for s in states]
    high, low = (float(state.log_alpha.params) for state in late)
    assert low < before < high  # the entropy lies between the two targets


def test_a_share_of_a_step_is_a_step_at_that_share_of_the_rate() -> None:
    state = small_sac.learner(num_learning_iterations=100, anneal_share=1.0).replace(updates=jnp.int32(75))
    slower = {"learning_rate": 0.25 * state.critics.lr}
    by_rate = small_sac.learner().replace(
        updates=jnp.int32(75),
        critics=state.critics.with_hyperparams(**slower),
        actor=state.actor.with_hyperparams(**slower),
    )
    annealed, _ = small_sac.update(state, small_sac.batch(), KEY)
    wanted, _ = small_sac.update(by_rate, small_sac.batch(), KEY)
    for part in ("actor", "critics"):
        chex.assert_trees_all_close(
            getattr(annealed, part).params, getattr(wanted, part).params, rtol=1e-4, atol=1e-6
        )
