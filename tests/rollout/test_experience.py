from __future__ import annotations

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn import fast_sac, replay
from holosoma_jax.learn.replay import Transition
from holosoma_jax.rollout import experience, metrics
from holosoma_jax.rollout.control_step import respond
from holosoma_jax.rollout.experience import Algorithm, Experience, Keys, judge, learn_and_decide
from holosoma_jax.rollout.stepped_off_policy import Stepped
from tests.rollout.test_rollout import compilations
from tests.support import toy

STEPS = 30
KEYS = experience.keys(5)


@pytest.fixture(scope="module")
def cfg():
    return toy.fast_sac(buffer_size=STEPS + 5)


@pytest.fixture(scope="module")
def learner(cfg):
    return fast_sac.init(jax.random.key(0), toy.setup(cfg).learner, cfg.algo.fast_sac)


def begin(cfg, learner, wait: int | None = None, keys: Keys = KEYS, **kwargs):
    """(setup, driver, a learner that may be used up, world, experience) before the first control step."""
    setup, algo = toy.setup(cfg, **kwargs), cfg.algo.fast_sac
    driver = Stepped(setup.env, setup.bridge, experience.algorithm(algo))
    stored = replay.init(algo, setup.learner, 16)
    wait = algo.learning_starts if wait is None else wait
    world, past = driver.start(learner, stored, keys, wait=wait)
    return setup, driver, jax.tree.map(jnp.copy, learner), world, past


def test_compiled_halves_agree_with_the_plain_loop(cfg, learner):
    """The driver against a transcription of the control step without donation or flags."""
    _, driver, acting, world, past = begin(cfg, learner)
    found = driver.advance(acting, past, world, STEPS, KEYS)

    setup, _, acting, world, past = begin(cfg, learner)
    algorithm = experience.algorithm(cfg.algo.fast_sac)
    first, second = (
        jax.jit(partial(learn_and_decide, setup.env, algorithm)),
        jax.jit(partial(judge, setup.env)),
    )
    carry, physics, sim, _ = world
    for _ in range(STEPS):
        acting, stored, carry, decision, asked = jax.block_until_ready(first(acting, past, carry, sim, KEYS))
        physics, sim = setup.bridge.step(physics, *asked)
        carry, pending, result = jax.block_until_ready(second(decision, carry, sim))
        past = past.replace(replay=stored, pending=pending)
        physics, sim = respond(setup.bridge, physics, sim, result.reset, True, True)
    chex.assert_trees_all_close(found.experience, past, atol=2e-5)
    chex.assert_trees_all_close(found.learner, acting, atol=2e-5)
    chex.assert_trees_all_close(found.world.carry.episodes, carry.episodes, atol=2e-4)


def test_the_buffer_holds_what_happened(cfg, learner):
    """Row t: what was seen and done at t, its reward, and what came of it: before the reset if cut."""
    setup, _, _, world, past = begin(cfg, learner)
    env, seen = setup.env, list[Transition]()
    algorithm = Algorithm(
        act=lambda learner, obs, key: (
            jax.random.uniform(key, (16, toy.JOINTS), minval=-1.6, maxval=1.6),
            (),
        ),
        update=lambda learner, batch, key, axis_name: (learner, {}),
        write=replay.write,
        sample=partial(replay.sample, cfg=cfg.algo.fast_sac),
    )
    first, second = jax.jit(partial(learn_and_decide, env, algorithm)), jax.jit(partial(judge, env))
    observe, post_step = jax.jit(env.observe), jax.jit(env.post_step)
    carry, physics, sim, _ = world
    for _ in range(STEPS + 1):
        obs = jax.tree.map(np.array, observe(carry.env, sim)[1])
        if seen:  # of environments whose clock ran out, this is another episode
            cut = np.asarray(seen[-1].truncated)[:, None]
            after = {k: np.where(cut, getattr(seen[-1], f"next_{k}"), obs[k]) for k in obs}
            seen[-1] = seen[-1]._replace(**{f"next_{k}": after[k] for k in obs})
        _, stored, carry, decision, asked = jax.block_until_ready(first(None, past, carry, sim, KEYS))
        physics, sim = setup.bridge.step(physics, *asked)
        _, result = post_step(carry.env, sim)
        final = {f"next_{k}": np.array(v) for k, v in result.final_obs.items()}
        judged = {k: np.array(getattr(result, k)) for k in ("reward", "terminated", "truncated")}
        done = {"action": np.array(decision.action), "valid": ~np.array(result.nonfinite)}
        seen.append(Transition(**obs, **done, **judged, **final))
        carry, pending, result = jax.block_until_ready(second(decision, carry, sim))
        past = past.replace(replay=stored, pending=pending)
        physics, sim = respond(setup.bridge, physics, sim, result.reset, True, True)
    expected = Transition(*(np.stack(rows) for rows in zip(*seen[:-1], strict=True)))
    assert int(past.replay.ptr) == STEPS
    found = jax.tree.map(lambda x: np.asarray(x[:STEPS]), past.replay.data)
    assert expected.terminated.any()
    assert (expected.truncated & ~expected.terminated).any()
    after = {"next_actor_obs", "next_critic_obs"}
    going = ~expected.terminated  # nothing follows a failure, and nobody looks
    for name, rows in expected._asdict().items():
        ours = getattr(found, name)
        rows, ours = (rows[going], ours[going]) if name in after else (rows, ours)
        np.testing.assert_allclose(ours, rows, atol=1e-5, err_msg=name)
    # the observation after a cut is not that of the next episode, which starts with clean actions
    cut = np.argwhere(expected.truncated & ~expected.terminated)
    cut = cut[cut[:, 0] < STEPS - 1]
    assert all(np.abs(found.next_critic_obs[t, n] - found.critic_obs[t + 1, n]).max() > 0.1 for t, n in cut)


