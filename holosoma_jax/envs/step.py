"""The control step that every task shares, composed from the terms of an `Mdp`.

One order for every simulator and task. After the physics (`post_step`):

1. ``terminations``, then ``rewards``, see the state reached, with the commands and curricula that the policy saw.
2. final observations of that state, then metrics.
3. ``curriculum.update``, in the order of the config.
4. ``reset`` of every term, where an episode ended.
5. ``commands.update``, of all from the same view; ``commands.jump``: who carries nothing over.
6. ``randomization.push``.
7. ``randomization.pose`` and ``commands.place``: where the next episodes start; ``randomization.physics``.

After the simulator has carried these out (`observe`): ``commands.refresh``, then the observations. Before the
physics (`pre_step`): ``randomization.actuate``.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp

from bridges.protocol import SimState
from holosoma_jax.envs import observe as observation
from holosoma_jax.envs import stages
from holosoma_jax.envs.env import ActuatorCommand, Observations, Reset, StepResult
from holosoma_jax.envs.mdp import Mdp, merge, of
from holosoma_jax.envs.state import Draws, TaskState
from holosoma_jax.envs.terms.actions import joint_targets
from holosoma_jax.envs.terms.term import Actuation

_STEP, _OBSERVE = range(2)  # streams of the task's key within one step


def init(mdp: Mdp, key: jax.Array) -> tuple[TaskState, Reset]:
    """State and first poses of all environments, from one key."""
    key_run, key_tile, key_once, key_terms, key_draw = jax.random.split(key, 5)
    scene = mdp.scene
    e, j, r = scene.num_envs, scene.robot.num_joints, len(mdp.rewards)
    everyone, nobody = jnp.ones((e,), bool), jnp.zeros((e,), bool)
    terms, draws = mdp.init(key_terms), draw(mdp, key_draw)
    state = TaskState(
        key=key_run,
        step=jnp.zeros((), jnp.int32),
        episode_step=jnp.zeros((e,), jnp.int32),
        action=jnp.zeros((e, j), jnp.float32),
        prev_action=jnp.zeros((e, j), jnp.float32),
        tile=scene.terrain.env_tiles(key_tile, e),
        terms=terms,
        history=observation.empty_history(mdp.groups, e),
        episode_return=jnp.zeros((e,), jnp.float32),
        reward_sums=jnp.zeros((e, r), jnp.float32),
        raw_sums=jnp.zeros((e, r), jnp.float32),
    )
    state = stages.start_episodes(mdp, state, mdp.rest(terms), everyone, draws)
    view = stages.view_of(mdp, state, mdp.rest(terms).sim)
    _, pose = stages.start_poses(mdp, view, state, draws, everyone)
    params = merge(mdp.startup(key_once), mdp.physics(view, state.terms, draws.terms))
    zero = jnp.zeros((e, 3), jnp.float32)
    return state, Reset(everyone, pose, params, nobody, zero, zero)


def draw(mdp: Mdp, key: jax.Array) -> Draws:
    """All random values of one control step."""
    key_terms, key_spawn, key_noise = jax.random.split(key, 3)
    offset = jax.random.uniform(key_spawn, (mdp.scene.num_envs, 2), minval=-1.0)
    return Draws(mdp.draw(key_terms), offset, key_noise)


def pre_step(mdp: Mdp, clip: float, state: TaskState, action: jax.Array) -> tuple[TaskState, ActuatorCommand]:
    """Take in the policy's action [E, J]: keep it raw; clip, delay and scale it into targets."""
    state = state.replace(prev_action=state.action, action=action, step=state.step + 1)
    drawn = mdp.draw(_draw_key(state))
    actuation, states = Actuation(jnp.clip(action, -clip, clip)), {}
    for name, term in mdp.randomization.items():
        if term.actuate is not None:
            own, draws = of(state.terms, "randomization", name), of(drawn, "randomization", name)
            actuation, states[name] = term.call(term.actuate, mdp.scene, actuation, own, draws=draws)
    state = stages.with_states(state, "randomization", states)
    scale = jnp.asarray(mdp.scene.robot.action_scale, jnp.float32)[None]
    targets = joint_targets(actuation.action, mdp.default_joint_pos(state.terms), scale)
    torque = actuation.torque
    if torque is not None and actuation.torque_scale is not None:
        torque = torque * actuation.torque_scale[:, None]
    return state, ActuatorCommand(targets, torque)


