from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from bridges import checks
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
from tests.support import toy
from tests.support.toy import Rows, go


def real() -> Config:
    """The G1 on MuJoCo, as small as it gets."""
    overrides = {
        "training.num_envs": 4,
        "algo.config.num_steps_per_env": 6,
        "algo.config.num_mini_batches": 2,
        "algo.config.num_learning_epochs": 2,
        "algo.config.actor_hidden": [16],
        "algo.config.critic_hidden": [16],
        "algo.config.empirical_normalization": True,
        "simulator.config.sim.max_episode_length_s": 0.2,
    }
    return compose.load(["exp:g1-29dof-cpu", *(f"--{key}={value}" for key, value in overrides.items())])


@pytest.mark.parametrize(
    ("make", "cfg"),
    [
        pytest.param(toy.setup, toy.config, id="toy"),
        pytest.param(build, real, id="g1-mujoco", marks=pytest.mark.slow),
    ],
)
def test_k_and_k_iterations_are_two_k(make, cfg, tmp_path):
    """Parameters, optimisers, normalisers, environments, physics, keys and numbers, bit for bit."""

    def spending(iterations: int) -> Config:
        algo = replace(cfg().algo.config, num_learning_iterations=iterations, save_interval=2)
        return replace(cfg(), algo=replace(cfg().algo, config=algo))

    straight, rows = make(spending(4)), Rows()
    expected = toy.everything(straight, go(straight, tmp_path / "straight", sinks=[rows]).state)

    parts = Rows()
    go(make(spending(2)), tmp_path / "parts", sinks=[parts])
    resumed = make(spending(4))
    found = go(resumed, tmp_path / "parts", tmp_path / "parts" / "checkpoints" / "2", sinks=[parts])
    chex.assert_trees_all_equal(toy.everything(resumed, found.state), expected)
    assert parts == rows
    assert [step for step, _ in rows] == [1, 2, 3, 4]
    assert found.checkpoint == tmp_path / "parts" / "checkpoints" / "4"


def test_same_seed_same_run(tmp_path):
    first, again, other = Rows(), Rows(), Rows()
    go(toy.setup(), tmp_path / "a", sinks=[first])
    go(toy.setup(), tmp_path / "b", sinks=[again])
    go(toy.setup(toy.config(seed=4)), tmp_path / "c", sinks=[other])
    assert first == again
    assert first != other


def test_learns(tmp_path):
    """The toy's reward is 1 - |q - command|: the mean over an episode of 21 steps rises clearly."""
    rows = Rows()
    cfg = toy.config(num_learning_iterations=200, save_interval=1000, entropy_coef=0.0)
    go(toy.setup(cfg), tmp_path, sinks=[rows])
    reward = [scalars["Train/mean_reward"] for _, scalars in rows]
    length = [scalars["Train/mean_episode_length"] for _, scalars in rows]
    assert np.mean(reward[-10:]) > np.mean(reward[10:20]) + 2.0
    assert np.mean(length[10:20]) < 19.0 < np.mean(length[-10:])


def test_numbers_have_the_documented_names(tmp_path):
    rows = Rows()
    result = go(toy.setup(), tmp_path, sinks=[rows])
    assert {"Perf/total_fps", "Perf/collection_time", "Perf/learning_time", "Perf/physics_time"} <= set(
        result.scalars
    )
    step, scalars = rows[-1]
    assert scalars["Train/num_samples"] == step * 16 * 8
    named = {"Train/mean_reward", "Train/mean_episode_length", "Policy/mean_noise_std", "Episode/rew_track"}
    losses = {"Loss/Value", "Loss/Surrogate", "Loss/Entropy", "Loss/KL", "Loss/actor_learning_rate"}
    assert named | losses | {"Env/difficulty", "Env/nonfinite"} <= set(scalars)
    assert all(name.split("/")[0] in ("Train", "Loss", "Policy", "Episode", "Env") for name in scalars)


def test_saves_at_intervals_and_at_the_end(tmp_path):
    cfg = toy.config(num_learning_iterations=5, save_interval=2)
    saved: list[int] = []

    class Saved(Callback):
        def on_checkpoint(self, iteration, learner):
            saved.append(iteration)

    result = go(toy.setup(cfg), tmp_path, callbacks=[Saved()])
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["2", "4", "5"]
    assert saved == [2, 4, 5]
    meta = checkpoint.read_meta(result.checkpoint)
    assert (meta.step, meta.robot, meta.simulator, meta.num_envs, meta.seed) == (5, "toy", "toy", 16, 3)
    assert compose.from_mapping(meta.config) == cfg
    assert 0 < meta.elapsed_s == result.state.elapsed
    assert not any(
        "metrics_buffer" in name for name in meta.arrays["env"]
    )  # a new metric spoils no checkpoint


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_iteration_and_saves(number, tmp_path):
    said: list[str] = []

    class SignalAtTwo:
        def write(self, step, scalars):
            if step == 2:
                os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with on_signal(said.append) as stop:
        cfg = toy.config(num_learning_iterations=50, save_interval=100)
        result = go(toy.setup(cfg), tmp_path, sinks=[SignalAtTwo()], stop=stop)
        assert signal.getsignal(number) == signal.SIG_DFL  # the next one ends the process
    assert signal.getsignal(number) == before
    assert stop.exit_code == 128 + number
    assert result.state.iteration <= 3
    assert result.checkpoint == tmp_path / "checkpoints" / str(result.state.iteration)
    assert any("stopping after this iteration" in line for line in said)


