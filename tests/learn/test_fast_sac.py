"""What one call of FastSAC's functions does, law by law."""

from __future__ import annotations

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from holosoma_jax.learn import fast_sac, normalizer
from holosoma_jax.learn.fast_sac import optimize as updates
from holosoma_jax.learn.fast_sac import update_rows
from holosoma_jax.learn.optim import TrainState
from holosoma_jax.learn.symmetry import reflect
from tests.support import small_sac
from tests.support.small import MIRROR

KEY = jax.random.key(7)


def updated(state: fast_sac.FastSacState, **changes: Any) -> tuple[fast_sac.FastSacState, fast_sac.Metrics]:
    batch = small_sac.batch(state.static.num_updates)
    return small_sac.update(state, batch._replace(**changes), KEY)


def count(state: TrainState) -> jax.Array:
    """Steps taken."""
    return optax.tree.get(state.opt_state, "count", filtering=lambda path, _: "ScaleByAdam" in str(path))


def differs(a: Any, b: Any) -> bool:
    return any(bool(jnp.any(x != y)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_it_starts_at_the_default_pose_with_the_middle_of_the_spreads() -> None:
    state = small_sac.learner()
    obs = {"actor_obs": jnp.asarray(np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32))}
    np.testing.assert_array_equal(fast_sac.mode(state, obs["actor_obs"]), 0.0)
    action, extras = small_sac.act(state, obs, KEY)
    assert extras == () and action.shape == (4000, 2)
    # log std -2.5, nearly linear tanh, times a scale of 2
    np.testing.assert_allclose(jnp.std(action), 2.0 * np.exp(-2.5), rtol=0.05)
    chex.assert_trees_all_equal(state.target, state.critics.params)


def test_actions_stay_within_their_scale_unless_tanh_is_off() -> None:
    def wide(state: fast_sac.FastSacState) -> jax.Array:
        head = state.actor.params["mean_head"] | {"bias": jnp.array([30.0, -30.0])}
        params = state.actor.params | {"mean_head": head}
        return fast_sac.mode(state.replace(actor=state.actor.replace(params=params)), jnp.ones((1, 3)))

    np.testing.assert_allclose(wide(small_sac.learner()), [[2.0, -2.0]])
    np.testing.assert_allclose(wide(small_sac.learner(use_tanh=False)), [[30.0, -30.0]])


def test_an_update_moves_everything_and_reports_finite_numbers() -> None:
    state = small_sac.learner()
    after, metrics = updated(state)
    for name in ("actor", "critics", "log_alpha", "target", "actor_stats", "critic_stats"):
        assert differs(getattr(state, name), getattr(after, name)), name
    assert after.updates == 1 and int(count(after.critics)) == 4 and int(count(after.actor)) == 1
    chex.assert_tree_all_finite(metrics)
    assert {k for k in metrics if not k.startswith("Loss/")} == set()
    assert metrics["Loss/qf_min"] < metrics["Loss/qf_max"]


@pytest.mark.parametrize(
    ("num_updates", "frequency", "turns"),
    [(8, 4, {1, 5}), (4, 2, {1, 3}), (2, 2, {1}), (2, 9, {1}), (5, 3, {1, 4})],
)
def test_the_actor_moves_on_schedule(num_updates: int, frequency: int, turns: set[int]) -> None:
    static = small_sac.learner(num_updates=num_updates, policy_frequency=frequency).static
    assert set(np.flatnonzero(updates.actor_turns(static, jnp.int32(0)))) == turns


def test_with_one_update_the_actor_moves_in_every_kth_call() -> None:
    state = small_sac.learner(num_updates=1, policy_frequency=3)
    batch, moved, entropies = small_sac.batch(1), [], []
    for i in range(6):
        after, metrics = small_sac.update(state, batch, jax.random.key(i))
        moved.append(differs(state.actor, after.actor))
        entropies.append(float(metrics["Loss/policy_entropy"]))
        state = after
    assert moved == [True, False, False] * 2
    # in between, the actor's metrics are those of its last update
    assert entropies[0] == entropies[1] == entropies[2] != entropies[3] == entropies[5]


def test_the_target_follows_once_an_update() -> None:
    before = small_sac.learner(tau=0.25, num_updates=1, policy_frequency=3)
    after, _ = updated(before)
    mixed = jax.tree.map(lambda t, q: 0.75 * t + 0.25 * q, before.target, after.critics.params)
    chex.assert_trees_all_close(after.target, mixed, rtol=1e-5, atol=1e-7)
    again, _ = small_sac.update(after, small_sac.batch(1, seed=1), KEY)
    mixed = jax.tree.map(lambda t, q: 0.75 * t + 0.25 * q, after.target, again.critics.params)
    chex.assert_trees_all_close(again.target, mixed, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("target", "grows"), [(5.0, True), (-50.0, False)])
def test_the_temperature_grows_where_the_entropy_is_below_its_target(target: float, grows: bool) -> None:
    state = small_sac.learner(target_entropy_ratio=-target / 2)
    after, metrics = updated(state)
    assert (metrics["Loss/policy_entropy"] < target) == grows
    assert (after.log_alpha.params > state.log_alpha.params) == grows
    fixed = small_sac.learner(target_entropy_ratio=-target / 2, use_autotune=False)
    assert updated(fixed)[0].log_alpha.params == fixed.log_alpha.params


def test_gradients_are_clipped_on_request() -> None:
    free, _ = updated(small_sac.learner())
    clipped, _ = updated(small_sac.learner(num_updates=2, max_grad_norm=1e-3))
    limit = (0.1 + 0.9 * 0.1) * 1e-3  # of the first moment after two gradients within the limit
    norms = [
        float(optax.tree.norm(optax.tree.get(state.critics.opt_state, "mu"))) for state in (free, clipped)
    ]
    assert norms[0] > 10 * limit and norms[1] <= limit


def test_invalid_rows_do_not_matter() -> None:
    state, batch = small_sac.learner(use_symmetry=False), small_sac.batch()
    valid = batch.valid.at[:, ::3].set(False)

    def spoiled(value: float) -> fast_sac.FastSacBatch:
        def spoil(x: jax.Array) -> jax.Array:
            keep = valid.reshape(valid.shape + (1,) * (x.ndim - 2))
            return x if x.dtype == bool else jnp.where(keep, x, value)

        return jax.tree.map(spoil, batch._replace(valid=valid))

    after, metrics = small_sac.update(state, spoiled(jnp.nan), KEY)
    chex.assert_tree_all_finite((after.critics.params, after.actor.params, metrics))
    chex.assert_trees_all_equal((after, metrics), small_sac.update(state, spoiled(1e30), KEY))
    nothing, metrics = small_sac.update(state, batch._replace(valid=jnp.zeros_like(valid)), KEY)
    chex.assert_tree_all_finite((nothing.critics.params, metrics))
    chex.assert_trees_all_equal(nothing.critic_stats, state.critic_stats)


def test_statistics_move_once_by_states_successors_and_their_images() -> None:
    state, batch = small_sac.learner(), small_sac.batch()
    after, _ = updated(state)
    x = jnp.concatenate([batch.actor_obs, batch.next_actor_obs]).reshape(-1, 3)
    x = jnp.concatenate([x, reflect(x, MIRROR.obs["actor_obs"])])
    expected = normalizer.update(state.actor_stats, x)
    chex.assert_trees_all_close(after.actor_stats, expected, rtol=1e-5, atol=1e-6)
    assert after.actor_stats.count == 4 * 16 * 2 * 2


def test_every_update_holds_its_rows_and_their_mirror_images() -> None:
    state, batch = small_sac.learner(), small_sac.batch()
    state = update_rows.observe(state, batch)
    rows = update_rows.prepare(state, jax.tree.map(lambda x: x[2], batch))
    assert all(len(x) == 32 for x in rows)
    raw = batch.critic_obs[2]
    seen = normalizer.normalize(state.critic_stats, raw)
    image = normalizer.normalize(state.critic_stats, reflect(raw, MIRROR.obs["critic_obs"]))
    np.testing.assert_allclose(rows.critic_obs, jnp.concatenate([seen, image]), rtol=1e-6)
    np.testing.assert_array_equal(rows.action[16:], reflect(batch.action[2], MIRROR.action))
    np.testing.assert_array_equal(rows.reward, jnp.tile(batch.reward[2], 2))
    np.testing.assert_array_equal(rows.discount, jnp.tile(batch.discount[2], 2))


def test_normalisation_can_be_off() -> None:
    state = small_sac.learner(obs_normalization=False)
    after, _ = updated(state)
    chex.assert_trees_all_equal(after.actor_stats, state.actor_stats)
    rows = update_rows.prepare(state, jax.tree.map(lambda x: x[0], small_sac.batch()))
    np.testing.assert_array_equal(rows.actor_obs[:16], small_sac.batch().actor_obs[0])


def test_bf16_products_change_little_and_leave_everything_else_float32() -> None:
    exact, _ = updated(small_sac.learner())
    rounded, _ = updated(small_sac.learner(bf16=True))
    assert {x.dtype for x in jax.tree.leaves(rounded)} == {np.dtype("float32"), np.dtype("int32")}
    assert differs(exact.critics.params, rounded.critics.params)
    chex.assert_trees_all_close(exact.critics.params, rounded.critics.params, atol=3e-3)


def test_gradients_by_chunks_are_the_same() -> None:
    state, batch = small_sac.learner(), small_sac.batch()
    valid = batch.valid.at[:, :7].set(False)  # so that chunks weigh differently, one of them nothing
    whole = updated(state, valid=valid)
    chunked = updated(state.replace(static=dataclasses.replace(state.static, chunk=4)), valid=valid)
    assert chunked[0].static != whole[0].static
    chex.assert_trees_all_close(
        (chunked[0].replace(static=state.static), chunked[1]), whole, rtol=1e-4, atol=1e-5
    )


def test_critics_may_see_actions_in_units_of_their_scale() -> None:
    """Halving the first layer's weights of the actions is the same as showing them half as large."""
    from holosoma_jax.learn.fast_sac import loss

    state = small_sac.learner(unit_actions=True)
    critics, obs, action = state.critics.params, jnp.ones((5, 4)), jnp.ones((5, 2))
    shown = loss.logits(critics, obs, action, state.static)
    plain = small_sac.learner().static
    chex.assert_trees_all_close(shown, loss.logits(critics, obs, action / 2, plain), rtol=1e-6)


def test_donated_states_come_back(recwarn: pytest.WarningsRecorder) -> None:
    update = jax.jit(fast_sac.update, donate_argnums=0)
    state, kept = (small_sac.learner(num_updates=1, policy_frequency=3) for _ in range(2))
    after, _ = update(state, small_sac.batch(1), KEY)
    chex.assert_trees_all_close(after, updated(kept)[0], rtol=1e-5, atol=1e-7)
    assert all(x.is_deleted() for x in jax.tree.leaves((state.critics, state.target, state.actor)))
    assert not recwarn.list


def test_losses_can_be_replaced() -> None:
    """Their gradients are what moves the networks, also where rows are taken a few at a time, as here."""
    state, batch = small_sac.learner(num_updates=1, policy_frequency=1), small_sac.batch(1)
    state = state.replace(static=dataclasses.replace(state.static, chunk=4))
    found: list[dict[str, Any]] = []

    def double(*arguments: Any, **named: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        value, metrics = fast_sac.critic_loss(*arguments, **named)
        return 2.0 * value, metrics | {"Loss/twice": 2.0 * value}

    def triple(*arguments: Any, **named: Any) -> tuple[jax.Array, Any]:
        value, drawn = fast_sac.actor_loss(*arguments, **named)
        return 3.0 * value, drawn

    for loss in (fast_sac.Losses(), fast_sac.Losses(critic=double), fast_sac.Losses(actor=triple)):
        found.append(fast_sac.update(state, batch, KEY, loss=loss)[1])
    plain, critic, actor = found
    for name, there, factor in (
        ("Loss/critic_grad_norm", critic, 2.0),
        ("Loss/actor_grad_norm", actor, 3.0),
        ("Loss/actor_loss", actor, 3.0),
        ("Loss/qf_loss", critic, 1.0),
    ):
        np.testing.assert_allclose(there[name], factor * plain[name], rtol=1e-5)
    np.testing.assert_allclose(critic["Loss/twice"], 2.0 * plain["Loss/qf_loss"], rtol=1e-5)
