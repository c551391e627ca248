"""What a clip's end does to episode, memory and learning: `resample`, `timeout` and `soft`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import SimState
from holosoma_jax import experiment
from holosoma_jax.envs.env import ActuatorCommand, StepResult
from holosoma_jax.envs.state import TaskState
from holosoma_jax.envs.terms.motion.reference import ASSET, MOTION
from holosoma_jax.learn import returns
from holosoma_jax.rollout import off_policy, on_policy
from holosoma_jax.rollout.state import EnvStep
from tests.support import tracking

ENVS = 4
AT_END = np.array([True, False, False, True])
"""environments that are in the last frame of their clip"""
DELAY = "--randomization.setup-terms.setup-action-delay-buffers.params."


def last_step(clip_end: str) -> tuple[experiment.Setup, TaskState, TaskState, StepResult, SimState]:
    """The state before and after a control step in which environments 0 and 3 play their clip's last frame."""
    cfg = tracking.config(
        f"clip-end={clip_end}", "motion-file=g1_squat", num_envs=ENVS,
        more=("--observation.groups.actor-obs.history-length=3",),
    )  # fmt: skip
    setup = experiment.build(cfg)
    env, motion = setup.env, setup.env.mdp.scene.assets[ASSET]
    key = jax.random.key(0)
    state, reset = jax.jit(env.init)(key)
    _, sim = setup.bridge.reset(setup.bridge.init(), reset.mask, reset.pose)
    sim = jax.tree.map(jnp.array, sim)
    setup.bridge.close()
    end = int(motion.clips.length[0]) - 1
    command = state.terms["commands"][MOTION]
    command = command.replace(frame=jnp.where(jnp.asarray(AT_END), end, 50).astype(jnp.int32))
    # targets where the robots are, so that nobody fails
    rows = motion.rows
    clip = motion.clips.frames
    pose = clip.body_pos[command.frame], clip.body_quat[command.frame]
    sim = sim._replace(
        body_pos=sim.body_pos.at[:, rows].set(pose[0] + env.mdp.scene.terrain.origins(state.tile)[:, None]),
        body_quat=sim.body_quat.at[:, rows].set(pose[1]),
    )
    state = state.replace(
        terms={**state.terms, "commands": {**state.terms["commands"], MOTION: command}},
        episode_step=jnp.full((ENVS,), 20, jnp.int32),
        episode_return=jnp.ones(ENVS),
        history=jax.tree.map(jnp.ones_like, state.history),
    )
    state, _ = jax.jit(env.observe)(state, sim)
    state, _ = jax.jit(env.pre_step)(state, jnp.ones((ENVS, 29)))
    state, _ = jax.jit(env.pre_step)(state, 2.0 * jnp.ones((ENVS, 29)))
    after, result = jax.jit(env.post_step)(state, sim)
    return setup, state, after, result, sim


@pytest.fixture(scope="module")
def soft() -> Any:
    return last_step("soft")


def test_soft_clears_actions_and_histories_within_the_episode(soft: Any) -> None:
    _, before, after, result, _ = soft
    np.testing.assert_array_equal(result.jumped, AT_END)
    np.testing.assert_array_equal(result.cut, AT_END)
    np.testing.assert_array_equal(result.reset.mask, AT_END)  # the simulator places them
    for memory in (after.action, after.prev_action, after.history["actor_obs"]):
        flat = np.asarray(memory).reshape(ENVS, -1)
        assert (flat[AT_END] == 0.0).all() and (flat[~AT_END] != 0.0).any(axis=1).all()
    # the episode continues
    np.testing.assert_array_equal(after.episode_step, before.episode_step + 1)
    assert (np.asarray(after.episode_return) > 0.9).all()
    frames = np.asarray(after.terms["commands"][MOTION].frame)
    assert (frames[AT_END] < 400).all() and (frames[~AT_END] == 51).all()


def test_nothing_is_counted_as_a_fall(soft: Any) -> None:
    _, _, after, result, _ = soft
    assert not np.asarray(result.terminated | result.truncated).any()
    command = after.terms["commands"][MOTION]
    assert float(command.failures.sum()) == float(command.counted.sum()) == 0.0
    assert tuple(map(float, result.metrics["Env/motion/success"])) == (2.0, 2.0)
    assert float(result.metrics["PerSecond/rew_action_rate_l2"][1]) == 0.0  # no episode has ended


@pytest.mark.parametrize(("clip_end", "truncated"), [("resample", False), ("timeout", True)])
def test_the_other_ends(clip_end: str, truncated: bool) -> None:
    _, before, after, result, _ = last_step(clip_end)
    assert result.jumped is None
    np.testing.assert_array_equal(result.truncated, AT_END & truncated)
    np.testing.assert_array_equal(result.reset.mask, AT_END)
    kept = (np.asarray(after.action) == 2.0).all(axis=1)
    np.testing.assert_array_equal(kept, ~AT_END | (not truncated))
    clock = np.where(AT_END & truncated, 0, np.asarray(before.episode_step) + 1)
    np.testing.assert_array_equal(after.episode_step, clock)


def test_ppo_bootstraps_from_the_state_before_the_jump(soft: Any) -> None:
    """The value target is r + gamma V(final), whatever the place is worth that the robot is put."""
    setup, before, _, result, sim = soft
    worth = 5.0
    learner = replace(setup.learner, value=lambda state, obs: jnp.full(len(obs["critic_obs"]), worth))
    spec = setup.env.spec
    state = jax.eval_shape(
        partial(learner.init, spec=setup.learner_spec, cfg=setup.cfg.algo.config), jax.random.key(0)
    )
    buffer = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(lambda state: on_policy.init_buffer(learner, 1, state, spec), state),
    )
    buffer, _ = on_policy.process(
        learner, None, buffer, EnvStep(before, sim, ActuatorCommand(before.action, None), result)
    )
    row = {name: x[0] for name, x in buffer.columns.items()}
    np.testing.assert_array_equal(row["final_value"], np.where(AT_END, worth, 0.0))
    values, last = jnp.ones((1, ENVS)), jnp.full(ENVS, 100.0)  # 100: of the place after the jump
    ended = (row["terminated"] | row["truncated"])[None]
    advantage = returns.gae(
        row["reward"][None],
        values,
        returns.next_values(values, last, row["final_value"][None], ended),
        row["terminated"][None],
        row["truncated"][None],
        gamma=0.99,
        lam=0.95,
    )
    target = np.asarray(row["reward"]) + 0.99 * np.where(AT_END, worth, 100.0)
    np.testing.assert_allclose(advantage[0] + values[0], target, rtol=1e-5)


def test_fast_sac_bootstraps_from_the_state_before_the_jump(soft: Any) -> None:
    """The next observation is the final one, at full discount; it is that of the clip's last frame."""
    setup, before, after, result, sim = soft
    last = off_policy.empty_transition(setup.env.spec)
    last, _ = off_policy.process(
        None, last, EnvStep(before, sim, ActuatorCommand(before.action, None), result)
    )
    _, obs = setup.env.observe(after, sim)
    stored = off_policy.fill_next_obs(last, obs)
    np.testing.assert_array_equal(stored.truncated, AT_END)
    assert not np.asarray(stored.terminated).any()
    for name in ("actor_obs", "critic_obs"):
        expected = np.where(AT_END[:, None], result.final_obs[name], obs[name])
        np.testing.assert_array_equal(getattr(stored, f"next_{name}"), expected)
    differ = np.abs(np.asarray(result.final_obs["critic_obs"] - obs["critic_obs"])).max(axis=1)
    assert (differ[AT_END] > 0.1).all()
