from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn import fast_sac, ppo
from holosoma_jax.rollout import control_step, nan_guard, off_policy, on_policy, seeding
from holosoma_jax.rollout.control_step import apply_resets
from holosoma_jax.rollout.overlapped import Overlapped
from holosoma_jax.rollout.stepped import Stepped
from tests.support import toy

KEYS = seeding.keys(5)
PPO = toy.config(num_steps_per_env=12)
SAC = toy.fast_sac(buffer_size=40)


def begin(driver, cfg, setup=None):
    """(setup, driver, state before the first iteration)."""
    setup = setup or toy.setup(cfg)
    algo, init = cfg.algo.config, fast_sac.init if cfg is SAC else ppo.init
    learner = init(jax.random.key(0), setup.learner_spec, algo)
    rollout_fns = off_policy.rollout_fns if cfg is SAC else on_policy.rollout_fns
    made, replay = driver(setup.env, setup.bridge, rollout_fns(setup.learner, algo)), None
    if cfg is SAC:
        buffer = setup.learner.replay.init(algo, setup.learner_spec, 16)
        replay = off_policy.ReplayState(buffer, jnp.int32(algo.learning_starts))
    return setup, made, made.start(learner, KEYS, replay=replay)


def host(tree):
    return jax.tree.map(np.array, tree)


def test_ppo_learns_from_a_rollout_what_stepped_learns_from_it_one_iteration_later():
    _, stepped, state = begin(Stepped, PPO)
    state, first = stepped.iterate(state, KEYS, 0)
    expected = host(state.learner)

    _, overlapped, state = begin(Overlapped, PPO)
    untouched = host(state.learner.actor.params)
    state, nothing = overlapped.iterate(state, KEYS, 0)
    chex.assert_trees_all_equal(host(state.learner.actor.params), untouched)
    assert not any(name.startswith("Loss/") for name in nothing.scalars)
    seen = host(state.learner.actor_stats)
    state, second = overlapped.iterate(state, KEYS, 1)
    chex.assert_trees_all_close(host(state.learner.actor), expected.actor, atol=1e-6)
    chex.assert_trees_all_close(host(state.learner.critic), expected.critic, atol=1e-6)
    losses = {name: x for name, x in first.scalars.items() if name.startswith("Loss/")}
    assert losses
    assert {name: second.scalars[name] for name in losses} == pytest.approx(losses, rel=1e-4, abs=1e-6)
    # what the second rollout saw is in the statistics too, though the update began without them
    assert float(state.learner.actor_stats.count) == 2 * float(seen.count)


@pytest.mark.slow
def test_fast_sac_acts_with_parameters_one_step_old():
    """Against a plain loop: act, learn, simulate, one after the other."""
    _, driver, state = begin(Overlapped, SAC)
    steps = 20
    found, stats = driver.iterate(state, KEYS, 0, steps)
    assert (stats.iterations, stats.control_steps) == (steps, steps)

    setup, driver, state = begin(Overlapped, SAC)
    fns = off_policy.rollout_fns(setup.learner, SAC.algo.config)
    act = jax.jit(partial(control_step.act, setup.env, fns.lagged.act))
    learn = jax.jit(lambda *args: fns.lagged.learn(*args, None))
    process = jax.jit(partial(control_step.process_env_step, setup.env, fns.process))
    observe = jax.jit(lambda state, sim: setup.env.observe(state, sim)[1])
    learner, replay, (last, _), (carry, physics, sim, history) = state
    for _ in range(steps):
        obs, step = observe(carry.env, sim), carry.step
        acting, done = learner, last
        _, _, last, carry, command = act(acting, None, last, carry, sim, KEYS)
        learner, replay, _, _ = learn(acting, replay, done, obs, step, KEYS)
        jax.block_until_ready((command, learner))
        physics, sim = setup.bridge.step(physics, *command)
        last, carry, history, result = jax.block_until_ready(
            process(acting, last, carry, history, sim, command)
        )
        physics, sim = apply_resets(setup.bridge, physics, sim, result.reset, True, True)
    assert int(learner.updates) == steps - 1 - SAC.algo.config.learning_starts
    chex.assert_trees_all_close(found.learner, learner, atol=2e-5)
    chex.assert_trees_all_close((found.replay, found.pending.full), (replay, last), atol=2e-5)

    _, stepped, other = begin(Stepped, SAC)
    other, _ = stepped.iterate(other, KEYS, 0, steps)  # which acts with the parameters of the same step
    moved = other.replay.buffer.data.action - found.replay.buffer.data.action
    first = 1 + SAC.algo.config.learning_starts
    assert np.abs(moved[:first]).max() == 0.0
    assert np.abs(moved[first : steps - 1]).max() > 1e-4


@pytest.mark.parametrize("cfg", [PPO, SAC], ids=["ppo", "fast_sac"])
def test_neither_a_slow_simulator_nor_a_quick_one_changes_a_bit(cfg):
    def run(wait: float):
        setup = toy.setup(cfg)
        step = setup.bridge.step

        def slow(*args):
            time.sleep(wait)
            return step(*args)

        object.__setattr__(setup.bridge, "step", slow)
        _, driver, state = begin(Overlapped, cfg, setup)
        for i in range(3):
            state, _ = driver.iterate(state, KEYS, i * (4 if cfg is SAC else 1), 4 if cfg is SAC else 1)
        return host((state.learner, state.pending.full, state.rollout.sim))

    chex.assert_trees_all_equal(run(0.0), run(0.004))


def refuse_nan(setup):
    """As the bridges do."""
    step = setup.bridge.step

    def checked(physics, targets, *rest):
        if not np.isfinite(targets).all():
            raise ValueError("targets")
        return step(physics, targets, *rest)

    object.__setattr__(setup.bridge, "step", checked)
    return setup


def test_a_learner_that_is_no_longer_finite_is_reported_not_simulated():
    setup = refuse_nan(toy.setup(SAC))
    spoil = lambda state, batch, key, axis: (  # noqa: E731
        state.replace(
            actor=state.actor.replace(params=jax.tree.map(lambda x: x * jnp.nan, state.actor.params))
        ),
        {},
    )
    setup = replace(setup, learner=replace(setup.learner, update=spoil))
    _, driver, state = begin(Overlapped, SAC, setup)
    state, stats = driver.iterate(state, KEYS, 0, 12)
    assert not stats.finite
    assert (
        stats.iterations == 2 + SAC.algo.config.learning_starts
    )  # the first that acts with it is not simulated
    assert driver.report(state.pending)["action"].shape == (16, toy.JOINTS)


def test_actions_that_are_not_finite_are_refused_with_the_cause():
    setup = refuse_nan(toy.setup(SAC))
    act = lambda state, obs, key: (jnp.full((16, toy.JOINTS), jnp.nan), ())  # noqa: E731
    setup = replace(setup, learner=replace(setup.learner, act=act))
    _, driver, state = begin(Overlapped, SAC, setup)
    with pytest.raises(nan_guard.NonFiniteError, match=r"actions.*finite"):
        driver.iterate(state, KEYS, 0, 4)
