from __future__ import annotations

import gc
import os
import signal
from dataclasses import replace
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges import checks
from holosoma_jax import memory
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.experiment import build
from holosoma_jax.rollout import nan_guard
from holosoma_jax.runs import checkpoint, saved_steps
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.signals import on_signal
from holosoma_jax.training import loop, run_state
from holosoma_jax.training.callbacks import Callback
from holosoma_jax.training.loop import Result
from tests.support import toy
from tests.support.messages import tells
from tests.support.toy import Rows, go


def parameters(result: Result):
    return jax.tree.map(np.array, result.state.learner.actor.params)


def toy_run(steps: int, k: int) -> Config:
    return toy.fast_sac(num_learning_iterations=steps, save_interval=k, save_buffer=True)


def overlapped_run(steps: int, k: int) -> Config:
    return toy.fast_sac(num_learning_iterations=steps, save_interval=k, save_buffer=True, driver="overlapped")


def overlapped_ppo(steps: int, k: int) -> Config:
    return toy.config(num_learning_iterations=steps, save_interval=k, driver="overlapped")


def g1_run(steps: int, k: int) -> Config:
    """The G1 on MuJoCo, as small as it gets."""
    overrides = {
        "training.num_envs": 4,
        "algo.config.num_learning_iterations": steps,
        "algo.config.save_interval": k,
        "algo.config.logging_interval": 4,
        "algo.config.anneal_share": 0.0,  # else the rates of k steps are not those of the first half of 2 k
        "algo.config.save_buffer": True,
        "algo.config.buffer_size": 16,
        "algo.config.batch_size": 16,
        "algo.config.learning_starts": 3,
        "algo.config.actor_hidden_dim": 16,
        "algo.config.critic_hidden_dim": 16,
        "simulator.config.sim.max_episode_length_s": 0.2,
    }
    return compose.load(
        ["exp:g1-29dof-fast-sac-cpu", *(f"--{key}={value}" for key, value in overrides.items())]
    )


@pytest.mark.parametrize(
    ("make", "cfg", "k"),
    [
        pytest.param(toy.setup, toy_run, 8, id="toy-before-the-buffer-is-full", marks=pytest.mark.slow),
        pytest.param(toy.setup, toy_run, 12, id="toy-while-it-wraps", marks=pytest.mark.slow),
        pytest.param(toy.setup, overlapped_run, 12, id="overlapped", marks=pytest.mark.slow),
        pytest.param(toy.setup, overlapped_ppo, 2, id="overlapped-ppo"),
        pytest.param(build, g1_run, 12, id="g1-mujoco", marks=pytest.mark.slow),
    ],
)
def test_k_and_k_steps_are_two_k_with_the_buffer_saved(make, cfg, k, tmp_path):
    """Networks, optimisers, normalisers, buffer, environments, physics, keys and numbers, bit for bit."""
    straight, rows = make(cfg(2 * k, k)), Rows()
    expected = toy.everything(straight, go(straight, tmp_path / "straight", sinks=[rows]).state)

    parts = Rows()
    go(make(cfg(k, k)), tmp_path / "parts", sinks=[parts])
    resumed = make(cfg(2 * k, k))
    found = go(resumed, tmp_path / "parts", tmp_path / "parts" / "checkpoints" / str(k), sinks=[parts])
    chex.assert_trees_all_equal(toy.everything(resumed, found.state), expected)
    assert parts == rows
    assert found.checkpoint == tmp_path / "parts" / "checkpoints" / str(2 * k)


@pytest.mark.slow
def test_without_the_buffer_learning_waits_for_fresh_steps(tmp_path):
    cfg = toy.fast_sac(num_learning_iterations=12, resume_learning_starts=7)
    trained = go(toy.setup(cfg), tmp_path)
    assert "replay" not in checkpoint.read_meta(trained.checkpoint).arrays
    before, updates = parameters(trained), int(trained.state.learner.updates)

    def resumed(steps: int) -> Result:
        cfg = toy.fast_sac(num_learning_iterations=steps, resume_learning_starts=7)
        return go(toy.setup(cfg), tmp_path / str(steps), trained.checkpoint)

    # the step under way when the run was saved is the first that is stored: the eighth comes seven later
    waiting = resumed(19)
    chex.assert_trees_all_equal(parameters(waiting), before)
    assert int(waiting.state.runner.replay.buffer.ptr) == 7
    learning = resumed(20)
    assert int(learning.state.learner.updates) == updates + 1
    assert int(learning.state.runner.replay.buffer.ptr) == 8


