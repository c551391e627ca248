"""The replay ring: what is kept, what is drawn, and where an n-step row ends."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.config.schema import FastSacConfig
from holosoma_jax.learn import replay
from holosoma_jax.learn.fast_sac import FastSacBatch, FastSacSpec

SPEC = FastSacSpec(2, 3, 1, (1.0,))
ENVS = 4
write = jax.jit(replay.write)


def transition(t: int, num_envs: int = ENVS, **flags: list[bool]) -> replay.Transition:
    """Step t: observations t (critic 100 + t), successors t + 0.5, action env, reward t + env / 10."""
    env = jnp.arange(num_envs, dtype=jnp.float32)

    def column(value: float, dim: int) -> jax.Array:
        return jnp.full((num_envs, dim), float(value))

    named = {name: jnp.asarray(flags.get(name, [False] * num_envs)) for name in ("terminated", "truncated")}
    return replay.Transition(
        actor_obs=column(t, 2),
        critic_obs=column(100.0 + t, 3),
        action=env[:, None],
        reward=t + env / 10,
        next_actor_obs=column(t + 0.5, 2),
        next_critic_obs=column(100.5 + t, 3),
        valid=jnp.asarray(flags.get("valid", [True] * num_envs)),
        **named,
    )


def ring(steps: int, cfg: FastSacConfig, **flags: dict[int, list[bool]]) -> replay.Replay:
    """A buffer after `steps` transitions; flags by step."""
    buffer = replay.init(cfg, SPEC, ENVS)
    for t in range(steps):
        buffer = write(buffer, transition(t, **{k: v[t] for k, v in flags.items() if t in v}))
    return buffer


def config(**changes: int | float | str) -> FastSacConfig:
    defaults = {"buffer_size": 5, "batch_size": 8, "num_updates": 3, "gamma": 0.5}
    return FastSacConfig(**(defaults | changes))


def at(buffer: replay.Replay, step: int, env: int, cfg: FastSacConfig) -> dict[str, float]:
    """The row that starts at one place: first entries."""
    row: FastSacBatch = replay.gather(buffer, jnp.array([step]), jnp.array([env]), cfg)
    return {k: float(np.asarray(v).reshape(-1)[0]) for k, v in row._asdict().items()}


def test_only_what_is_kept_is_drawn_and_every_env_equally_often() -> None:
    cfg = config(batch_size=400)
    draw = jax.jit(partial(replay.sample, cfg=cfg))
    for steps, kept in ((1, {0}), (3, {0, 1, 2}), (12, {7, 8, 9, 10, 11})):
        batch = draw(ring(steps, cfg), jax.random.key(steps))
        assert batch.actor_obs.shape == (3, 400, 2) and batch.reward.shape == (3, 400)
        assert set(np.unique(batch.actor_obs)) == kept
        for update in range(3):
            env = np.asarray(batch.action[update, :, 0]).astype(int)
            np.testing.assert_array_equal(np.bincount(env), [100] * ENVS)
        # uniform: each kept step about equally often
        counts = np.bincount(np.asarray(batch.actor_obs[..., 0]).astype(int).ravel())
        wanted = 1200 / len(kept)
        assert np.all(np.abs(counts[sorted(kept)] - wanted) < 5 * np.sqrt(wanted))
        np.testing.assert_array_equal(batch.next_actor_obs, batch.actor_obs + 0.5)
        np.testing.assert_array_equal(batch.critic_obs[..., 0], batch.actor_obs[..., 0] + 100.0)
        np.testing.assert_allclose(batch.reward, batch.actor_obs[..., 0] + batch.action[..., 0] / 10)


def test_rows_that_do_not_divide_by_the_envs_are_shared_out_at_random() -> None:
    cfg = config(batch_size=6, num_updates=200)
    batch = jax.jit(partial(replay.sample, cfg=cfg))(ring(5, cfg), jax.random.key(0))
    env = np.asarray(batch.action[..., 0]).astype(int)
    counts = np.stack([np.bincount(row, minlength=ENVS) for row in env])
    assert set(counts.ravel()) == {1, 2}
    np.testing.assert_allclose(counts.mean(0), 1.5, atol=0.2)
    fewer = config(batch_size=2, num_updates=200)
    batch = jax.jit(partial(replay.sample, cfg=fewer))(ring(5, fewer), jax.random.key(0))
    env = np.asarray(batch.action[..., 0]).astype(int)
    assert np.all(env[:, 0] != env[:, 1]) and set(env.ravel()) == set(range(ENVS))


def test_devices_share_the_batch() -> None:
    cfg = config(batch_size=8)
    batch = replay.sample(ring(5, cfg), jax.random.key(0), cfg, axis_size=2)
    assert batch.reward.shape == (3, 4)
    with pytest.raises(ValueError, match=r"8 .* 3.*algo\.config\.batch_size"):
        replay.sample(ring(5, cfg), jax.random.key(0), cfg, axis_size=3)


@pytest.mark.parametrize("terminated", [False, True])
@pytest.mark.parametrize("truncated", [False, True])
def test_what_is_bootstrapped(terminated: bool, truncated: bool) -> None:
    """Failures never, time-outs always, also from the observation before the reset; both at once: no."""
    cfg = config()
    flags = {"terminated": {1: [terminated] * 4}, "truncated": {1: [truncated] * 4}}
    row = at(ring(3, cfg, **flags), 1, 2, cfg)
    assert row["discount"] == (0.0 if terminated else 0.5)
    assert row["reward"] == pytest.approx(1.2)
    assert row["next_actor_obs"] == 1.5


def test_n_step_rows_end_with_the_episode_or_with_the_buffer() -> None:
    cfg = config(num_steps=3)
    second = [False, True, False, False]
    buffer = ring(8, cfg, terminated={5: second}, truncated={6: second})  # steps 3 to 7 are kept
    plain = at(buffer, 4, 0, cfg)
    assert plain["reward"] == pytest.approx(4 + 5 / 2 + 6 / 4)
    assert (plain["discount"], plain["next_actor_obs"]) == (0.125, 6.5)
    failed = at(buffer, 4, 1, cfg)
    assert failed["reward"] == pytest.approx(4.1 + 5.1 / 2)
    assert failed["discount"] == 0.0
    timed_out = at(buffer, 6, 1, cfg)
    assert (timed_out["reward"], timed_out["discount"]) == (pytest.approx(6.1), 0.5)
    assert timed_out["next_actor_obs"] == 6.5
    newest = at(buffer, 6, 0, cfg)  # two steps are all there are; nothing older is added
    assert (newest["reward"], newest["discount"]) == (pytest.approx(6 + 7 / 2), 0.25)
    assert newest["next_actor_obs"] == 7.5
    assert at(buffer, 3, 0, cfg)["reward"] == pytest.approx(3 + 4 / 2 + 5 / 4)  # across the ring's seam


def test_nothing_invalid_is_learnt_from_or_kept() -> None:
    cfg = config(num_steps=2, buffer_size=6)
    good, third = [True] * 4, [True, True, False, True]
    buffer = replay.init(cfg, SPEC, ENVS)
    for t in range(4):
        step = transition(t, valid=third if t == 2 else good, terminated=[t == 1, False, False, False])
        spoiled = jnp.where(step.valid, step.reward, jnp.nan)
        buffer = write(buffer, step._replace(reward=spoiled))
    assert all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(buffer.data))
    valid = [[at(buffer, t, env, cfg)["valid"] for t in range(4)] for env in (0, 2)]
    assert valid == [[1, 1, 1, 1], [1, 0, 0, 1]]  # the row before reaches into the invalid step
    assert not bool(jnp.any(replay.sample(replay.init(cfg, SPEC, ENVS), jax.random.key(0), cfg).valid))


def test_bfloat16_halves_the_observations_and_comes_back_as_float32() -> None:
    exact, short = config(), config(buffer_dtype="bfloat16")
    sizes = [replay.size_bytes(cfg, SPEC, ENVS) for cfg in (exact, short)]
    per_row = 2 * (2 + 3) * 4  # two observation vectors and their successors
    assert sizes[0] == 5 * ENVS * (per_row + 4 + 4 + 3) + 4
    assert sizes[1] == sizes[0] - 5 * ENVS * per_row // 2
    batch = replay.sample(ring(3, short), jax.random.key(0), short)
    assert batch.actor_obs.dtype == batch.next_critic_obs.dtype == jnp.float32


def test_the_reference_sized_buffer_is_as_large_as_the_specification_says() -> None:
    # float32: 2 * (100 + 103) observations, 29 actions, reward; flags are bytes here, not int64
    spec = FastSacSpec(100, 103, 29, (1.0,) * 29)
    assert replay.size_bytes(FastSacConfig(), spec, 4096) == 1024 * 4096 * (4 * (406 + 29 + 1) + 3) + 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": jnp.ones((4, 1))}, r"\(4, 1\) .* \(4\).*Transition\.reward"),
        ({"critic_obs": jnp.ones((4, 2))}, r"\(4, 2\) .* \(4, 3\).*Transition\.critic_obs"),
        ({"valid": jnp.ones(4)}, r"float32 .*bool.*Transition\.valid"),
    ],
)
def test_a_transition_that_does_not_fit_is_named(changes: dict[str, jax.Array], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replay.write(replay.init(config(), SPEC, ENVS), transition(0)._replace(**changes))
