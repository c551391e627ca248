"""Whole-body tracking of every robot: what the record's roles come to, and the robot placed in its own clip."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import SimState
from holosoma_jax import experiment, robots
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.env import EnvState
from holosoma_jax.envs.tasks.tracking_metrics import end_effectors
from holosoma_jax.envs.terms.motion.config import MotionConfig
from holosoma_jax.envs.terms.motion.reference import ASSET, MOTION, Motion
from holosoma_jax.experiment import Setup
from holosoma_jax.rollout.control_step import reset_all
from tests.support import tracking

ROBOTS = ("g1-29dof", "t1-29dof", "k1-22dof")
E = 8
WEIGHTS = {
    "motion_global_ref_position_error_exp": 0.5,
    "motion_global_ref_orientation_error_exp": 0.5,
    "motion_relative_body_position_error_exp": 1.0,
    "motion_relative_body_orientation_error_exp": 1.0,
    "motion_global_body_lin_vel": 1.0,
    "motion_global_body_ang_vel": 1.0,
}


@pytest.fixture(scope="module", params=ROBOTS)
def placed(request: pytest.FixtureRequest) -> tuple[Setup, EnvState, SimState]:
    """A run whose starts are without noise, at its first states."""
    cfg = tracking.config(
        "noise-to-initial-pose.overall-noise-scale=0",
        exp=f"{request.param}-wbt",
        num_envs=E,
        more=("--randomization.setup-terms.randomize-base-com-startup.params.enabled=False",),
    )
    setup = experiment.build(cfg)
    state, _, sim = reset_all(setup.env, setup.bridge, jax.random.key(1))
    setup.bridge.close()
    return setup, state, sim


def test_the_simulated_robot_is_where_the_clip_says(placed: tuple[Setup, EnvState, SimState]) -> None:
    """Two routes: our kinematics of the file, and the simulator's of the pose that is written."""
    setup, state, sim = placed
    motion: Motion = setup.env.mdp.scene.assets[ASSET]
    command = setup.env.mdp.values("commands", state.terms)[MOTION]
    assert len(np.unique(command.start)) > 1
    clip = motion.clips.at(command.start)
    origin = setup.env.mdp.scene.terrain.origins(state.tile)[:, None]
    rows = motion.rows
    np.testing.assert_allclose(sim.joint_pos, clip.joint_pos, atol=1e-5)
    np.testing.assert_allclose(sim.body_pos[:, rows], clip.body_pos + origin, atol=1e-4)
    alike = np.abs(np.sum(np.asarray(sim.body_quat[:, rows]) * np.asarray(clip.body_quat), -1))
    np.testing.assert_allclose(alike, 1.0, atol=1e-5)
    np.testing.assert_allclose(sim.body_lin_vel[:, rows], clip.body_lin_vel, atol=2e-3)
    np.testing.assert_allclose(sim.body_ang_vel[:, rows], clip.body_ang_vel, atol=2e-3)


def test_a_robot_in_its_clip_loses_no_reward(placed: tuple[Setup, EnvState, SimState]) -> None:
    """The same state against the next frame, 0.02 s on: near it, so no episode ends, and the rewards are whole."""
    setup, state, sim = placed
    env = setup.env
    state, _ = env.observe(state, sim)
    state, _ = env.pre_step(state, jnp.zeros((E, env.spec.action_dim)))
    state, result = env.post_step(state, sim)
    assert not np.asarray(result.terminated).any()
    earned = dict(zip(env.spec.reward_names, np.asarray(state.reward_sums).mean(0) / 0.02, strict=True))
    for name, weight in WEIGHTS.items():
        assert 0.9 * weight < earned[name] <= weight


def test_sizes_follow_from_joints_and_bodies(placed: tuple[Setup, EnvState, SimState]) -> None:
    setup, _, _ = placed
    joints, bodies = setup.robot.num_joints, len(setup.robot.tracked_bodies)
    # action, joints, speeds, and the clip's joints and speeds; angular velocity; orientation of the anchor
    actor = 5 * joints + 3 + 6
    assert setup.env.spec.obs_dims["actor_obs"] == actor
    # linear velocity, place of the anchor, and for each body place and orientation
    assert setup.env.spec.obs_dims["critic_obs"] == actor + 3 + 3 + 9 * bodies


def test_a_robot_whose_record_lists_nothing() -> None:
    """It is refused in one line, until the settings list the bodies."""
    bare = dataclasses.replace(robots.load("t1"), tracked_bodies=())
    with pytest.raises(ConfigError, match=r"body_names_to_track.*'t1'.*tracked_bodies"):
        MotionConfig().bodies_of(bare)
    assert MotionConfig(body_names_to_track=("Waist", "Trunk")).bodies_of(bare) == (
        ("Waist", "Trunk"),
        "Trunk",
    )
    with pytest.raises(ConfigError, match="'Waist' twice"):
        MotionConfig(body_names_to_track=("Waist", "Trunk", "Waist")).bodies_of(bare)


def test_ends_of_the_limbs_are_measured(placed: tuple[Setup, EnvState, SimState]) -> None:
    setup, _, _ = placed
    motion: Motion = setup.env.mdp.scene.assets[ASSET]
    assert sorted(end_effectors(motion, setup.robot)) == sorted(setup.robot.end_bodies)
    assert motion.bodies[motion.anchor] == setup.robot.torso_body