@pytest.mark.parametrize("make", [pytest.param(toy.fast_sac, marks=pytest.mark.slow), toy.config])
def test_a_run_may_go_on_with_another_driver(make, tmp_path):
    """What the other one does not keep, a rollout of PPO that is not learned from yet, is dropped."""
    saved, steps = {}, 4
    for driver in ("stepped", "overlapped"):
        cfg = make(num_learning_iterations=steps, save_interval=steps, driver=driver)
        saved[driver] = go(toy.setup(cfg), tmp_path / driver).checkpoint
    for driver, other in (("stepped", "overlapped"), ("overlapped", "stepped")):
        cfg = make(num_learning_iterations=2 * steps, save_interval=steps, driver=driver)
        done = go(toy.setup(cfg), tmp_path / f"{driver} after {other}", saved[other])
        assert done.state.iteration == 2 * steps


@pytest.mark.slow
def test_a_wait_for_fresh_steps_is_not_cut_short_by_saving_the_buffer_meanwhile(tmp_path):
    first = go(toy.setup(toy.fast_sac(num_learning_iterations=12)), tmp_path)
    options = {"resume_learning_starts": 9, "save_buffer": True}
    cfg = toy.fast_sac(num_learning_iterations=17, **options)
    waiting = go(toy.setup(cfg), tmp_path / "second", first.checkpoint)
    _, state = run_state.create_or_restore(toy.setup(toy.fast_sac(**options)), waiting.checkpoint)
    assert (int(state.runner.replay.learning_starts), int(state.runner.replay.buffer.ptr)) == (9, 5)


def test_a_new_run_takes_over_the_learner_and_waits_for_its_own_steps(tmp_path):
    trained = go(toy.setup(toy.fast_sac(num_learning_iterations=12)), tmp_path)
    setup = toy.setup(toy.fast_sac(num_envs=8, resume_learning_starts=9))
    _, state = run_state.create_or_restore(setup, warm=trained.checkpoint)
    chex.assert_trees_all_equal(*(x.learner.replace(hyper=None) for x in (state, trained.state)))
    assert int(state.learner.updates) > 0
    assert (
        state.iteration,
        int(state.runner.replay.learning_starts),
        int(state.runner.replay.buffer.ptr),
    ) == (0, 9, 0)
    with pytest.raises(ConfigError, match=r"'fast_sac', .*'ppo'"):
        run_state.create_or_restore(toy.setup(toy.config()), warm=trained.checkpoint)


def test_a_new_run_says_that_other_joint_ranges_stretch_its_actions(tmp_path, caplog):
    trained = go(toy.setup(toy.fast_sac(num_learning_iterations=12)), tmp_path)
    setup = toy.setup(toy.fast_sac())
    run_state.create_or_restore(setup, warm=trained.checkpoint)
    assert "stretch" not in caplog.text
    robot = replace(setup.robot, joint_upper=2 * setup.robot.joint_upper)
    run_state.create_or_restore(replace(setup, robot=robot), warm=trained.checkpoint)
    before, now = setup.robot.action_reach[0], robot.action_reach[0]
    assert f"'joint_0' reach {now:g} instead of {before:g}" in caplog.text


def test_a_changed_buffer_does_not_fit_a_saved_one(tmp_path):
    cfg = toy.fast_sac(num_learning_iterations=4, save_buffer=True)
    saved = go(toy.setup(cfg), tmp_path).checkpoint
    with pytest.raises(ConfigError, match=r"'buffer/data/actor_obs' .*\[16, 16, 13\]"):
        run_state.create_or_restore(toy.setup(toy.fast_sac(buffer_size=8)), saved)


@pytest.mark.slow
def test_half_precision_buffer_is_saved_and_restored(tmp_path):
    def cfg(steps: int) -> Config:
        return toy.fast_sac(num_learning_iterations=steps, save_buffer=True, buffer_dtype="bfloat16")

    saved = go(toy.setup(cfg(8)), tmp_path)
    _, state = run_state.create_or_restore(toy.setup(cfg(16)), saved.checkpoint)
    assert state.runner.replay.buffer.data.actor_obs.dtype == jnp.bfloat16
    chex.assert_trees_all_equal(state.runner.replay, saved.state.runner.replay)


def test_same_seed_same_run(tmp_path):
    first, again, other = Rows(), Rows(), Rows()
    cfg = toy.fast_sac(num_learning_iterations=8)
    go(toy.setup(cfg), tmp_path / "a", sinks=[first])
    go(toy.setup(cfg), tmp_path / "b", sinks=[again])
    go(toy.setup(replace(cfg, training=replace(cfg.training, seed=4))), tmp_path / "c", sinks=[other])
    assert first == again
    assert first != other


def test_clocks_start_at_random_unless_told_otherwise():
    def ages(**changes) -> set[int]:
        _, state = run_state.create_or_restore(toy.setup(toy.fast_sac(**changes)))
        return set(np.asarray(state.runner.rollout.carry.env.clock).tolist())

    assert len(ages()) > 4
    assert ages(init_at_random_ep_len=False) == {1}