def test_failed_save_is_logged_and_the_next_one_made(tmp_path, messages):
    blocked = tmp_path / "checkpoints"
    blocked.write_text("in the way")

    class UnblockAtThree:
        def write(self, step, scalars):
            if step == 3:
                blocked.unlink()

    cfg = toy.config(num_learning_iterations=3, save_interval=1)
    result = go(toy.setup(cfg), tmp_path, sinks=[UnblockAtThree()])
    assert sum(line.startswith("WARNING: could not write checkpoint") for line in messages) == 2
    assert not result.unsaved
    assert result.checkpoint == blocked / "3"


def test_last_save_that_failed_is_reported(tmp_path):
    (tmp_path / "checkpoints").write_text("in the way")
    result = go(toy.setup(toy.config(num_learning_iterations=1)), tmp_path)
    assert result.unsaved
    assert result.checkpoint is None


def test_non_finite_environment_is_isolated_and_reported(tmp_path, messages):
    rows = Rows()
    cfg = toy.config(num_learning_iterations=3)
    result = go(toy.setup(cfg, poison_at=6), tmp_path, sinks=[rows])
    assert result.state.iteration == 3
    assert rows[0][1]["Env/nonfinite"] == 1 / 8  # one environment at one of eight control steps
    assert rows[1][1]["Env/nonfinite"] == 0
    report = tmp_path / "nonfinite" / "4.npz"
    assert sum(str(report) in line and "environments 0; joint_pos" in line for line in messages) == 1
    with np.load(report) as arrays:
        assert np.isnan(arrays["joint_pos"][-1]).all()
        assert np.isfinite(arrays["joint_pos"][:-1]).all()


def test_non_finite_learner_stops_and_the_good_checkpoint_stays(tmp_path):
    cfg = toy.config(num_learning_iterations=2)
    setup = toy.setup(cfg)
    driver, state = run_state.create_or_restore(setup)
    good = loop.train(setup, driver, state, RunDir(tmp_path))
    actor = good.state.learner.actor
    actor = actor.replace(params=actor.params._replace(std=actor.params.std.at[0].set(jnp.nan)))
    sick = good.state.runner._replace(learner=good.state.learner.replace(actor=actor))
    longer = replace(setup, cfg=toy.config(num_learning_iterations=4, save_interval=1))
    with pytest.raises(nan_guard.NonFiniteError, match=r"iteration 3 .*learner-3.npz"):
        loop.train(longer, driver, good.state._replace(runner=sick), RunDir(tmp_path))
    assert saved_steps.latest(tmp_path / "checkpoints") == good.checkpoint
    assert (tmp_path / "nonfinite" / "learner-3.npz").exists()


def test_an_observation_that_is_not_finite_is_named_before_it_reaches_the_simulator(tmp_path):
    setup = toy.setup(toy.config())
    observe, step = setup.env.observe, setup.bridge.step

    def spoilt(state, sim):
        state, obs = observe(state, sim)
        return state, {name: jnp.where(state.clock[:, None] == 6, jnp.nan, x) for name, x in obs.items()}

    setup.bridge.step = lambda physics, targets, offset=None: step(physics, refused(targets), offset)
    with pytest.raises(nan_guard.NonFiniteError, match=r"got actions .*observation 'obs' of actor_obs"):
        go(replace(setup, env=setup.env._replace(observe=spoilt)), tmp_path)


def test_where_only_the_action_is_not_finite_nothing_else_is_blamed(tmp_path):
    setup = toy.setup(toy.config())
    pre_step, step = setup.env.pre_step, setup.bridge.step

    def spoilt(state, *args):
        state, command = pre_step(state, *args)
        return state, command._replace(targets=jnp.where(state.clock[:, None] == 6, jnp.nan, command.targets))

    setup.bridge.step = lambda physics, targets, offset=None: step(physics, refused(targets), offset)
    with pytest.raises(nan_guard.NonFiniteError, match="got actions") as caught:
        go(replace(setup, env=setup.env._replace(pre_step=spoilt)), tmp_path)
    assert "first of these" not in str(caught.value) and "nothing" not in str(caught.value)


