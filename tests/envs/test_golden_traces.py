"""Recorded runs of holosoma, replayed: every value our environment computes against theirs.

The recorded physics and random draws are fed in, so only the task logic is compared. No
switch to holosoma's behaviour is needed for these files: step order, phase and curriculum are the same.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import SimState
from holosoma_jax import envs
from holosoma_jax.envs import step as control_step
from holosoma_jax.envs import terrain
from holosoma_jax.envs.env import StepResult
from holosoma_jax.envs.mdp import Mdp
from holosoma_jax.envs.state import TaskState
from holosoma_jax.envs.view import GAIT, VELOCITY, View
from tests.support import terms, traces
from tests.support.traces import Trace

CASES = {
    "g1": ("trace_g1_loco_ppo", "g1-29dof", ()),
    "g1-history": (
        "trace_g1_loco_ppo_history",
        "g1-29dof",
        (
            "--observation.groups.actor-obs.history-length=4",
            "--observation.groups.critic-obs.history-length=2",
            "--simulator.config.sim.max-episode-length-s=1.2",
            "--command.setup-terms.locomotion-command.params.resampling-time=0.5",
            "--randomization.setup-terms.push-randomizer-state.params.push-interval-s=[1,2]",
        ),
    ),
    "t1": (
        "trace_t1_loco_fastsac",
        "t1-29dof",
        (
            "--reward.terms.alive.weight=10",
            "--curriculum.setup-terms.penalty-curriculum.params.initial-scale=0.5",
            "--curriculum.setup-terms.penalty-curriculum.params.min-scale=0.5",
            "--curriculum.setup-terms.penalty-curriculum.params.degree=0.001",
        ),
    ),
}


class Replay:
    """Our environment run over a trace; everything it computed, as [T, ...] arrays."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        ground = terrain.build(trace.cfg.terrain, 0)
        self.env = env = envs.make(trace.cfg, trace.robot, ground, trace.bridge)
        self.mdp: Mdp = env.mdp
        self.groups = self.mdp.groups
        pre, post = trace.sim("pre"), trace.sim("post")
        draws = trace.draws(control_step.draw(self.mdp, jax.random.key(0)))

        def step(state: TaskState, inputs: tuple) -> tuple[TaskState, dict]:
            action, sim, after, drawn, key = inputs
            drawn = drawn._replace(noise_key=key)
            state, actuator_command = env.pre_step(state, action)
            held = state
            state, result = control_step.post_step_from_draws(self.mdp, state, sim, drawn)
            after_step = state
            state, obs = env.observe(state, after)
            return state, {
                "targets": actuator_command.targets,
                "result": result,
                "obs": obs,
                "state": after_step.replace(history={}),
                "weights": self.mdp.reward_weights(held.terms),
            }

        keys = jax.random.split(jax.random.key(0), trace.steps)
        inputs = (trace.data["act/raw"], pre, post, draws, keys)
        _, self.out = jax.jit(partial(jax.lax.scan, step))(self.start(), jax.tree.map(jnp.asarray, inputs))

    def start(self) -> TaskState:
        """The state just before the first recorded step."""
        d = self.trace.data
        state, _ = self.env.init(jax.random.key(0))
        return terms.put(
            state,
            episode_step=jnp.asarray(d["pre/episode_length"][0] - 1),
            delay=jnp.asarray(d["act/delay_idx"][0]),
            command=jnp.asarray(d["pre/command"][0]),
            phase=jnp.asarray(d["pre/gait_phase"][0]),
            phase_offset=jnp.asarray(d["pre/phase_offset"][0]),
            gait_frequency=jnp.asarray(d["pre/gait_freq"][0, :, 0]),
            push_counter=jnp.asarray(d["pre/push_counter"][0]),
            push_interval=jnp.asarray(
                np.floor(d["pre/push_interval_s"][0] / np.float32(self.env.spec.control_dt)).astype(np.int32)
            ),
            average_length=jnp.asarray(d["pre/avg_episode_length"][0]),
            penalty_scale=jnp.asarray(d["pre/penalty_scale"][0]),
            history=self._first_history(),
        )

    def _first_history(self) -> dict[str, jax.Array]:
        """Frames before the first step, read back from the first recorded observation."""
        histories = {}
        for group in self.groups:
            if group.history_length == 1:
                continue
            first, frames, start = self.trace.data[f"obs/{group.name}"][0], [], 0
            for term in group.layout:
                width = term.dim * group.history_length
                block = first[:, start : start + width].reshape(-1, group.history_length, term.dim)
                frames.append(block)
                start += width
            history = np.concatenate(frames, -1)  # newest frame belongs to step 0 itself: shift it out
            histories[group.name] = jnp.asarray(np.roll(history, 1, axis=1))
        return histories

    @property
    def result(self) -> StepResult:
        """Stacked results."""
        return self.out["result"]


@pytest.fixture(scope="module", params=sorted(CASES))
def replay(request: pytest.FixtureRequest) -> Replay:
    """One replay per case, shared by the tests of this file."""
    name, exp, overrides = CASES[request.param]
    return Replay(traces.load(name, exp, *overrides))


def close(ours: object, theirs: np.ndarray, atol: float = 2e-6, rtol: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=rtol, atol=atol)


