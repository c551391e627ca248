from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn import ppo
from holosoma_jax.rollout import metrics, seeding
from holosoma_jax.rollout.control_step import respond
from holosoma_jax.rollout.on_policy_steps import Algorithm, Stepped, decide, judge
from tests.support import toy

HORIZON = 24


@pytest.fixture(scope="module")
def setup():
    return toy.setup()


@pytest.fixture(scope="module")
def learner(setup):
    return ppo.init(jax.random.key(0), setup.learner, setup.cfg.algo.config)


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
    root, driver = seeding.root(5), Stepped(setup.env, setup.bridge, HORIZON)
    collected = driver.collect(learner, driver.start(learner, root), root)

    other = toy.setup()
    carry, physics, sim, _ = Stepped(other.env, other.bridge, HORIZON).start(learner, root)
    first = jax.jit(partial(decide, other.env, Algorithm()))
    second = jax.jit(partial(judge, other.env, Algorithm()))
    rows = []
    for _ in range(HORIZON):
        learner, state, decision, asked = first(learner, carry.env, carry.step, sim, root)
        carry = carry.replace(env=state)
        jax.block_until_ready(decision)
        physics, sim = other.bridge.step(physics, *asked)
        carry, outcome, result = jax.block_until_ready(second(learner, carry, sim))
        # `judge` values final observations under a condition; here it is done for all
        final = ppo.value(learner, result.final_obs["critic_obs"])
        np.testing.assert_allclose(outcome.final_value, jnp.where(result.truncated, final, 0.0), atol=1e-6)
        physics, sim = respond(other.bridge, physics, sim, result.reset, True, True)
        rows.append({**decision._asdict(), **outcome._asdict()})
    stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    assert stacked["truncated"].any()
    assert stacked["terminated"].any()
    for name, expected in stacked.items():
        np.testing.assert_allclose(getattr(collected.batch, name), expected, atol=2e-5, err_msg=name)
    means = metrics.averages(collected.window)
    ends = (stacked["truncated"] | stacked["terminated"]).sum()
    assert int(collected.world.carry.episodes.finished) == ends
    ended_rewards = stacked["reward"][stacked["truncated"] | stacked["terminated"]]
    assert means["Episode/rew_track"] == pytest.approx(ended_rewards.mean(), abs=1e-5)


def test_nothing_is_read_after_the_simulator_took_it_back(setup, learner):
    """The toy fills what it lent with NaN at its next call; and `World` owns its arrays."""
    root, driver = seeding.root(1), Stepped(setup.env, setup.bridge, HORIZON)
    world = driver.start(learner, root)
    for _ in range(3):
        learner, world, batch, _, _ = driver.collect(learner, world, root)
        chex.assert_tree_all_finite((batch, learner.replace(hyper=None), world.carry.episodes))
    kept = jax.tree.map(np.array, world.sim)
    setup.bridge.step(world.physics, np.zeros((16, toy.JOINTS)))
    chex.assert_trees_all_equal(world.sim, kept)
    assert np.isfinite(kept.joint_pos).all()


def test_first_observation_follows_one_step_with_zero_action(learner):
    setup = toy.setup()
    driver = Stepped(setup.env, setup.bridge, HORIZON)
    world = driver.start(learner, seeding.root(1), spread_clocks=False)
    assert setup.bridge.calls["step"] == 1
    np.testing.assert_array_equal(world.carry.env.clock, 1)
    assert int(world.carry.step) == 0
    assert int(world.carry.episodes.lengths.sum()) == 0
    spread = driver.start(learner, seeding.root(1)).carry.env.clock
    assert len(set(np.asarray(spread).tolist())) > 4


