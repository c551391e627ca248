"""A recorded tracking run of holosoma, replayed: every value our environment computes against theirs.

The recorded physics and draws are fed in, so only the task logic is compared. Two switches set our defaults to
holosoma's behaviour (`PARITY`). Of the contact forces of three physics steps the strongest is fed in, since our
bridges report the last one only.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.envs import step as control_step
from holosoma_jax.envs.state import TaskState
from holosoma_jax.envs.terms.motion.reference import MOTION
from tests.support import tracking_traces
from tests.support.traces import wxyz


class Replay:
    """Our environment run over the trace; everything it computed, as [T, ...] arrays."""

    def __init__(self) -> None:
        self.trace = trace = tracking_traces.load()
        self.env = env = trace.env()
        pre, post = trace.sim("pre"), trace.sim("post")
        draws = trace.draws(control_step.draw(env.mdp, jax.random.key(0)))

        def step(state: TaskState, inputs: tuple) -> tuple[TaskState, dict]:
            action, sim, after, drawn, key = inputs
            state, actuator_command = env.pre_step(state, action)
            state, result = control_step.post_step_from_draws(
                env.mdp, state, sim, drawn._replace(noise_key=key)
            )
            settled = state
            state, obs = env.observe(state, after)
            return state, {
                "targets": actuator_command.targets,
                "result": result,
                "obs": obs,
                "settled": settled.terms,
                "observed": state.terms,
                "episode_step": state.episode_step,
            }

        keys = jax.random.split(jax.random.key(0), trace.steps)
        inputs = jax.tree.map(jnp.asarray, (trace.data["act/raw"], pre, post, draws, keys))
        _, self.out = jax.jit(partial(jax.lax.scan, step))(trace.start(env), inputs)


@pytest.fixture(scope="module")
def replay() -> Replay:
    return Replay()


def close(ours: object, theirs: Any, atol: float = 1e-5, rtol: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=rtol, atol=atol)


def test_targets_and_robot(replay: Replay) -> None:
    d, robot = replay.trace.data, replay.trace.robot
    close(robot.action_scale, d["const/action_scales"], rtol=1e-6)
    close(np.stack([robot.joint_lower, robot.joint_upper], -1), d["const/dof_pos_limits_hard"], rtol=1e-6)
    wanted = d["const/default_dof_pos_per_env"] + d["const/action_scales"] * d["act/applied"]
    close(replay.out["targets"], wanted)


def test_terminations(replay: Replay) -> None:
    d, result = replay.trace.data, replay.out["result"]
    np.testing.assert_array_equal(result.terminated, d["term/bad_tracking"])
    np.testing.assert_array_equal(result.truncated, d["term/ANY_timeout"])
    np.testing.assert_array_equal(replay.out["episode_step"], d["post/episode_length"])
    assert d["term/bad_tracking"].sum() >= 2
    placed = np.zeros_like(d["term/bad_tracking"])
    placed[tuple(d["event/index"][d["event/kind"] != 1].T)] = True
    np.testing.assert_array_equal(result.reset.mask, placed)


def test_rewards(replay: Replay) -> None:
    """The total of every step, and every unweighted term on every recorded state as one batch."""
    trace, env, d = replay.trace, replay.env, replay.trace.data
    close(replay.out["result"].reward, d["rew/total"], atol=1e-4)
    assert sorted(env.mdp.rewards) == sorted(trace.facts["reward_terms"])
    close(env.mdp.weights, [trace.facts["reward_terms"][name]["weight"] for name in env.mdp.rewards])
    whole = tracking_traces.batched(trace, env)
    count = whole.scene.num_envs
    flat = partial(jax.tree.map, lambda x: jnp.asarray(x).reshape(-1, *x.shape[2:]))
    states = whole.example_states()
    states["commands"][MOTION] = states["commands"][MOTION].replace(
        frame=flat(d["pre/time_steps"]),
        target_pos=flat(d["aligned/body_pos_relative"][:-1]),
        target_quat=flat(wxyz(d["aligned/body_quat_relative"][:-1])),
    )
    view = replace(
        whole.rest(states),
        sim=flat(trace.sim("pre")),
        action=flat(d["act/raw"]),
        prev_action=flat(d["pre/prev_action"]),
        origin=jnp.tile(jnp.asarray(d["const/env_origins"]), (count // trace.envs, 1)),
    )
    for name, term in env.mdp.rewards.items():
        value = jnp.reshape(term.apply(view, ())[0], (trace.steps, -1))
        close(value, d[f"rew_raw/{name}"], atol=1e-4)


def test_frames_alignment_and_sampler(replay: Replay) -> None:
    d, settled, observed = replay.trace.data, replay.out["settled"], replay.out["observed"]
    motion = settled["commands"][MOTION]
    np.testing.assert_array_equal(motion.frame, d["post/time_steps"])
    close(motion.failures, d["post/bin_failed_count"], atol=1e-9)
    close(motion.counted, d["post/current_bin_failed_count"])
    aligned = observed["commands"][MOTION]
    close(aligned.target_pos, d["aligned/body_pos_relative"][1:], atol=1e-4)
    ours, theirs = np.asarray(aligned.target_quat), wxyz(d["aligned/body_quat_relative"][1:])
    np.testing.assert_allclose(np.abs(np.sum(ours * theirs, -1)), 1.0, atol=1e-5)
    tracker = settled["curriculum"]["average_episode_tracker"]
    close(tracker, d["post/avg_episode_length"])


def test_pushes(replay: Replay) -> None:
    d = replay.trace.data
    state = replay.out["settled"]["randomization"]["push_randomizer_state"]
    np.testing.assert_array_equal(state.counter, d["post/push_counter"])
    pushes = d["event/index"][d["event/kind"] == 1]
    assert np.asarray(replay.out["result"].reset.push_mask)[tuple(pushes.T)].all()


def test_observations(replay: Replay) -> None:
    """Actor observations of every recorded step, critic observations of the recorded ones."""
    d, obs = replay.trace.data, replay.out["obs"]
    strided = d["strided_steps"]
    actor = obs["actor_obs"]
    every = len(d["obs/actor_obs"]) == replay.trace.steps  # the cut in the repository has fewer
    close(actor if every else actor[strided], d["obs/actor_obs"], atol=1e-4)
    close(obs["critic_obs"][strided], d["obs/critic_obs"], atol=1e-4)


def test_final_observations(replay: Replay) -> None:
    d, final = replay.trace.data, replay.out["result"].final_obs
    steps, envs = d["done/index"].T
    for group in ("actor_obs", "critic_obs"):
        close(final[group][steps, envs], d[f"done/final_obs/{group}"], atol=1e-4)


def test_layout(replay: Replay) -> None:
    """Names and places of every term in both groups."""
    for group in replay.env.mdp.groups:
        ours = [(t.name, t.start, t.start + t.dim, t.scale) for t in group.layout]
        theirs = replay.trace.facts["obs_slices"][group.name]
        assert ours == [(t["term"], t["start"], t["stop"], t["scale"]) for t in theirs]
