from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.learn import ppo
from holosoma_jax.rollout import control_step, on_policy, seeding
from holosoma_jax.rollout.control_step import apply_resets
from holosoma_jax.rollout.stepped import Stepped
from tests.support import toy

HORIZON = 24
JUMP = 9
"""control steps of an episode after which the robot is placed anew within it"""


@pytest.fixture(scope="module")
def setup():
    return toy.setup(toy.config(num_steps_per_env=HORIZON), jump_every=JUMP)


@pytest.fixture(scope="module")
def learner(setup):
    return ppo.init(jax.random.key(0), setup.learner_spec, setup.cfg.algo.config)


def make(setup, learner, seed: int = 5, **options):
    """(driver, state before the first iteration, keys); `learner` is not used up."""
    keys = seeding.keys(seed)
    driver = Stepped(setup.env, setup.bridge, on_policy.rollout_fns(setup.learner, setup.cfg.algo.config))
    return driver, driver.start(jax.tree.map(jnp.copy, learner), keys, **options), keys


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Names of the programs that XLA compiles, or loads from the cache, in this context."""
    names: list[str] = []
    active = True

    def listen(event: str, seconds: float, **details: object) -> None:
        if active and event.endswith("backend_compile_duration"):
            names.append(str(details.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        active = False


def test_compiled_halves_agree_with_the_plain_loop(setup, learner):
    """The driver against a transcription of the control step without buffers, donation or flags."""
    driver, state, keys = make(setup, learner)
    state, stats = driver.iterate(state, keys, 0)

    other = toy.setup(setup.cfg, jump_every=JUMP)
    env, record = other.env, other.learner
    carry, physics, sim, _ = make(other, learner)[1].rollout

    @jax.jit
    def first(learner, env_state, step, sim):
        env_state, obs = env.observe(env_state, sim)
        learner = record.observe(learner, obs)
        action, extras = record.act(learner, obs, seeding.stream(keys.own, "act", step))
        env_state, command = env.pre_step(env_state, action)
        return learner, env_state, {"action": action, **extras._asdict()}, command

    @jax.jit
    def second(learner, env_state, sim):
        env_state, result = env.post_step(env_state, sim)
        # `process` values final observations under a condition; here it is done for all
        cut = (result.truncated | result.jumped) & ~result.nonfinite
        value = jnp.where(cut, record.value(learner, result.final_obs), 0.0)
        ends = {"terminated": result.terminated, "truncated": result.truncated | result.jumped}
        ends["jumped"] = result.jumped
        return env_state, {"reward": result.reward, "final_value": value, **ends}, result.reset

    rows, env_state = [], carry.env
    for t in range(HORIZON):
        learner, env_state, decided, command = jax.block_until_ready(first(learner, env_state, t, sim))
        physics, sim = other.bridge.step(physics, *command)
        env_state, came, reset = jax.block_until_ready(second(learner, env_state, sim))
        physics, sim = apply_resets(other.bridge, physics, sim, reset, True, True)
        rows.append({**decided, **came})
    stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    jumped = stacked.pop("jumped")
    assert jumped.any() and (stacked["truncated"] & ~jumped).any()
    assert stacked["terminated"].any()
    for name, expected in stacked.items():
        np.testing.assert_allclose(state.pending.columns[name], expected, atol=2e-5, err_msg=name)
    ends = (stacked["truncated"] & ~jumped) | stacked["terminated"]  # a jump ends no episode
    assert int(state.rollout.carry.episodes.finished) == ends.sum()
    assert stats.scalars["Episode/rew_track"] == pytest.approx(stacked["reward"][ends].mean(), abs=1e-5)


def test_the_update_sees_the_rollout_and_the_value_of_what_follows(setup, learner):
    """The same numbers as by `ppo.update` on a batch put together here."""
    driver, state, keys = make(setup, learner)
    seen = {}

    def update(state, batch, key, axis_name=None):
        jax.debug.callback(lambda batch: seen.update(batch=jax.tree.map(np.array, batch)), batch)
        return ppo.update(state, batch, key, axis_name)

    spying = replace(setup.learner, update=update)
    driver = Stepped(setup.env, setup.bridge, on_policy.rollout_fns(spying, setup.cfg.algo.config))
    state, stats = driver.iterate(driver.start(jax.tree.map(jnp.copy, learner), keys), keys, 7)
    jax.effects_barrier()
    batch = ppo.PpoBatch(*seen["batch"])
    for name in set(ppo.PpoBatch._fields) - {"last_value"}:
        np.testing.assert_array_equal(getattr(batch, name), state.pending.columns[name])
    before = learner.replace(actor_stats=state.learner.actor_stats, critic_stats=state.learner.critic_stats)
    expected, losses = jax.jit(ppo.update)(before, batch, seeding.stream(keys.shared, "update", 7))
    chex.assert_trees_all_close(state.learner.actor.params, expected.actor.params, atol=1e-6)
    assert stats.scalars["Loss/Value"] == pytest.approx(float(losses["Loss/Value"]), rel=1e-4)


def test_nothing_is_read_after_the_simulator_took_it_back(setup, learner):
    """The toy fills what it lent with NaN at its next call; and the state owns its arrays."""
    driver, state, keys = make(setup, learner, seed=1)
    for i in range(3):
        state, stats = driver.iterate(state, keys, i)
        chex.assert_tree_all_finite((state.pending.columns, state.rollout.carry.episodes))
        assert stats.finite
    kept = jax.tree.map(np.array, state.rollout.sim)
    setup.bridge.step(state.rollout.physics, np.zeros((16, toy.JOINTS)))
    chex.assert_trees_all_equal(state.rollout.sim, kept)
    assert np.isfinite(kept.joint_pos).all()


def test_first_observation_follows_one_step_with_zero_action(learner):
    setup = toy.setup(toy.config(num_steps_per_env=HORIZON))
    _, state, _ = make(setup, learner, seed=1, spread_clocks=False)
    assert setup.bridge.calls["step"] == 1
    carry = state.rollout.carry
    np.testing.assert_array_equal(carry.env.clock, 1)
    assert int(carry.step) == int(carry.episodes.lengths.sum()) == int(state.pending.row) == 0
    spread = make(setup, learner, seed=1)[1].rollout.carry.env.clock
    assert len(set(np.asarray(spread).tolist())) > 4


def test_looking_ahead_at_the_last_value_changes_nothing(setup, learner):
    """The value bootstrapped from is that of the observation which the next rollout begins with."""
    seen = []

    def update(state, batch, key, axis_name=None):
        jax.debug.callback(lambda value: seen.append(np.array(value)), batch.last_value)
        return state, {}

    cfg = replace(setup.cfg.algo.config, empirical_normalization=False)
    learner = ppo.init(jax.random.key(0), setup.learner_spec, cfg)
    frozen = replace(setup.learner, update=update)
    driver, keys = Stepped(setup.env, setup.bridge, on_policy.rollout_fns(frozen, cfg)), seeding.keys(2)
    state = driver.start(learner, keys)
    for i in range(2):
        state, _ = driver.iterate(state, keys, i)
    jax.effects_barrier()
    np.testing.assert_allclose(state.pending.columns["value"][0], seen[0], atol=1e-6)
    assert int(state.rollout.carry.step) == 2 * HORIZON


def test_simulator_is_only_called_when_something_is_due(setup, learner):
    driver, state, keys = make(setup, learner, seed=3)
    before, resets = dict(setup.bridge.calls), []
    driver.iterate(state, keys, 0, on_step=lambda info: resets.append(bool(np.asarray(info.reset).any())))
    calls = {name: count - before[name] for name, count in setup.bridge.calls.items()}
    assert calls["reset"] == calls["randomize"] == sum(resets)
    assert calls["step"] == HORIZON
    assert 0 < sum(resets) < HORIZON
    assert 0 < calls["set_root_velocity"] < HORIZON


def test_everything_compiles_once(learner):
    """Two starts, four iterations: each half and the update is one program."""
    setup = toy.setup(toy.config(num_steps_per_env=HORIZON))
    keys = seeding.keys(4)
    driver = Stepped(setup.env, setup.bridge, on_policy.rollout_fns(setup.learner, setup.cfg.algo.config))
    with compilations() as names:
        for _ in range(2):
            state = driver.start(jax.tree.map(jnp.copy, learner), keys)
            for i in range(2):
                state, _ = driver.iterate(state, keys, i)
    ours = [name for name in names if name in ("jit(act)", "jit(process)", "jit(end_rollout)")]
    assert sorted(ours) == ["jit(act)", "jit(end_rollout)", "jit(process)"], names


def test_arrays_that_belong_to_no_device_do_not_compile_it_again(learner, monkeypatch):
    """Simulators hand over uncommitted arrays; what a program or a checkpoint gave is committed."""
    setup = toy.setup(toy.config(num_steps_per_env=4))
    step = setup.bridge.step

    def handing_over(physics, *command):
        physics, sim = step(physics, *command)
        return physics, jax.device_put(jax.tree.map(np.array, sim))

    monkeypatch.setattr(setup.bridge, "step", handing_over)
    driver, state, keys = make(setup, learner)
    with compilations() as names:
        for i in range(2):
            state, _ = driver.iterate(state, keys, i)
    assert sum(name == "jit(act)" for name in names) == 1


def test_same_seed_same_numbers(learner):
    def run(seed: int):
        setup = toy.setup(toy.config(num_steps_per_env=HORIZON))
        driver, state, keys = make(setup, learner, seed)
        return driver.iterate(state, keys, 0)[0].pending.columns

    chex.assert_trees_all_equal(run(1), run(1))
    assert not np.array_equal(run(1)["action"], run(2)["action"])


def test_a_callback_learns_of_a_non_finite_environment(learner):
    setup = toy.setup(poison_at=6)  # the fifth control step: one is taken at the start
    driver, state, keys = make(setup, learner, seed=1)
    seen = []

    def watch(info):
        if info.any_nonfinite:
            seen.append((info.t, np.asarray(info.nonfinite), int(info.history.count)))

    state, stats = driver.iterate(state, keys, 0, on_step=watch)
    ((t, nonfinite, frames),) = seen
    assert (t, frames) == (4, 6)
    np.testing.assert_array_equal(np.flatnonzero(nonfinite), [0])
    columns = state.pending.columns
    np.testing.assert_array_equal(np.argwhere(~np.asarray(columns["valid"])), [[4, 0]])
    assert columns["final_value"][4, 0] == 0.0
    chex.assert_tree_all_finite(columns)
    assert stats.valid == pytest.approx(1 - 1 / (8 * 16))


def test_a_batch_with_a_field_that_nothing_fills_is_refused(setup, learner):
    class Batch(NamedTuple):
        reward: jax.Array
        advantage: jax.Array

    with pytest.raises(ConfigError, match=r"algo.name: .*'ppo' .*'advantage'"):
        make(replace(setup, learner=replace(setup.learner, batch=Batch)), learner)


def test_the_halves_compose_under_scan(setup, learner):
    """As `control_step` says for a traceable bridge; here one whose joints are at once where they are asked."""
    _, state, keys = make(setup, learner)
    fns, env, still = (
        on_policy.rollout_fns(setup.learner, setup.cfg.algo.config),
        setup.env,
        state.rollout.sim,
    )

    def step(values, _):
        learner, pending, carry, sim, history = values
        learner, _, pending, carry, command = control_step.act(
            env, fns.act, learner, None, pending, carry, sim, keys
        )
        sim = still._replace(joint_pos=command.targets)
        pending, carry, history, result = control_step.process_env_step(
            env, fns.process, learner, pending, carry, history, sim, command
        )
        return (learner, pending, carry, sim, history), result.reward

    values = (state.learner, state.pending, state.rollout.carry, still, state.rollout.history)
    values, reward = jax.jit(partial(jax.lax.scan, step, length=HORIZON))(values)
    assert int(values[1].row) == int(values[2].step) == HORIZON
    np.testing.assert_array_equal(values[1].columns["reward"], reward)