def test_looking_ahead_at_the_last_value_changes_nothing(setup):
    """The value bootstrapped from is that of the observation which the next rollout begins with."""
    cfg = toy.config(empirical_normalization=False)
    learner = ppo.init(jax.random.key(0), setup.learner, cfg.algo.config)
    root, driver = seeding.root(2), Stepped(setup.env, setup.bridge, HORIZON)
    first = driver.collect(learner, driver.start(learner, root), root)
    last_value = np.array(first.batch.last_value)
    second = driver.collect(first.learner, first.world, root)
    np.testing.assert_allclose(second.batch.value[0], last_value, atol=1e-6)
    assert int(second.world.carry.step) == 2 * HORIZON


def test_simulator_is_only_called_when_something_is_due(setup, learner):
    root, driver = seeding.root(3), Stepped(setup.env, setup.bridge, HORIZON)
    world = driver.start(learner, root)
    before, seen = dict(setup.bridge.calls), []
    driver.collect(learner, world, root, lambda s: seen.append((s.reset.mask.any(), s.reset.push_mask.any())))
    resets, pushes = (sum(map(bool, column)) for column in zip(*seen, strict=True))
    calls = {name: count - before[name] for name, count in setup.bridge.calls.items()}
    assert calls == {"reset": resets, "randomize": resets, "step": HORIZON, "set_root_velocity": pushes}
    assert 0 < resets < HORIZON


def test_everything_compiles_once(learner):
    """Two starts, four rollouts, two updates in between: each half is one program."""
    setup = toy.setup()
    driver, root = Stepped(setup.env, setup.bridge, HORIZON), seeding.root(4)
    update = jax.jit(chex.assert_max_traces(ppo.update, n=1), donate_argnums=0)
    learner = jax.tree.map(jnp.copy, learner)
    with compilations() as names:
        for _ in range(2):
            world = driver.start(learner, root)
            for i in range(2):
                learner, world, batch, _, _ = driver.collect(learner, world, root)
                learner, _ = update(learner, batch, seeding.stream(root, "update", i))
    ours = [name for name in names if any(part in name for part in ("_into", "finish", "storage", "update"))]
    assert sorted(ours) == sorted(set(ours))
    assert len(ours) == 5


def test_arrays_that_belong_to_no_device_do_not_compile_it_again(learner, monkeypatch):
    """Simulators hand over uncommitted arrays; what a program or a checkpoint gave is committed."""
    setup = toy.setup()
    step = setup.bridge.step

    def handing_over(physics, *asked):
        physics, sim = step(physics, *asked)
        return physics, jax.device_put(jax.tree.map(np.array, sim))

    monkeypatch.setattr(setup.bridge, "step", handing_over)
    driver, root = Stepped(setup.env, setup.bridge, 4), seeding.root(4)
    world = driver.start(learner, root)
    with compilations() as names:
        for _ in range(2):
            learner, world, *_ = driver.collect(learner, world, root)
    assert sum("decide_into" in name for name in names) == 1


def test_same_seed_same_numbers(learner):
    def run(seed: int):
        setup = toy.setup()
        driver, root = Stepped(setup.env, setup.bridge, HORIZON), seeding.root(seed)
        return driver.collect(learner, driver.start(learner, root), root).batch

    chex.assert_trees_all_equal(run(1), run(1))
    assert not np.array_equal(run(1).action, run(2).action)


def test_onlooker_learns_of_a_non_finite_environment(learner):
    setup = toy.setup(poison_at=6)  # the fifth control step: one is taken at the start
    driver, root = Stepped(setup.env, setup.bridge, 8), seeding.root(1)
    seen = []

    def watch(step):
        if step.nonfinite:
            seen.append((step.t, np.asarray(step.bad), int(step.history.count)))

    batch = driver.collect(learner, driver.start(learner, root), root, watch).batch
    ((t, bad, frames),) = seen
    assert (t, frames) == (4, 6)
    np.testing.assert_array_equal(np.flatnonzero(bad), [0])
    np.testing.assert_array_equal(np.argwhere(~np.asarray(batch.valid)), [[4, 0]])
    assert batch.final_value[4, 0] == 0.0
    chex.assert_tree_all_finite(batch)