@pytest.mark.parametrize("wait", [0, 3])
def test_learning_starts_when_more_than_so_many_transitions_are_stored(cfg, learner, wait):
    _, driver, acting, world, past = begin(cfg, learner, wait)
    updates, stored, names = [], [], []
    for _ in range(6):
        done = driver.advance(acting, past, world, 1, KEYS)
        acting, past, world = done.learner, done.experience, done.world
        updates.append(int(acting.updates))
        stored.append(int(past.replay.ptr))
        names.append("Loss/qf_loss" in metrics.averages(done.window))
    assert stored == [0, 1, 2, 3, 4, 5]  # the last control step waits for its successor
    learned = [count > wait for count in stored]
    assert updates == np.cumsum(learned).tolist()
    assert names == learned


def test_nothing_is_read_after_the_simulator_took_it_back(cfg, learner):
    """The toy fills what it lent with NaN at its next call; and `World` owns its arrays."""
    setup, driver, acting, world, past = begin(cfg, learner)
    for _ in range(3):
        done = driver.advance(acting, past, world, 10, KEYS)
        acting, past, world = done.learner, done.experience, done.world
        chex.assert_tree_all_finite((past.replay.data, past.pending, world.carry.episodes))
        assert bool(done.finite)
    kept = jax.tree.map(np.array, world.sim)
    setup.bridge.step(world.physics, np.zeros((16, toy.JOINTS)))
    chex.assert_trees_all_equal(world.sim, kept)


def test_a_non_finite_environment_leaves_no_trace(cfg, learner):
    _, driver, acting, world, past = begin(cfg, learner, poison_at=6)  # one step is taken at the start
    seen = []
    done = driver.advance(acting, past, world, 12, KEYS, lambda s: seen.append(s.t) if s.nonfinite else None)
    assert seen == [4]
    data = done.experience.replay.data
    np.testing.assert_array_equal(np.argwhere(~np.asarray(data.valid[:11])), [[4, 0]])
    chex.assert_tree_all_finite(data)
    assert bool(done.finite)
    valid = done.window[experience.VALID]
    assert float(valid.total / valid.weight) == pytest.approx(1 - 1 / (12 * 16))


def test_stretches_add_up(cfg, learner):
    """Ten control steps are four and six, bit for bit; whoever asks can end a stretch early."""
    _, driver, acting, world, past = begin(cfg, learner)
    whole = driver.advance(acting, past, world, 10, KEYS)
    _, driver, acting, world, past = begin(cfg, learner)
    asked = []
    part = driver.advance(acting, past, world, 10, KEYS, go_on=lambda taken: asked.append(taken) or taken < 4)
    assert (part.steps, asked) == (4, [0, 1, 2, 3, 4])
    rest = driver.advance(part.learner, part.experience, part.world, 6, KEYS)
    host = partial(jax.tree.map, np.array)
    chex.assert_trees_all_equal(host(rest.learner), host(whole.learner))
    chex.assert_trees_all_equal(host(rest.experience), host(whole.experience))
    assert (
        driver.advance(rest.learner, rest.experience, rest.world, 3, KEYS, go_on=lambda _: False).steps == 1
    )


def test_everything_compiles_once(cfg, learner):
    _, driver, acting, world, past = begin(cfg, learner)
    with compilations() as names:
        for _ in range(4):
            done = driver.advance(acting, past, world, 6, KEYS)
            acting, past, world = done.learner, done.experience, done.world
    ours = [name for name in names if any(part in name for part in ("_into", "finish"))]
    assert len(ours) == len(set(ours)) == 2  # `judge_into` was compiled at the start


def test_simulator_is_only_called_when_something_is_due(cfg, learner):
    setup, driver, acting, world, past = begin(cfg, learner)
    before, seen = dict(setup.bridge.calls), []
    driver.advance(
        acting, past, world, 12, KEYS, lambda s: seen.append((s.reset.mask.any(), s.reset.push_mask.any()))
    )
    resets, pushes = (sum(map(bool, column)) for column in zip(*seen, strict=True))
    calls = {name: count - before[name] for name, count in setup.bridge.calls.items()}
    assert calls == {"reset": resets, "randomize": resets, "step": 12, "set_root_velocity": pushes}
    assert 0 < resets < 12


def test_the_pieces_compose_under_scan(cfg, learner):
    """As the module says for a traceable bridge; here one whose joints are at once where they are asked."""
    setup, _, acting, world, past = begin(cfg, learner)
    algorithm, env, still = experience.algorithm(cfg.algo.fast_sac), setup.env, world.sim

    def control_step(values, _):
        learner, past, carry, sim = values
        learner, stored, carry, decision, asked = learn_and_decide(
            env, algorithm, learner, past, carry, sim, KEYS
        )
        sim = still._replace(joint_pos=asked.targets)
        carry, pending, result = judge(env, decision, carry, sim)
        return (learner, Experience(stored, pending, past.wait), carry, sim), result.reward

    @jax.jit
    def steps(learner, past, carry, sim):
        return jax.lax.scan(control_step, (learner, past, carry, sim), length=12)

    (acting, past, _, _), reward = steps(acting, past, world.carry, world.sim)
    assert int(past.replay.ptr) == 11
    assert int(acting.updates) == 12 - 1 - cfg.algo.fast_sac.learning_starts
    assert reward.shape == (12, 16)
    np.testing.assert_array_equal(past.replay.data.reward[:11], reward[:11])