def refused(targets):
    return checks.finite("targets", np.asarray(targets))


def test_checkpoint_of_another_run_is_refused(tmp_path):
    saved = go(toy.setup(toy.config(num_learning_iterations=1)), tmp_path).checkpoint
    with pytest.raises(ConfigError, match=r"'toy', .*'other'"):
        run_state.create_or_restore(toy.setup(robot="other"), saved)
    with pytest.raises(ConfigError, match=r"\b16 environments, .*\b8\. .*--training.num-envs 16"):
        run_state.create_or_restore(toy.setup(toy.config(num_envs=8)), saved)
    with pytest.raises(ConfigError, match=r"learner 'actor/params/mlp/Dense_0/bias' is float32\[16\]"):
        run_state.create_or_restore(toy.setup(toy.config(actor_hidden=(32,))), saved)


def test_coefficients_are_those_of_the_resuming_config(tmp_path):
    saved = go(toy.setup(toy.config(num_learning_iterations=1)), tmp_path).checkpoint
    _, state = run_state.create_or_restore(toy.setup(toy.config(entropy_coef=0.125)), saved)
    assert float(state.learner.hyper.entropy_coef) == 0.125
    assert state.iteration == 1


def test_learning_rates_go_on_unless_the_config_gives_others(tmp_path):
    trained = go(toy.setup(toy.config(num_learning_iterations=2)), tmp_path)
    left = float(trained.state.learner.actor.lr)

    def rates(**changes) -> list[float]:
        learner = run_state.create_or_restore(toy.setup(toy.config(**changes)), trained.checkpoint)[1].learner
        return [float(learner.actor.lr), float(learner.critic.lr)]

    assert left != pytest.approx(1e-3)  # the KL rule has moved it
    assert rates() == [left, left]
    assert rates(actor_learning_rate=2e-4) == [pytest.approx(2e-4), left]
    assert rates(schedule="fixed") == [pytest.approx(1e-3)] * 2
    low, high = 1.1 * left, 0.9 * left
    bounds = {"min_critic_learning_rate": low} if low < 1e-3 else {"max_critic_learning_rate": high}
    assert rates(**bounds) == [left, pytest.approx(next(iter(bounds.values())))]


def test_samples_are_counted_over_sessions_of_different_horizons(tmp_path):
    rows = Rows()
    saved = go(toy.setup(toy.config(num_learning_iterations=1)), tmp_path, sinks=[rows]).checkpoint
    other = toy.config(num_learning_iterations=3, num_steps_per_env=4)
    go(toy.setup(other), tmp_path, saved, sinks=[rows])
    assert [scalars["Train/num_samples"] for _, scalars in rows] == [16 * 8, 16 * 12, 16 * 16]


def test_optimizer_can_be_left_behind(tmp_path):
    trained = go(toy.setup(toy.config(num_learning_iterations=2)), tmp_path)
    _, state = run_state.create_or_restore(toy.setup(toy.config(load_optimizer=False)), trained.checkpoint)
    assert float(state.learner.actor.lr) == pytest.approx(1e-3)
    chex.assert_trees_all_equal(state.learner.actor.params, trained.state.learner.actor.params)


def test_a_new_run_takes_over_learner_and_curriculum(tmp_path):
    trained = go(toy.setup(toy.config(num_learning_iterations=3)), tmp_path)
    setup = toy.setup(toy.config(num_envs=8, entropy_coef=0.125))
    _, state = run_state.create_or_restore(setup, warm=trained.checkpoint)
    assert (state.iteration, state.elapsed, int(state.runner.rollout.carry.step)) == (0, 0.0, 0)
    assert float(state.learner.hyper.entropy_coef) == 0.125
    chex.assert_trees_all_equal(*(x.learner.replace(hyper=None) for x in (state, trained.state)))
    env, before = state.runner.rollout.carry.env, trained.state.runner.rollout.carry.env
    assert env.clock.shape == (8,)
    assert float(env.difficulty) == float(before.difficulty) > 0.0
    with pytest.raises(ConfigError, match=r"'toy', .*'other'"):
        run_state.create_or_restore(toy.setup(robot="other"), warm=trained.checkpoint)
    with pytest.raises(ConfigError, match=r"learner 'actor/params/mlp/Dense_0/bias' is float32\[16\]"):
        run_state.create_or_restore(toy.setup(toy.config(actor_hidden=(32,))), warm=trained.checkpoint)


def test_metrics_are_plain_numbers(tmp_path):
    rows = Rows()
    go(toy.setup(toy.config(num_learning_iterations=1)), tmp_path, sinks=[rows])
    assert json.loads(json.dumps(rows[0][1])) == rows[0][1]