@pytest.mark.slow
def test_learns(tmp_path):
    """The toy's reward is 1 - |q - command|: the mean over an episode of 21 steps rises clearly."""
    rows = Rows()
    cfg = toy.fast_sac(
        num_learning_iterations=400,
        save_interval=1000,
        logging_interval=40,
        num_updates=4,
        batch_size=128,
        buffer_size=64,
        actor_learning_rate=1e-3,
        critic_learning_rate=1e-3,
        gamma=0.9,
    )
    go(toy.setup(cfg), tmp_path, sinks=[rows])
    reward = [scalars["Train/mean_reward"] for _, scalars in rows]
    assert reward[-1] > reward[1] + 2.0, reward


def test_numbers_have_the_documented_names_from_the_first_line_on(tmp_path):
    rows = Rows()
    result = go(toy.setup(toy.fast_sac(num_learning_iterations=8, learning_starts=5)), tmp_path, sinks=[rows])
    assert {"Perf/total_fps", "Perf/collection_time", "Perf/learning_time", "Perf/physics_time"} <= set(
        result.scalars
    )
    always = {"Train/mean_reward", "Train/mean_episode_length", "Train/num_samples", "Loss/env_rewards"}
    always |= {"Episode/rew_track", "Env/difficulty", "Env/nonfinite"}
    losses = {"actor_loss", "qf_loss", "qf_max", "qf_min", "actor_grad_norm", "critic_grad_norm"}
    losses |= {"buffer_rewards", "alpha_loss", "alpha_value", "policy_entropy", "action_std"}
    (first, waiting), (second, learning) = rows
    assert (first, second) == (4, 8)
    assert set(waiting) == always  # nothing was learned yet, and it is logged all the same
    assert set(learning) == always | {f"Loss/{name}" for name in losses}
    assert [scalars["Train/num_samples"] for _, scalars in rows] == [64, 128]


def test_logs_at_intervals_and_with_every_checkpoint_and_saves_at_the_end(tmp_path):
    rows, told = Rows(), list[tuple[str, int]]()

    class Told(Callback):
        def on_iteration_start(self, iteration):
            told.append(("iteration", iteration))

        def on_step(self, info):
            told.append(("step", info.t))

        def on_checkpoint(self, iteration, learner):
            told.append(("checkpoint", iteration))

    cfg = toy.fast_sac(num_learning_iterations=9, save_interval=6, logging_interval=4)
    result = go(toy.setup(cfg), tmp_path, sinks=[rows], callbacks=[Told()])
    assert [step for step, _ in rows] == [4, 6, 8, 9]
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["6", "9"]
    assert [at for what, at in told if what == "checkpoint"] == [6, 9]
    assert [at for what, at in told if what == "iteration"] == list(range(9))
    assert [at for what, at in told if what == "step"] == [0, 1, 2, 3, 0, 1, 0, 1, 0]
    meta = checkpoint.read_meta(result.checkpoint)
    assert (meta.step, meta.robot, meta.num_envs) == (9, "toy", 16)
    assert 0 < meta.elapsed_s == result.state.elapsed


@pytest.mark.usefixtures("default_signals")
def test_signal_ends_the_step_and_saves(tmp_path, messages):
    class SignalAtTwo(Callback):
        def on_iteration_start(self, iteration):
            if iteration == 2:
                os.kill(os.getpid(), signal.SIGINT)

    rows = Rows()
    with on_signal(messages.append) as stop:
        cfg = toy.fast_sac(num_learning_iterations=50, logging_interval=20)
        result = go(toy.setup(cfg), tmp_path, sinks=[rows], callbacks=[SignalAtTwo()], stop=stop)
    assert result.state.iteration in (2, 3)
    assert result.checkpoint == tmp_path / "checkpoints" / str(result.state.iteration)
    assert [step for step, _ in rows] == [result.state.iteration]
    assert sum("and the first step done" in line for line in messages) == 1


def test_non_finite_environment_is_isolated_and_reported(tmp_path, messages):
    rows = Rows()
    cfg = toy.fast_sac(num_learning_iterations=12)
    result = go(toy.setup(cfg, poison_at=7), tmp_path, sinks=[rows])
    assert result.state.iteration == 12
    assert [scalars["Env/nonfinite"] for _, scalars in rows] == [0, 1 / 4, 0]
    report = tmp_path / "nonfinite" / "5.npz"  # one control step is taken at the start
    assert sum(str(report) in line and "environments 0; joint_pos" in line for line in messages) == 1
    with np.load(report) as arrays:
        assert np.isnan(arrays["joint_pos"][-1]).all()


