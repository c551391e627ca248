from __future__ import annotations

from dataclasses import replace
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn import fast_sac, replay
from holosoma_jax.learn.replay import Transition
from holosoma_jax.rollout import control_step, off_policy, seeding
from holosoma_jax.rollout.control_step import apply_resets
from holosoma_jax.rollout.off_policy import ReplayState
from holosoma_jax.rollout.stepped import Stepped
from tests.rollout.test_on_policy import compilations
from tests.support import toy

STEPS = 30
KEYS = seeding.keys(5)


@pytest.fixture(scope="module")
def cfg():
    return toy.fast_sac(buffer_size=STEPS + 5)


@pytest.fixture(scope="module")
def learner(cfg):
    return fast_sac.init(jax.random.key(0), toy.setup(cfg).learner_spec, cfg.algo.fast_sac)


def begin(cfg, learner, starts: int | None = None, **kwargs):
    """(setup, driver, state before the first control step); `learner` is not used up."""
    setup, algo = toy.setup(cfg, **kwargs), cfg.algo.fast_sac
    driver = Stepped(setup.env, setup.bridge, off_policy.rollout_fns(setup.learner, algo))
    starts = algo.learning_starts if starts is None else starts
    empty = ReplayState(replay.init(algo, setup.learner_spec, 16), jnp.int32(starts))
    return setup, driver, driver.start(jax.tree.map(jnp.copy, learner), KEYS, replay=empty)


def halves(setup, fns):
    """Both halves of a control step, plainly compiled."""
    first = jax.jit(partial(control_step.act, setup.env, fns.act))
    return first, jax.jit(partial(control_step.process_env_step, setup.env, fns.process))


@pytest.mark.slow
def test_compiled_halves_agree_with_the_plain_loop(cfg, learner):
    """The driver against the control step without donation or flags."""
    _, driver, state = begin(cfg, learner)
    found, _ = driver.iterate(state, KEYS, 0, STEPS)

    setup, driver, state = begin(cfg, learner)
    first, second = halves(setup, driver.fns)
    acting, stored, pending, (carry, physics, sim, history) = state
    for _ in range(STEPS):
        acting, stored, pending, carry, command = jax.block_until_ready(
            first(acting, stored, pending, carry, sim, KEYS)
        )
        physics, sim = setup.bridge.step(physics, *command)
        pending, carry, history, result = jax.block_until_ready(
            second(acting, pending, carry, history, sim, command)
        )
        physics, sim = apply_resets(setup.bridge, physics, sim, result.reset, True, True)
    chex.assert_trees_all_close((found.replay, found.pending), (stored, pending), atol=2e-5)
    chex.assert_trees_all_close(found.learner, acting, atol=2e-5)
    chex.assert_trees_all_close(found.rollout.carry.episodes, carry.episodes, atol=2e-4)


def test_the_buffer_holds_what_happened(cfg, learner):
    """Row t: what was seen and done at t, its reward, and what came of it: before the reset if cut."""
    setup, _, state = begin(cfg, learner, jump_every=9)
    random_learner = replace(
        setup.learner,
        act=lambda state, obs, key: (jax.random.uniform(key, (16, toy.JOINTS), minval=-1.6, maxval=1.6), ()),
        update=lambda state, batch, key, axis_name: (state, {}),
    )
    first, second = halves(setup, off_policy.rollout_fns(random_learner, cfg.algo.fast_sac))
    observe, post_step = jax.jit(setup.env.observe), jax.jit(setup.env.post_step)
    acting, stored, pending, (carry, physics, sim, history) = state
    seen, jumps = list[Transition](), 0
    for _ in range(STEPS + 1):
        obs = jax.tree.map(np.array, observe(carry.env, sim)[1])
        if seen:  # of environments whose clock ran out, this is another episode
            cut = np.asarray(seen[-1].truncated)[:, None]
            after = {k: np.where(cut, getattr(seen[-1], f"next_{k}"), obs[k]) for k in obs}
            seen[-1] = seen[-1]._replace(**{f"next_{k}": after[k] for k in obs})
        acting, stored, pending, carry, command = jax.block_until_ready(
            first(acting, stored, pending, carry, sim, KEYS)
        )
        physics, sim = setup.bridge.step(physics, *command)
        _, result = post_step(carry.env, sim)
        final = {f"next_{k}": np.array(v) for k, v in result.final_obs.items()}
        ends = {k: np.array(getattr(result, k)) for k in ("reward", "terminated")}
        ends["truncated"] = np.array(result.truncated | result.jumped)
        jumps += int(result.jumped.sum())
        done = {"action": np.array(pending.action), "valid": ~np.array(result.nonfinite)}
        seen.append(Transition(**obs, **done, **ends, **final))
        pending, carry, history, result = jax.block_until_ready(
            second(acting, pending, carry, history, sim, command)
        )
        physics, sim = apply_resets(setup.bridge, physics, sim, result.reset, True, True)
    expected = Transition(*(np.stack(rows) for rows in zip(*seen[:-1], strict=True)))
    assert int(stored.buffer.ptr) == STEPS
    found = jax.tree.map(lambda x: np.asarray(x[:STEPS]), stored.buffer.data)
    assert expected.terminated.any() and jumps > 0
    assert (expected.truncated & ~expected.terminated).any()
    after = {"next_actor_obs", "next_critic_obs"}
    going = ~expected.terminated  # nothing follows a failure, and nobody looks
    for name, rows in expected._asdict().items():
        ours = getattr(found, name)
        rows, ours = (rows[going], ours[going]) if name in after else (rows, ours)
        np.testing.assert_allclose(ours, rows, atol=1e-5, err_msg=name)
    # the observation after a cut or a jump is not that of the place where it continues, which starts with clean actions
    cut = np.argwhere(expected.truncated & ~expected.terminated)
    cut = cut[cut[:, 0] < STEPS - 1]
    assert all(np.abs(found.next_critic_obs[t, n] - found.critic_obs[t + 1, n]).max() > 0.1 for t, n in cut)


