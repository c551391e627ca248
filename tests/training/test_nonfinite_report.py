from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import SimState
from holosoma_jax.rollout import nan_guard
from holosoma_jax.rollout.nan_guard import DEPTH, NonFiniteError
from holosoma_jax.training.nonfinite_report import MAX_REPORTS, NonFiniteReporter
from tests.support.messages import tells


def state_at(step: int, envs: int = 3) -> SimState:
    """A state whose joint angles say which step and environment they are of."""
    zeros = jnp.zeros((envs, 3))
    joints = jnp.full((envs, 2), float(step)) + 0.1 * jnp.arange(float(envs))[:, None]
    return SimState(*[zeros] * 4, joints, *[zeros] * 6)


def history_of(steps: int) -> nan_guard.History:
    remember = jax.jit(nan_guard.remember)
    state = nan_guard.history(state_at(0), jnp.zeros((3, 2)))
    for step in range(steps):
        state = remember(state, state_at(step), jnp.full((3, 2), -float(step)))
    return state


@pytest.mark.parametrize("steps", [2, DEPTH, DEPTH + 3])
def test_report_holds_the_last_states_in_order(tmp_path: Path, steps: int, messages):
    NonFiniteReporter(tmp_path / "nonfinite").environments(jnp.array([0, 1, 1], bool), history_of(steps), 40)
    with np.load(tmp_path / "nonfinite" / "40.npz") as report:
        np.testing.assert_array_equal(report["env_ids"], [1, 2])
        last = np.arange(max(0, steps - DEPTH), steps)
        np.testing.assert_allclose(report["joint_pos"][:, 0, 0], last + 0.1, rtol=1e-6)
        np.testing.assert_allclose(report["targets"][:, 1, 0], -last)
        assert report["root_quat"].shape[:2] == (len(last), 2)
    assert tells(messages[0], "2 environment(s) ... step 40 (environments 1, 2;")
    assert str(tmp_path / "nonfinite" / "40.npz") in messages[0]


def test_report_names_the_arrays(tmp_path: Path, messages):
    sim = state_at(0)._replace(joint_vel=jnp.full((3, 3), jnp.nan))
    state = nan_guard.remember(nan_guard.history(sim, jnp.zeros((3, 2))), sim, jnp.zeros((3, 2)))
    NonFiniteReporter(tmp_path).environments(jnp.ones(3, bool), state, 1)
    assert "(environments 0, 1, 2; joint_vel)" in messages[0]


def test_reports_are_throttled(tmp_path: Path, messages):
    watch = NonFiniteReporter(tmp_path)
    for step in range(20):
        watch.environments(jnp.array([True, False, False]), history_of(1), step)
    assert len(messages) == len(list(tmp_path.iterdir())) == MAX_REPORTS
    assert "only counted" in messages[-1]
    assert "only counted" not in messages[0]


def test_report_that_cannot_be_written_is_logged_and_survived(tmp_path: Path, messages):
    (tmp_path / "file").write_text("")
    NonFiniteReporter(tmp_path / "file").environments(jnp.array([True, False, False]), history_of(1), 3)
    assert "could not write the report" in messages[0]
    assert "became non-finite" in messages[1]


def batch_of(envs: int, **changes: np.ndarray) -> dict[str, np.ndarray]:
    """Four control steps of `envs` environments."""
    plain = {name: np.zeros((envs, 4), np.float32) for name in ("reward", "valid", "value")}
    wide = {name: np.zeros((envs, 4, 2), np.float32) for name in ("actor_obs", "action")}
    return plain | wide | {"last_value": np.zeros(envs, np.float32)} | changes


def test_learner_report_names_parameters_losses_and_environments(tmp_path: Path):
    reward = np.zeros((30, 4), np.float32)
    reward[17, 2] = np.inf
    learner = {"actor": {"kernel": jnp.array([1.0, jnp.nan]), "bias": jnp.zeros(2)}, "step": jnp.int32(3)}
    with pytest.raises(NonFiniteError) as error:
        NonFiniteReporter(tmp_path).learner(
            {"Loss/Value": np.nan, "Loss/KL": 0.1}, learner, batch_of(30, reward=reward), 9
        )
    text = str(error.value)
    assert tells(text, "iteration 9 ... actor/kernel, Loss/Value)")
    assert str(tmp_path / "learner-9.npz") in text
    with np.load(tmp_path / "learner-9.npz") as report:
        np.testing.assert_array_equal(report["env_ids"], [17])
        np.testing.assert_array_equal(report["nonfinite_parameters"], ["actor/kernel"])
        np.testing.assert_array_equal(report["reward"][0], reward[17])
        assert report["actor_obs"].shape == (1, 4, 2)


def test_the_term_that_was_not_finite_is_blamed_before_the_learning_rate(tmp_path: Path):
    def said(numbers: dict[str, float], **changes: np.ndarray) -> str:
        with pytest.raises(NonFiniteError) as error:
            NonFiniteReporter(tmp_path).learner(numbers, {"w": jnp.zeros(1)}, batch_of(3, **changes), 2)
        return str(error.value)

    bad, valid = np.full((3, 4), np.nan, np.float32), np.ones((3, 4), bool)
    with pytest.raises(NonFiniteError, match=r"reward 'pose' \(environment 1\)"):
        NonFiniteReporter(tmp_path).learner(
            {"Loss/KL": np.nan}, {"w": jnp.zeros(1)}, batch_of(3), 2, ["reward 'pose' (environment 1)"]
        )
    named = {"Episode/rew_pose": np.nan, "PerSecond/rew_pose": np.nan, "Loss/KL": np.nan}
    assert "term pose (environments 0, 1, 2)" in said(named, reward=bad, valid=valid)
    assert "'reward' of a sound simulator state" in said({}, reward=bad, valid=valid)
    assert "Lower the learning rate" in said({"Loss/KL": np.nan}, reward=bad, valid=~valid)  # placeholders


def test_learner_report_without_a_culprit_keeps_some_environments(tmp_path: Path):
    with pytest.raises(NonFiniteError):
        NonFiniteReporter(tmp_path).learner({"Loss/KL": np.inf}, {"w": jnp.zeros(1)}, batch_of(30), 2)
    with np.load(tmp_path / "learner-2.npz") as report:
        np.testing.assert_array_equal(report["env_ids"], np.arange(nan_guard.MAX_ENVS))


def test_a_broken_simulator_stops_the_run(tmp_path: Path):
    watch = NonFiniteReporter(tmp_path)
    watch.simulator(0.5)
    with pytest.raises(NonFiniteError, match=r"80%.*simulator states"):
        watch.simulator(0.8)


def test_finite_looks_at_floating_point_leaves_only():
    tree = {"a": jnp.ones(3), "n": jnp.int32(2), "key": jax.random.key(0)}
    assert bool(nan_guard.finite(tree))
    assert not bool(nan_guard.finite(tree | {"b": jnp.array([1.0, jnp.inf])}))
    assert nan_guard.nonfinite_leaves({"x": {"y": jnp.array(jnp.nan)}, **tree}) == ["x/y"]