def test_non_finite_learner_stops_and_the_good_checkpoint_stays(tmp_path):
    setup = toy.setup(toy.fast_sac(num_learning_iterations=8))
    driver, state = run_state.create_or_restore(setup)
    good = loop.train(setup, driver, state, RunDir(tmp_path))
    learner = good.state.learner
    sick = learner.replace(log_alpha=learner.log_alpha.replace(params=jnp.float32(jnp.nan)))
    sick = good.state._replace(runner=good.state.runner._replace(learner=sick))
    longer = replace(setup, cfg=toy.fast_sac(num_learning_iterations=20, save_interval=1, logging_interval=1))
    with pytest.raises(nan_guard.NonFiniteError, match=r"iteration 9 .*learner-9.npz"):
        loop.train(longer, driver, sick, RunDir(tmp_path))
    assert saved_steps.latest(tmp_path / "checkpoints") == good.checkpoint
    with np.load(tmp_path / "nonfinite" / "learner-9.npz") as report:
        assert report["next_critic_obs"].shape == (16, 13)


@pytest.mark.parametrize("check", [True, False])
def test_a_learner_that_breaks_within_a_stretch_never_reaches_the_simulator(check, tmp_path):
    """Simulators refuse targets that are not finite; the run ends with a report, not with their error."""
    setup = toy.setup(toy.fast_sac(num_learning_iterations=16, logging_interval=8, check_finite=check))
    post_step = setup.env.post_step

    def spoilt(state, sim):
        state, result = post_step(state, sim)
        return state, result._replace(reward=jnp.where(result.episode_length == 6, jnp.nan, result.reward))

    setup = replace(setup, bridge=Refusing(setup.bridge), env=setup.env._replace(post_step=spoilt))
    with pytest.raises(nan_guard.NonFiniteError, match=r"'reward' .*finite"):
        go(setup, tmp_path)
    assert list((tmp_path / "nonfinite").glob("learner-*.npz"))


class Refusing:
    """A bridge that takes finite targets only."""

    def __init__(self, bridge):
        self._bridge = bridge

    def __getattr__(self, name):
        return getattr(self._bridge, name)

    def step(self, physics, targets, torque_offset=None):
        checks.finite("targets", np.asarray(targets))
        return self._bridge.step(physics, targets, torque_offset)


def test_a_buffer_that_cannot_fit_is_refused_before_it_is_made(monkeypatch, messages):
    monkeypatch.setattr(memory, "available", lambda device: 10_000_000)
    cfg = toy.fast_sac(buffer_size=10_000)
    with pytest.raises(ConfigError) as error:
        run_state.create_or_restore(toy.setup(cfg))
    # 160,000 rows of four observations of 13 numbers, 3 actions, a reward and three flags
    assert len(messages) == 1
    assert tells(messages[0], "Replay buffer: 0.04 GB ... 10000 ... 16 environments ... float32")
    text = str(error.value)
    assert "\n" not in text
    assert tells(text, "0.04 GB ... cpu:0 ... 0.01 GB ... --algo.config.buffer-size ")
    fitting = int(text.split("buffer-size ")[1].split(",")[0])
    run_state.create_or_restore(toy.setup(toy.fast_sac(buffer_size=fitting)))


def test_coefficients_are_those_of_the_resuming_config(tmp_path):
    saved = go(toy.setup(toy.fast_sac(num_learning_iterations=4)), tmp_path).checkpoint
    _, state = run_state.create_or_restore(toy.setup(toy.fast_sac(tau=0.5)), saved)
    assert float(state.learner.hyper.tau) == 0.5
    assert state.iteration == 4
    _, state = run_state.create_or_restore(toy.setup(toy.fast_sac(critic_learning_rate=0.125)), saved)
    assert float(state.learner.critics.lr) == 0.125
    assert float(state.learner.actor.lr) == pytest.approx(3e-4)


def live_arrays() -> int:
    gc.collect()
    return len(jax.live_arrays())


@pytest.mark.slow
@pytest.mark.parametrize("steps", [100, 10_000])
def test_memory_does_not_grow(steps, tmp_path):
    """As many arrays live late in a run as early in it, and no more of the process' memory is used."""
    pages = Path("/proc/self/statm")  # Linux's; elsewhere only arrays are counted
    counts, resident = list[int](), list[int]()

    class Count:
        def write(self, step, scalars):
            counts.append(live_arrays())
            if pages.exists():
                resident.append(int(pages.read_text().split()[1]) * os.sysconf("SC_PAGESIZE"))

    cfg = toy.fast_sac(num_learning_iterations=steps, logging_interval=steps // 10, save_interval=steps)
    go(toy.setup(cfg), tmp_path, sinks=[Count()])
    assert len(counts) == 10
    assert max(counts[1:]) == min(counts[1:])
    if steps == 10_000 and resident:
        assert min(resident[-3:]) - max(resident[1:4]) < 20e6, resident