@pytest.mark.parametrize("starts", [0, 3])
def test_learning_starts_when_more_than_so_many_transitions_are_stored(cfg, learner, starts):
    _, driver, state = begin(cfg, learner, starts)
    updates, stored, names = [], [], []
    for i in range(6):
        state, stats = driver.iterate(state, KEYS, i)
        updates.append(int(state.learner.updates))
        stored.append(int(state.replay.buffer.ptr))
        names.append("Loss/qf_loss" in stats.scalars)
    assert stored == [0, 1, 2, 3, 4, 5]  # the last control step waits for its successor
    learned = [count > starts for count in stored]
    assert updates == np.cumsum(learned).tolist()
    assert names == learned


def test_nothing_is_read_after_the_simulator_took_it_back(cfg, learner):
    """The toy fills what it lent with NaN at its next call; and the state owns its arrays."""
    setup, driver, state = begin(cfg, learner)
    for i in range(3):
        state, stats = driver.iterate(state, KEYS, 10 * i, 10)
        chex.assert_tree_all_finite((state.replay.buffer.data, state.pending, state.rollout.carry.episodes))
        assert stats.finite
    kept = jax.tree.map(np.array, state.rollout.sim)
    setup.bridge.step(state.rollout.physics, np.zeros((16, toy.JOINTS)))
    chex.assert_trees_all_equal(state.rollout.sim, kept)


def test_a_non_finite_environment_leaves_no_trace(cfg, learner):
    _, driver, state = begin(cfg, learner, poison_at=6)  # one step is taken at the start
    seen = []
    state, stats = driver.iterate(
        state, KEYS, 0, 12, on_step=lambda info: seen.append(info.t) if info.any_nonfinite else None
    )
    assert seen == [4]
    data = state.replay.buffer.data
    np.testing.assert_array_equal(np.argwhere(~np.asarray(data.valid[:11])), [[4, 0]])
    chex.assert_tree_all_finite(data)
    assert stats.finite
    assert stats.valid == pytest.approx(1 - 1 / (12 * 16))


@pytest.mark.slow
def test_iterations_add_up(cfg, learner):
    """Ten control steps are four and six, bit for bit; a callback can end them early."""
    _, driver, state = begin(cfg, learner)
    whole, _ = driver.iterate(state, KEYS, 0, 10)
    _, driver, state = begin(cfg, learner)
    asked = []
    part, stats = driver.iterate(state, KEYS, 0, 10, on_iteration=lambda i: asked.append(i) or i < 4)
    assert (stats.iterations, asked) == (4, [0, 1, 2, 3, 4])
    rest, _ = driver.iterate(part, KEYS, 4, 6)
    host = partial(jax.tree.map, np.array)
    chex.assert_trees_all_equal(host(rest[:3]), host(whole[:3]))
    assert driver.iterate(rest, KEYS, 10, 3, on_iteration=lambda _: False)[1].iterations == 1


def test_everything_compiles_once(cfg, learner):
    _, driver, state = begin(cfg, learner)
    with compilations() as names:
        for i in range(4):
            state, _ = driver.iterate(state, KEYS, 6 * i, 6)
    ours = [name for name in names if name in ("jit(act)", "jit(process)", "jit(end_rollout)")]
    assert sorted(ours) == ["jit(act)", "jit(end_rollout)"]  # `process` was compiled at the start


def test_simulator_is_only_called_when_something_is_due(cfg, learner):
    setup, driver, state = begin(cfg, learner)
    before, resets = dict(setup.bridge.calls), []
    driver.iterate(state, KEYS, 0, 12, on_step=lambda info: resets.append(bool(np.asarray(info.reset).any())))
    calls = {name: count - before[name] for name, count in setup.bridge.calls.items()}
    assert calls["reset"] == calls["randomize"] == sum(resets)
    assert calls["step"] == 12
    assert 0 < sum(resets) < 12


@pytest.mark.slow
def test_the_halves_compose_under_scan(cfg, learner):
    """As `control_step` says for a traceable bridge; here one whose joints are at once where they are asked."""
    setup, driver, state = begin(cfg, learner)
    fns, env, still = driver.fns, setup.env, state.rollout.sim

    def step(values, _):
        learner, stored, pending, carry, sim, history = values
        learner, stored, pending, carry, command = control_step.act(
            env, fns.act, learner, stored, pending, carry, sim, KEYS
        )
        sim = still._replace(joint_pos=command.targets)
        pending, carry, history, result = control_step.process_env_step(
            env, fns.process, learner, pending, carry, history, sim, command
        )
        return (learner, stored, pending, carry, sim, history), result.reward

    values = (*state[:3], state.rollout.carry, still, state.rollout.history)
    values, reward = jax.jit(partial(jax.lax.scan, step, length=12))(values)
    stored = values[1].buffer
    assert int(stored.ptr) == 11
    assert int(values[0].updates) == 12 - 1 - cfg.algo.fast_sac.learning_starts
    assert reward.shape == (12, 16)
    np.testing.assert_array_equal(stored.data.reward[:11], reward[:11])
