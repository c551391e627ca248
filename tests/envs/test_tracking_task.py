"""The tracking task as a whole: wrong configurations, several clips, ends of clips, what an evaluation changes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax import experiment, robots
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.tasks.tracking import TASK, explain, motion_from
from holosoma_jax.envs.terms.motion import sampler
from holosoma_jax.envs.terms.motion.config import MotionConfig, SamplerConfig
from holosoma_jax.envs.terms.motion.reference import ASSET, MOTION, Motion
from holosoma_jax.motion import edit
from holosoma_jax.motion.kinematics import Skeleton
from holosoma_jax.motion.reading import read
from holosoma_jax.rollout import control_step
from holosoma_jax.rollout.control_step import reset_all
from tests.support import tracking

FILE = "motion_config.motion_file"
FAR = "--termination.terms.bad-tracking.params."
OBS = "--observation.groups.actor-obs.terms."


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("exp:g1-29dof", f"{tracking.KEY}motion-file=g1_dance"), ["motion_command", "locomotion_command"]),
        (("exp:g1-29dof", "command:wbt"), ["locomotion_command", "command:g1_29dof_locomotion"]),
        (("exp:g1-29dof-wbt", "command:g1-29dof-locomotion"), ["motion_command", "tracking"]),
        (("exp:g1-29dof-wbt", f"{tracking.KEY}motion-file=g1_dans"), [FILE, "g1_dans", "g1_dance"]),
        (("exp:g1-29dof-wbt", f"{tracking.KEY}motion-file=t1_dance"), [FILE, "g1"]),
        (
            ("exp:g1-29dof-wbt", f"{tracking.KEY}clip-weights={{g1_squat: 2}}"),
            ["motion_config.clip_weights:", "g1_squat", "g1_dance"],
        ),
        (
            (
                "exp:g1-29dof-wbt",
                f"{tracking.KEY}body-names-to-track=[pelvis, torso_lnk]",
                f"{tracking.KEY}body-name-ref=[pelvis]",
            ),
            ["motion_config.body_names_to_track:", "torso_lnk", "torso_link"],
        ),
        (("exp:g1-29dof-wbt", f"{FAR}bad-motion-body-pos-body-names=[]"), ["bad_motion_body_pos_body_names:"]),
        (
            ("exp:g1-29dof-wbt", f"{tracking.KEY}body-name-ref=[head_link]"),
            ["motion_config.body_name_ref: got [head_link]"],
        ),
        (("exp:g1-29dof-wbt", f"{OBS}motion-command.func=sin_phase"), ["locomotion_gait"]),
        (("exp:g1-29dof", "--algo.config.reference-action=True"), ["reference_action", "locomotion"]),
        (
            ("exp:g1-29dof-wbt", "--algo.config.reference-action=True", f"{OBS}motion-command.scale=0.5"),
            ["reference_action", "motion_command"],
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_that_names_it(flags: tuple[str, ...], named: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment.build(compose.load([*flags, "--training.num-envs=2"]))
    text = str(caught.value)
    assert "\n" not in text
    assert all(name in text.replace("-", "_") for name in named), text


@pytest.mark.parametrize(
    ("preset", "flag", "named"),
    [
        (
            "g1-29dof",
            f"{tracking.KEY}motion-file=g1_squat",
            ["motion_command", "tracking", "exp:g1-29dof-wbt"],
        ),
        ("t1-29dof-fast-sac", f"{tracking.KEY}motion-dir=clips", ["motion_command", "exp:g1-29dof-wbt"]),
        (
            "g1-29dof-wbt",
            "--command.setup-terms.locomotion-command.params.resampling-time=5",
            ["locomotion_command", "exp:g1-29dof"],
        ),
        ("g1-29dof-wbt-fast-sac", "command:g1-29dof-locomotion", ["motion_command", "command:wbt"]),
        ("g1-29dof", "command:wbt", ["locomotion_command", "command:g1-29dof-locomotion"]),
    ],
)
def test_the_other_tasks_command_is_one_line(preset: str, flag: str, named: list[str]) -> None:
    """A locomotion preset with a motion file, and the other way round."""
    with pytest.raises(ConfigError) as caught:
        experiment.build(compose.load([f"exp:{preset}", flag, "--training.num-envs=2"]))
    text = str(caught.value)
    assert "\n" not in text
    assert all(name in text for name in named), text


def test_what_is_wrong_with_clip_or_bodies_names_the_whole_key() -> None:
    skeleton = Skeleton(robots.load("g1"))
    short = edit.cut(skeleton, read("g1_squat", skeleton), 0, 2)
    for settings, key, named in (
        (MotionConfig(motion_file="a.npz"), "motion_file", "2 frames"),
        (MotionConfig(motion_dir="clips"), "motion_dir", "2 frames"),
        (MotionConfig(body_names_to_track=("head",)), "body_names_to_track", "'head'"),
        (MotionConfig(body_name_ref=("head",)), "body_name_ref", "head"),
    ):
        where = rf"^command\.setup_terms\.motion_command\.params\.motion_config\.{key}: .*{named}"
        with pytest.raises(ConfigError, match=where):
            motion_from([short], skeleton, settings, 50.0)


def test_a_silent_policy_asks_for_the_reference() -> None:
    """With `reference_action` and a network of zeros, joint targets are the clip's angles but for the joints' bias."""
    setup = experiment.build(tracking.config(more=("--algo.config.reference-action=True",)))
    env, learner = setup.env, setup.learner
    state, _, sim = reset_all(env, setup.bridge, jax.random.key(0))
    setup.bridge.close()
    state, obs = env.observe(state, sim)
    policy = learner.init(jax.random.key(0), setup.learner_spec, setup.cfg.algo.config)
    silent = policy.actor.params._replace(mlp=jax.tree.map(jnp.zeros_like, policy.actor.params.mlp))
    action = learner.mode(policy.replace(actor=policy.actor.replace(params=silent)), obs["actor_obs"])
    _, command = env.pre_step(state, action)
    motion: Motion = env.mdp.scene.assets[ASSET]
    frame = env.mdp.values("commands", state.terms)[MOTION].frame
    bias = np.asarray(command.targets) - np.asarray(motion.clips.at(frame).joint_pos)
    assert np.abs(bias).max() <= 0.01 + 1e-5
    assert np.abs(bias).max() > 0.005


def test_several_clips_with_weights() -> None:
    weights = "clip-weights={g1_squat: 3}"
    env = tracking.setup("motion-dir=g1_squat, g1_arm_waves", weights).env
    motion: Motion = env.mdp.scene.assets[ASSET]
    assert motion.names == ("g1_squat", "g1_arm_waves") == TASK.cases(env)
    np.testing.assert_array_equal(motion.weights, [3.0, 1.0])
    np.testing.assert_array_equal(motion.clips.length, [400, 600])
    tables = TASK.tables(env, "holosoma")
    assert {len(rows) for rows in tables.values()} == {1000}


def test_transitions_are_part_of_each_clip() -> None:
    motion: Motion = tracking.setup(
        "motion-file=g1_squat", "enable-default-pose-prepend=True", "enable-default-pose-append=True"
    ).env.mdp.scene.assets[ASSET]
    np.testing.assert_array_equal(motion.clips.length, [600])
    default = tracking.setup().robot.default_joint_pos
    np.testing.assert_allclose(np.asarray(motion.clips.frames.joint_pos)[[0, -1]], [default] * 2, atol=1e-6)


def test_an_evaluation_lasts_for_the_longest_clip() -> None:
    """Its episodes end with the clips, which are longer than an episode of the training."""
    training, evaluation = tracking.setup().env, tracking.setup(evaluation=True).env
    assert training.spec.max_episode_steps == 500 and evaluation.spec.max_episode_steps == 1001
    assert "motion_ends" in evaluation.mdp.timeouts and "motion_ends" not in training.mdp.timeouts
    assert "motion_ends" in tracking.setup("clip-end=timeout").env.mdp.timeouts


def test_the_ghost_is_where_the_clip_has_the_robot() -> None:
    env = tracking.setup(evaluation=True).env
    state, _ = jax.jit(env.init)(jax.random.key(0))
    command = state.terms["commands"][MOTION].replace(frame=jnp.array([0, 7, 500, 999], jnp.int32))
    state = state.replace(terms={**state.terms, "commands": {**state.terms["commands"], MOTION: command}})
    motion: Motion = env.mdp.scene.assets[ASSET]
    ghost, frames = env.ghost(state), motion.clips.at(command.frame)
    assert ghost is not None
    np.testing.assert_array_equal(ghost.joint_pos, frames.joint_pos)
    origin = env.mdp.scene.terrain.origins(state.tile)
    np.testing.assert_allclose(ghost.root_pos, frames.root_pos + origin, atol=1e-6)


def test_early_ends_are_explained() -> None:
    cfg = tracking.config()
    few = {"Env/bad_tracking/early": 0.3}
    many = {
        "Env/bad_tracking/early": 0.9,
        "Env/bad_tracking/early/bad_ref_ori": 0.1,
        "Env/bad_tracking/early/bad_motion_body_pos": 0.8,
        "Env/bad_tracking/early/bad_motion_body_pos_error": 0.412,
    }
    assert explain(cfg, few) is None
    line = explain(cfg, many)
    assert line is not None and "bad_motion_body_pos" in line and "0.412" in line and "0.25" in line


def test_devices_share_what_they_know_of_failures() -> None:
    """Two devices with half of the environments each draw starts as one with all of them does."""
    env = tracking.setup().env
    path = f"terms/commands/{MOTION}/failures"
    assert path in env.spec.pooled
    state, _ = jax.jit(env.init)(jax.random.key(0))
    bins = state.terms["commands"][MOTION].failures.shape[0]
    cfg, where = SamplerConfig(alpha=0.5), sampler.bins(np.array([1000]), np.ones(1), SamplerConfig(), 0.02)
    counted = jnp.asarray(np.random.default_rng(0).poisson(2.0, (2, bins)), jnp.float32)

    def flushed(own: jax.Array) -> tuple[jax.Array, jax.Array]:
        failures = sampler.fold(jnp.zeros(bins), own, cfg)
        command = state.terms["commands"][MOTION].replace(failures=failures)
        terms = {**state.terms, "commands": {**state.terms["commands"], MOTION: command}}
        carry = control_step.empty_carry(env, state.replace(terms=terms), ())
        carry, _ = control_step.flush_metrics(carry, "devices", env.spec.pooled)
        return carry.env.terms["commands"][MOTION].failures, carry.env.episode_step

    found, _ = jax.vmap(flushed, axis_name="devices")(counted)
    np.testing.assert_array_equal(found[0], found[1])
    whole = sampler.fold(jnp.zeros(bins), counted.sum(0), cfg)
    np.testing.assert_allclose(
        sampler.probabilities(found[0], where, cfg), sampler.probabilities(whole, where, cfg), atol=1e-6
    )