def test_delay_and_scale_of_actions(replay: Replay) -> None:
    d = replay.trace.data
    close(replay.out["targets"], d["const/default_dof_pos_base"] + 0.25 * d["act/applied"])


def test_terminations(replay: Replay) -> None:
    d = replay.trace.data
    np.testing.assert_array_equal(replay.result.terminated, d["term/contact"])
    np.testing.assert_array_equal(replay.result.truncated, d["term/ANY_timeout"])
    np.testing.assert_array_equal(replay.result.reset.mask, d["term/ANY_reset"])
    assert d["term/ANY_reset"].sum() >= 4


def test_reward_terms(replay: Replay) -> None:
    """Every unweighted term on every recorded state, all steps as one batch."""
    trace, mdp = replay.trace, replay.mdp
    d = trace.data
    flat = partial(jax.tree.map, lambda x: jnp.asarray(x).reshape(-1, *x.shape[2:]))
    view = _view(mdp, d, flat(trace.sim("pre")))
    assert sorted(mdp.rewards) == sorted(trace.term_names())
    for name, term in mdp.rewards.items():
        if name == "penalty_feet_ori" and not trace.has_feet_quat:
            continue
        # sums of squared actions reach 1e6 at the steps of deliberately huge actions
        atol = 1e-4 if name == "penalty_action_rate" else 2e-6
        close(jnp.reshape(term.apply(view, ())[0], (trace.steps, -1)), d[f"rew_raw/{name}"], atol=atol)


def _view(mdp: Mdp, d: dict[str, np.ndarray], sim: SimState) -> View:
    """What the rewards saw, all steps as one batch."""
    count = d["pre/episode_length"].size
    whole = replace(mdp, scene=replace(mdp.scene, num_envs=count))
    rows = {
        "action": d["act/raw"],
        "prev_action": d["pre/prev_action"],
        "command": d["pre/command"],
        "phase": d["pre/gait_phase"],
        "episode_step": d["pre/episode_length"],
    }
    rows = {k: jnp.asarray(v).reshape(count, *v.shape[2:]) for k, v in rows.items()}
    states = whole.example_states()
    states["commands"] = {
        VELOCITY: rows.pop("command"),
        GAIT: states["commands"][GAIT].replace(phase=rows.pop("phase")),
    }
    return replace(whole.rest(states), sim=sim, **rows)


def test_reward_weights_and_total(replay: Replay) -> None:
    d = replay.trace.data
    names = list(replay.mdp.rewards)
    recorded = [names.index(name) for name in replay.trace.term_names()]
    close(replay.out["weights"][:, recorded], d["rew/weights_effective"])
    if replay.trace.has_feet_quat:  # which one reward of the total needs
        close(replay.result.reward, d["rew/total"], atol=1e-4)


def test_curriculum(replay: Replay) -> None:
    d, state = replay.trace.data, replay.out["state"]
    close(terms.get(state, "average_length"), d["post/avg_episode_length"])
    close(terms.get(state, "penalty_scale"), d["post/penalty_scale"])


def test_commands_clock_and_pushes(replay: Replay) -> None:
    d, state, reset = replay.trace.data, replay.out["state"], replay.result.reset
    np.testing.assert_array_equal(state.episode_step, d["post/episode_length"])
    close(terms.get(state, "command"), d["post/command"])
    np.testing.assert_array_equal(terms.get(state, "push_counter"), d["post/push_counter"])
    pushed = np.zeros_like(d["term/ANY_reset"])
    pushes = d["event/index"][d["event/kind"] == 1]
    pushed[tuple(pushes.T)] = True
    np.testing.assert_array_equal(reset.push_mask, pushed)
    assert pushed.any()
    close(np.asarray(reset.push_lin)[pushed], d["event/root_lin_vel"][d["event/kind"] == 1])


def test_gait_phase(replay: Replay) -> None:
    difference = np.asarray(terms.get(replay.out["state"], "phase")) - replay.trace.data["post/gait_phase"]
    wrapped = (difference + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(wrapped, 0.0, atol=5e-5)


def test_observations(replay: Replay) -> None:
    """Actor observations of every recorded step, critic observations of the recorded ones."""
    d = replay.trace.data
    strided = d["strided_steps"]
    every = len(d["obs/actor_obs"]) == replay.trace.steps  # the cut in the repository has fewer
    actor = replay.out["obs"]["actor_obs"]
    close(actor if every else actor[strided], d["obs/actor_obs"], atol=1e-4)
    close(replay.out["obs"]["critic_obs"][strided], d["obs/critic_obs"], atol=1e-4)


def test_final_observations(replay: Replay) -> None:
    d, final = replay.trace.data, replay.result.final_obs
    steps, envs = d["done/index"].T
    for group in ("actor_obs", "critic_obs"):
        close(final[group][steps, envs], d[f"done/final_obs/{group}"], atol=1e-4)
        close(final[group][d["strided_steps"]], d[f"final_obs/{group}"], atol=1e-4)


def test_layout(replay: Replay) -> None:
    """Names, places and scales of every term in both groups."""
    ours = [
        (t.name, t.start, t.start + t.dim * t.history_length, t.scale)
        for g in replay.groups
        for t in g.layout
    ]
    theirs = [
        (t["term"], t["start"], t["stop"], t["scale"])
        for g in replay.groups
        for t in replay.trace.facts["obs_slices"][g.name]
    ]
    assert ours == theirs