def post_step(mdp: Mdp, state: TaskState, sim: SimState) -> tuple[TaskState, StepResult]:
    """Rewards and ends of the state reached [E, ...]; which environments start anew and which are pushed."""
    return post_step_from_draws(mdp, state, sim, draw(mdp, _step_key(state, _STEP)))


def post_step_from_draws(
    mdp: Mdp, state: TaskState, sim: SimState, draws: Draws
) -> tuple[TaskState, StepResult]:
    """`post_step` with its random values given: a deterministic function."""
    sim, nonfinite = stages.isolate(sim)
    state = state.replace(episode_step=state.episode_step + 1)
    view = stages.view_of(mdp, state, sim)
    state, failed, timed_out = stages.terminations(mdp, state, view, draws)
    terminated, truncated = failed & ~nonfinite, timed_out | nonfinite
    view = replace(view, terminated=terminated)
    state, reward = stages.rewards(mdp, state, view, draws, nonfinite)
    final_obs, *_ = observation.observe(mdp.groups, view, state.history, state.terms, draws.noise_key)
    done = terminated | truncated
    view = replace(view, finished=done & ~nonfinite)
    metrics = stages.metrics(mdp, state, view) | {"Env/nonfinite": jnp.sum(nonfinite.astype(jnp.float32))}
    episode = (state.episode_return, state.episode_step)
    state, view = stages.update_curricula(mdp, state, view, draws)
    state = stages.start_episodes(mdp, state, view, done, draws)
    state = stages.update_commands(mdp, state, sim, draws)
    state, jumped = stages.jumps(mdp, state, stages.view_of(mdp, state, sim), done, draws)
    view = stages.view_of(mdp, state, sim)
    state, pushed, lin, ang = stages.pushes(mdp, state, view, draws)
    placed, pose = stages.start_poses(mdp, view, state, draws, done)
    reset = Reset(placed, pose, mdp.physics(view, state.terms, draws.terms), pushed, lin, ang)
    ends = (reward, terminated, truncated, final_obs, reset)
    return state, StepResult(*ends, *episode, metrics, nonfinite, jumped)


def observe(mdp: Mdp, clip: float, state: TaskState, sim: SimState) -> tuple[TaskState, Observations]:
    """Observations [E, dim] of every group, clipped to +-clip; appends to the histories.

    An infinite one becomes NaN: clipped, it would hide the term that is wrong.
    """
    sim, _ = stages.isolate(sim)
    view, refreshed = stages.view_of(mdp, state, sim), {}
    for name, command in mdp.commands.items():
        if command.refresh is not None:
            refreshed[name] = command.refresh(view, of(state.terms, "commands", name))
    state = stages.with_states(state, "commands", refreshed)
    vectors, history, states = observation.observe(
        mdp.groups, stages.view_of(mdp, state, sim), state.history, state.terms, _step_key(state, _OBSERVE)
    )
    for group, after in states.items():
        state = stages.with_states(state, group, after)
    clipped = {
        name: jnp.where(jnp.isfinite(vector), jnp.clip(vector, -clip, clip), jnp.nan)
        for name, vector in vectors.items()
    }
    return state.replace(history=history), clipped


def randomize_clocks(mdp: Mdp, state: TaskState, key: jax.Array) -> TaskState:
    """Uniform random episode clocks in [0, max_episode_steps), so that time-outs do not coincide."""
    clock = jax.random.randint(key, (mdp.scene.num_envs,), 0, mdp.scene.max_episode_steps)
    return state.replace(episode_step=clock)


def _step_key(state: TaskState, stream: int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(state.key, state.step), stream)


def _draw_key(state: TaskState) -> jax.Array:
    """The key that `draw` gives to the terms in the control step of `state`."""
    return jax.random.split(_step_key(state, _STEP), 3)[0]
