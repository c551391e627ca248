"""The update as a whole: what it computes, that it compiles once, and that it is a pure function."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn import ppo
from holosoma_jax.learn.ppo import gaussian
from holosoma_jax.learn.ppo import loss as losses
from holosoma_jax.learn.symmetry import reflect
from tests.support import small

KEY = jax.random.key(7)


def test_act_samples_around_the_mode_and_reports_it() -> None:
    state = small.learner(empirical_normalization=True)
    obs = {
        "actor_obs": 5.0 + 2.0 * jax.random.normal(KEY, (64, 3)),
        "critic_obs": jax.random.normal(KEY, (64, 4)),
    }
    state = ppo.observe(state, obs)
    action, extras = small.act(state, obs, KEY)
    np.testing.assert_allclose(extras.actor_obs.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(extras.mean, ppo.mode(state, obs["actor_obs"]), rtol=1e-6)
    np.testing.assert_allclose(extras.mean, ppo.policy_fn(state)(obs["actor_obs"]), rtol=1e-6)
    np.testing.assert_allclose(extras.value, ppo.value(state, obs["critic_obs"]), rtol=1e-6)
    np.testing.assert_allclose(
        extras.log_prob, gaussian.log_prob(action, extras.mean, jnp.full(2, 0.8)), rtol=1e-5
    )
    assert 0.6 < float(jnp.std(action - extras.mean)) < 1.0


def test_ratio_is_one_before_the_first_step() -> None:
    state = small.learner()
    rows = small.prepare(state, small.rollout(state))
    mean, std = losses.policy(state.actor.params, rows.actor_obs, state.hyper, state.static)
    ratio = jnp.exp(gaussian.log_prob(rows.action, mean, std) - rows.log_prob)
    np.testing.assert_allclose(ratio, 1.0, atol=1e-5)
    # hence the surrogate is minus the mean advantage, and the KL is rounding
    _, metrics = ppo.ppo_loss(state.params, rows, state.hyper, state.static)
    np.testing.assert_allclose(metrics["Loss/Surrogate"], -jnp.mean(rows.advantage), atol=1e-5)
    assert abs(float(metrics[ppo.KL])) < 1e-6


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "expected"),
    [
        (0.0, 2.0, -2.0),
        (np.log(1.5), 2.0, -2.4),  # a gain is capped at 1.2
        (np.log(0.5), 2.0, -1.0),  # a loss is not
        (np.log(1.5), -2.0, 3.0),
        (np.log(0.5), -2.0, 1.6),
    ],
)
def test_surrogate(log_ratio: float, advantage: float, expected: float) -> None:
    found = losses.surrogate_loss(jnp.float32(log_ratio), jnp.float32(advantage), jnp.float32(0.2))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(("value", "expected"), [(1.1, 0.81), (1.5, 0.64), (0.0, 4.0)])
def test_value_loss(value: float, expected: float) -> None:
    # old value 1, target 2, clip 0.2: at 1.5 the clipped value 1.2 has the larger error
    found = losses.value_loss(jnp.float32(value), jnp.float32(1), jnp.float32(2), jnp.float32(0.2))
    assert float(found) == pytest.approx(max(expected, (value - 2) ** 2), rel=1e-5)
    unclipped = losses.value_loss(jnp.float32(value), jnp.float32(1), jnp.float32(2), None)
    assert float(unclipped) == pytest.approx((value - 2) ** 2, rel=1e-5)


def test_symmetry_counts_every_row_twice() -> None:
    state = small.learner(use_symmetry=True, symmetry_actor_coef=0.7, symmetry_critic_coef=0.3)
    rows = small.prepare(state, small.rollout(state))
    _, found = ppo.ppo_loss(state.params, rows, state.hyper, state.static)

    plain = small.learner()
    image = rows._replace(
        actor_obs=reflect(rows.actor_obs, small.MIRROR.obs["actor_obs"]),
        critic_obs=reflect(rows.critic_obs, small.MIRROR.obs["critic_obs"]),
        action=reflect(rows.action, small.MIRROR.action),
    )
    halves = [
        ppo.ppo_loss(state.params, half, plain.hyper, plain.static)[1]["Loss/Value"] for half in (rows, image)
    ]
    np.testing.assert_allclose(found["Loss/Value"], (halves[0] + halves[1]) / 2, rtol=1e-5)

    difference = ppo.mode(state, image.actor_obs) - reflect(
        ppo.mode(state, rows.actor_obs), small.MIRROR.action
    )
    np.testing.assert_allclose(found["Loss/symmetry_actor_loss"], jnp.mean(difference**2), rtol=1e-5)
    difference = ppo.value(state, image.critic_obs) - ppo.value(state, rows.critic_obs)
    np.testing.assert_allclose(found["Loss/symmetry_critic_loss"], jnp.mean(difference**2), rtol=1e-5)
    np.testing.assert_allclose(
        found["Loss/actor_loss"],
        found["Loss/Surrogate"] - 0.01 * found["Loss/Entropy"] + 0.7 * found["Loss/symmetry_actor_loss"],
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        found["Loss/critic_loss"], found["Loss/Value"] + 0.3 * found["Loss/symmetry_critic_loss"], rtol=1e-5
    )


def test_symmetry_makes_the_policy_symmetric() -> None:
    state = small.learner(use_symmetry=True, symmetry_actor_coef=10.0, num_learning_epochs=50)
    batch = small.rollout(state, num_envs=16)
    after, metrics = small.update(state, batch, KEY)
    before = _asymmetry(state, batch)
    assert before > 1e-3
    assert _asymmetry(after, batch) < 0.1 * before
    assert float(metrics["Loss/symmetry_actor_loss"]) < before


def _asymmetry(state: ppo.PpoState, batch: ppo.PpoBatch) -> float:
    image = ppo.mode(state, reflect(batch.actor_obs, small.MIRROR.obs["actor_obs"]))
    return float(jnp.mean((image - reflect(ppo.mode(state, batch.actor_obs), small.MIRROR.action)) ** 2))


def _given_kl(params, minibatch, hyper, static):
    """A loss whose KL is whatever `entropy_coef` says."""
    return sum(jnp.sum(x) for x in jax.tree.leaves(params)), {ppo.KL: hyper.entropy_coef}


def test_first_step_of_an_iteration_raises_the_rates_and_later_ones_follow_the_rule() -> None:
    def rate(kl: float, epochs: int) -> float:
        state = small.learner(num_learning_epochs=epochs, num_mini_batches=1, entropy_coef=kl)
        after, _ = small.update(state, small.rollout(state), KEY, loss=_given_kl)
        return float(after.actor.lr)

    # a KL of rounding size counts as an increase once; exactly 0 in later steps changes nothing
    for kl in (0.0, -1e-9, 9e-9):
        assert rate(kl, epochs=1) == pytest.approx(1.5e-3)
    assert rate(0.0, epochs=3) == pytest.approx(1.5e-3)
    assert rate(0.001, epochs=3) == pytest.approx(1.5**3 * 1e-3)
    assert rate(0.1, epochs=1) == pytest.approx(1e-3 / 1.5)


def test_fixed_schedule_keeps_the_rates() -> None:
    state = small.learner(schedule="fixed")
    after, metrics = small.update(state, small.rollout(state), KEY)
    assert float(after.actor.lr) == float(metrics["Loss/critic_learning_rate"]) == np.float32(1e-3)


def test_a_loss_is_changed_in_five_lines() -> None:
    def loss(params, *rest):
        value, metrics = ppo.ppo_loss(params, *rest)
        size = sum(jnp.sum(x**2) for x in jax.tree.leaves(params.critic))
        return value + 100.0 * size, metrics | {"Loss/critic_size": size}

    state = small.learner()
    batch = small.rollout(state)
    plain, _ = small.update(state, batch, KEY)
    decayed, metrics = small.update(state, batch, KEY, loss=loss)
    chex.assert_trees_all_close(plain.actor.params, decayed.actor.params)
    assert _size(decayed) < _size(plain)
    assert "Loss/critic_size" in metrics


def _size(state: ppo.PpoState) -> float:
    return float(sum(jnp.sum(x**2) for x in jax.tree.leaves(state.critic.params)))


def test_a_loss_without_kl_needs_a_fixed_schedule() -> None:
    def loss(params, minibatch, hyper, static):
        return jnp.sum(params.actor.std**2), {"Loss/mine": jnp.zeros(())}

    state = small.learner()
    with pytest.raises(ValueError, match=r"metrics \['Loss/mine'\].*needs 'Loss/KL'"):
        small.update(state, small.rollout(state), KEY, loss=loss)
    fixed = small.learner(schedule="fixed")
    assert "Loss/mine" in small.update(fixed, small.rollout(fixed), KEY, loss=loss)[1]


def test_metrics_are_the_promised_ones() -> None:
    state = small.learner()
    after, metrics = small.update(state, small.rollout(state), KEY)
    assert set(metrics) == {
        "Loss/Value", "Loss/Surrogate", "Loss/Entropy", "Loss/KL", "Loss/actor_loss", "Loss/critic_loss",
        "Loss/symmetry_actor_loss", "Loss/symmetry_critic_loss", "Loss/actor_learning_rate",
        "Loss/critic_learning_rate", "Policy/mean_noise_std",
    }  # fmt: skip
    chex.assert_shape(list(metrics.values()), ())
    np.testing.assert_allclose(metrics["Policy/mean_noise_std"], jnp.mean(after.actor.params.std))


def test_compiles_once_and_keeps_the_state_s_types() -> None:
    update = jax.jit(chex.assert_max_traces(ppo.update, n=1))
    state = small.learner()
    first = state
    for i in range(3):
        state, _ = update(state, small.rollout(state, seed=i), jax.random.key(i))
        # other coefficients, other seeds: the same program
        state = state.replace(hyper=state.hyper.replace(entropy_coef=jnp.float32(0.1 * i)))
    update(small.learner(seed=1, entropy_coef=0.3, clip_param=0.1), small.rollout(first), KEY)
    chex.assert_trees_all_equal_shapes_and_dtypes(first, state)
    assert all(not leaf.weak_type for leaf in jax.tree.leaves(state))


def test_state_can_be_donated() -> None:
    state = small.learner()
    batch = small.rollout(state)
    expected, _ = small.update(state, batch, KEY)
    found, _ = jax.jit(ppo.update, donate_argnums=0)(state, batch, KEY)
    chex.assert_trees_all_equal(found, expected)


def test_resumes_bit_for_bit_from_plain_arrays() -> None:
    update = small.update
    state = small.learner()
    state, _ = update(state, small.rollout(state), KEY)
    leaves, treedef = jax.tree.flatten(state)
    restored = jax.tree.unflatten(treedef, [jnp.asarray(np.array(leaf)) for leaf in leaves])
    batch = small.rollout(state, seed=1)
    chex.assert_trees_all_equal(update(state, batch, KEY), update(restored, batch, KEY))


def test_reset_optimizer_keeps_what_was_learnt() -> None:
    state = small.learner()
    after, _ = small.update(state, small.rollout(state), KEY)
    reset = ppo.reset_optimizer(after, small.config())
    chex.assert_trees_all_equal(reset.params, after.params)
    chex.assert_trees_all_equal(
        (reset.actor.opt_state, reset.critic.opt_state), (state.actor.opt_state, state.critic.opt_state)
    )


def test_order_of_environments_does_not_matter() -> None:
    state = small.learner(num_mini_batches=1)
    batch = small.rollout(state)
    order = np.random.default_rng(0).permutation(8)
    shuffled = jax.tree.map(lambda x: x[..., order] if x.ndim == 1 else x[:, order], batch)
    found, expected = (small.update(state, b, KEY)[0].params for b in (shuffled, batch))
    chex.assert_trees_all_close(found, expected, atol=1e-6)


@pytest.mark.parametrize("reshuffle", [False, True])
def test_each_row_is_seen_once_an_epoch(reshuffle: bool) -> None:
    # 7 * 7 = 49 rows in 4 mini-batches of 12: one row is left out
    def loss(params, minibatch, hyper, static):
        seen = jnp.zeros(49).at[minibatch.value.astype(jnp.int32)].add(1.0)
        return sum(jnp.sum(x) for x in jax.tree.leaves(params)), {str(i): seen[i] for i in range(49)} | {
            ppo.KL: jnp.zeros(())
        }

    state = small.learner(num_learning_epochs=3, num_mini_batches=4, reshuffle_each_epoch=reshuffle)
    batch = small.rollout(state, steps=7, num_envs=7)
    batch = batch._replace(value=jnp.arange(49.0).reshape(7, 7))
    _, metrics = small.update(state, batch, KEY, loss=loss)
    times = np.array([round(float(metrics[str(i)]) * 12) for i in range(49)])
    assert times.sum() == 3 * 48
    if reshuffle:
        assert times.min() >= 1 and (times == 2).sum() > 1  # another row is left out in each epoch
    else:
        assert sorted(times) == [0] + [3] * 48


def test_time_out_bootstrap_of_a_failure() -> None:
    one = small.learner(num_mini_batches=1)
    batch = small.rollout(one, steps=1, num_envs=2)
    batch = batch._replace(
        reward=jnp.ones((1, 2)),
        value=jnp.zeros((1, 2)),
        terminated=jnp.array([[True, True]]),
        truncated=jnp.array([[False, True]]),
        final_value=jnp.array([[0.0, 10.0]]),
    )
    assert small.prepare(one, batch).target.tolist() == [1.0, 1.0]
    reference = small.learner(num_mini_batches=1, timeout_bootstrap="holosoma")
    np.testing.assert_allclose(small.prepare(reference, batch).target, [1.0, 1 + 0.99 * 10], rtol=1e-6)
