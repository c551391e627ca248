"""Evaluations of the real G1 in MuJoCo: what is asked, what is kept through a fall, what repeats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax import experiment, rotations
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.envs.perturbations import apply_perturbations
from holosoma_jax.evaluation import evaluate, perturbations
from holosoma_jax.experiment import Setup
from holosoma_jax.policy.policies import Policy
from holosoma_jax.rollout.state import StepInfo
from tests.envs.test_overrides import make_robot

ENVS = 3
WALK = jnp.array([[0.5, 0.0, 0.2], [0.0, 0.3, 0.0], [0.0, 0.0, 0.0]])
BASE = ["exp:g1-29dof", "terrain:terrain-locomotion-plane", f"--training.num-envs={ENVS}"]


def trained(*arguments: str) -> Config:
    return compose.load([*BASE, *arguments])


@pytest.fixture(scope="module")
def clean() -> Iterator[Setup]:
    parts = experiment.build(apply_perturbations(trained(), perturbations.MODES["clean"]), evaluation=True)
    yield parts
    parts.bridge.close()


class Watched:
    """A policy of one action for every joint, 0: the default pose; keeps what it was shown."""

    def __init__(self, action: float = 0.0):
        self.seen: list[np.ndarray] = []
        self.action = action

    def __call__(self, obs: jax.Array) -> np.ndarray:
        self.seen.append(np.asarray(obs))
        return np.full((obs.shape[0], 29), self.action, np.float32)

    @property
    def commands(self) -> np.ndarray:
        """[steps, E, 3] forward, left, yaw rate."""
        return np.stack(self.seen)[:, :, [33, 34, 32]]  # the observation lists the yaw rate first

    @property
    def phases(self) -> np.ndarray:
        """[steps, E, 2] cosines of the gait phases."""
        return np.stack(self.seen)[:, :, 35:37]


def test_the_policy_is_told_the_command_from_the_first_step_and_through_falls(
    clean: Setup, key: jax.Array
) -> None:
    watched = Watched(action=3.0)  # joint targets far off: the robot falls
    heights: list[np.ndarray] = []
    first: list[np.ndarray] = []

    def on_step(info: StepInfo) -> None:
        heights.append(np.array(info.sim.root_pos[:, 2]))
        first.append(np.asarray(info.pending.first))

    result = evaluate.run(clean, Policy("flail", watched), WALK, 120, key, on_step)
    np.testing.assert_allclose(watched.commands, np.broadcast_to(WALK, (120, ENVS, 3)), rtol=1e-6)
    assert result.falls >= ENVS and result.survival_rate == 0.0
    assert 0.0 < result.episode_length_s < 120 * 0.02
    assert all(value is not None for value in result.later.values())
    assert len(heights) == 120 and np.min(heights) < 0.6 < np.max(heights)
    assert np.mean(np.sum(first, axis=0)) * 0.02 == pytest.approx(result.episode_length_s)


def test_walking_runs_the_gait_clock_and_standing_stops_it(clean: Setup, key: jax.Array) -> None:
    watched = Watched()
    evaluate.run(clean, Policy("still", watched), WALK, 10, key)
    # 1 Hz from (0, -pi): after t steps of 0.02 s the left phase is 2 pi 0.02 t; the third one stands.
    left = np.cos(2.0 * np.pi * 0.02 * np.arange(10))
    np.testing.assert_allclose(watched.phases[:, 0, 0], left, atol=1e-5)
    np.testing.assert_allclose(watched.phases[:, 0, 1], -left, atol=1e-5)
    np.testing.assert_allclose(watched.phases[:, 2], -1.0, atol=1e-5)


def test_a_policy_that_is_not_finite_is_named(clean: Setup, key: jax.Array) -> None:
    with pytest.raises(ConfigError, match=r"broken: .*action.*step 0"):
        evaluate.run(clean, Policy("broken", Watched(action=np.nan)), WALK, 3, key)


@pytest.mark.slow
def test_the_same_key_gives_the_same_scores_and_another_does_not(clean: Setup) -> None:
    def scores(seed: int) -> object:
        return evaluate.run(clean, Policy("still", Watched()), WALK, 15, jax.random.key(seed))

    first = scores(1)
    assert scores(1) == first
    assert scores(2) != first


def test_tracking_reward_follows_from_the_states(clean: Setup, key: jax.Array) -> None:
    # holosoma's kernel, weight * exp(-|v - command|^2 / 0.25), from the states that the run hands out.
    errors: list[np.ndarray] = []

    def on_step(info: StepInfo) -> None:
        sim = info.sim
        velocity = np.array(rotations.rotate_inverse(sim.root_quat, sim.root_lin_vel))
        errors.append(np.linalg.norm(velocity[:, :2] - WALK[:, :2], axis=-1))

    result = evaluate.run(clean, Policy("still", Watched()), WALK, 5, key, on_step)
    assert result.survival_rate == 1.0 and result.episode_length_s == pytest.approx(0.1)
    assert result.first["lin_vel_error"] == pytest.approx(np.mean(errors), rel=1e-5)
    terms = clean.cfg.reward.terms
    expected = terms["tracking_lin_vel"].weight * np.mean(np.exp(-np.square(errors) / 0.25))
    assert result.rewards_per_second["tracking_lin_vel"] == pytest.approx(expected, rel=1e-4)
    assert result.rewards_per_second["alive"] == pytest.approx(terms["alive"].weight, rel=1e-5)


@pytest.mark.slow
def test_pushes_happen_where_they_are_switched_on(key: jax.Array) -> None:
    push = "--randomization.setup-terms.push-randomizer-state.params.push-interval-s=[0.1,0.1]"

    def speeds(mode: perturbations.Mode) -> np.ndarray:
        cfg = apply_perturbations(trained(push), replace(perturbations.MODES[mode], noise=False))
        parts, out = experiment.build(cfg, evaluation=True), []
        try:
            evaluate.run(
                parts,
                Policy("still", Watched()),
                WALK,
                20,
                key,
                lambda info: out.append(np.array(info.sim.root_lin_vel)),
            )
        finally:
            parts.bridge.close()
        return np.linalg.norm(np.diff(np.stack(out), axis=0)[..., :2], axis=-1).max(-1)  # [steps - 1]

    pushed, calm = speeds("train_like"), speeds("clean")
    # every 5 steps the horizontal velocity is replaced by U(-1, 1): jumps that a standing robot has not
    assert np.all(pushed[[4, 9, 14]] > 2.0 * np.median(calm))
    assert pushed.max() > 2.0 * calm.max()


def test_commands_are_drawn_as_in_training() -> None:
    half = "--command.setup-terms.locomotion-command.params.stand-prob=0.5"
    env = make_robot((*BASE[:-1], "--training.num-envs=4000", half))
    drawn = np.asarray(env.task.steering.sample(env, jax.random.key(0)))
    standing = np.all(drawn == 0.0, axis=-1)
    assert abs(standing.mean() - 0.5) < 0.05  # 6 sigma of a binomial with n = 4000
    moving = drawn[~standing]
    assert np.abs(moving).max() <= 1.0 and np.all(np.abs(moving.mean(0)) < 0.1)
