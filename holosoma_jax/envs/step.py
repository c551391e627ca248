"""The control step that every task shares, composed from the terms of an `Mdp`.

One order for every simulator and task. After the physics (`post_step`):

1. ``terminations``, then ``rewards``, see the state reached, with the commands and curricula that the policy saw.
2. final observations of that state, then metrics.
3. ``curriculum.update``, in the order of the config.
4. ``reset`` of every term, where an episode ended.
5. ``commands.update``, of all from the same view.
6. ``randomization.push``.
7. ``randomization.pose`` and ``commands.place``: where the next episodes start; ``randomization.physics``.

After the simulator has carried these out (`observe`): ``commands.refresh``, then the observations. Before the
physics (`pre_step`): ``randomization.actuate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from bridges.protocol import Pose, SimState
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs import observe as observation
from holosoma_jax.envs.env import ActuatorCommand, Observations, Reset, StepResult
from holosoma_jax.envs.mdp import Mdp, merge, of, stored, upright
from holosoma_jax.envs.state import Draws, TaskState
from holosoma_jax.envs.terms.actions import joint_targets
from holosoma_jax.envs.terms.term import Actuation, Record, Term, where
from holosoma_jax.envs.view import View

_STEP, _OBSERVE = range(2)  # streams of the task's key within one step

_States = dict[str, dict[str, Any]]


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
    state = _start_episodes(mdp, state, mdp.rest(terms), everyone, draws)
    view = _view(mdp, state, mdp.rest(terms).sim)
    _, pose = _poses(mdp, view, state, draws, everyone)
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
    state = _with_states(state, "randomization", states)
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
    sim, nonfinite = _isolate(sim)
    state = state.replace(episode_step=state.episode_step + 1)
    view = _view(mdp, state, sim)
    state, failed, timed_out = _terminations(mdp, state, view, draws)
    terminated, truncated = failed & ~nonfinite, timed_out | nonfinite
    view = replace(view, terminated=terminated)
    state, reward = _reward(mdp, state, view, draws, nonfinite)
    final_obs, *_ = observation.observe(mdp.groups, view, state.history, state.terms, draws.noise_key)
    done = terminated | truncated
    view = replace(view, finished=done & ~nonfinite)
    metrics = _metrics(mdp, state, view) | {"Env/nonfinite": jnp.sum(nonfinite.astype(jnp.float32))}
    episode = (state.episode_return, state.episode_step)
    state, view = _curricula(mdp, state, view, draws)
    state = _start_episodes(mdp, state, view, done, draws)
    state = _update_commands(mdp, state, sim, draws)
    view = _view(mdp, state, sim)
    state, pushed, lin, ang = _push(mdp, state, view, draws)
    placed, pose = _poses(mdp, view, state, draws, done)
    reset = Reset(placed, pose, mdp.physics(view, state.terms, draws.terms), pushed, lin, ang)
    return state, StepResult(reward, terminated, truncated, final_obs, reset, *episode, metrics, nonfinite)


def observe(mdp: Mdp, clip: float, state: TaskState, sim: SimState) -> tuple[TaskState, Observations]:
    """Observations [E, dim] of every group, clipped to +-clip; appends to the histories."""
    sim, _ = _isolate(sim)
    view, refreshed = _view(mdp, state, sim), {}
    for name, command in mdp.commands.items():
        if command.refresh is not None:
            refreshed[name] = command.refresh(view, of(state.terms, "commands", name))
    state = _with_states(state, "commands", refreshed)
    vectors, history, states = observation.observe(
        mdp.groups, _view(mdp, state, sim), state.history, state.terms, _step_key(state, _OBSERVE)
    )
    for group, after in states.items():
        state = _with_states(state, group, after)
    clipped = {name: jnp.clip(vector, -clip, clip) for name, vector in vectors.items()}
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


def _with_states(state: TaskState, kind: str, states: Mapping[str, Any]) -> TaskState:
    """`state` with the states of some terms of one kind replaced."""
    own = stored({kind: states})
    return state.replace(terms=state.terms | {kind: state.terms[kind] | own[kind]}) if own else state


def _view(mdp: Mdp, state: TaskState, sim: SimState) -> View:
    return View(
        scene=mdp.scene,
        sim=sim,
        action=state.action,
        prev_action=state.prev_action,
        default_joint_pos=mdp.default_joint_pos(state.terms),
        episode_step=state.episode_step,
        origin=mdp.scene.terrain.origins(state.tile),
        commands=mdp.values("commands", state.terms),
        curricula=mdp.values("curriculum", state.terms),
        randomization=mdp.values("randomization", state.terms),
        command_ranges=mdp.command_ranges(state.terms),
    )


def _isolate(sim: SimState) -> tuple[SimState, jax.Array]:
    """The state with non-finite environments replaced by zeros (upright), and which they are [E]."""
    finite = [jnp.all(jnp.isfinite(x), axis=tuple(range(1, x.ndim))) for x in sim]
    nonfinite = ~jnp.stack(finite).all(0)

    def clean(x: jax.Array) -> jax.Array:
        return jnp.where(nonfinite.reshape((-1,) + (1,) * (x.ndim - 1)), jnp.zeros_like(x), x)

    safe = SimState(*(clean(x) for x in sim))
    rest = upright(jax.tree.map(jnp.zeros_like, safe))
    return safe._replace(
        root_quat=where(nonfinite, rest.root_quat, safe.root_quat),
        body_quat=where(nonfinite, rest.body_quat, safe.body_quat),
    ), nonfinite


def _evaluated(
    kind: str, terms: Mapping[str, Term], state: TaskState, view: View, draws: Draws
) -> tuple[dict[str, jax.Array], TaskState]:
    """Value [E] of every term of a kind, by name.

    Raises:
      ConfigError: one has another shape.
    """
    values, states, shape = {}, {}, state.episode_step.shape
    for name, term in terms.items():
        own, drawn = of(state.terms, kind, name), of(draws.terms, kind, name)
        values[name], states[name] = term.call(term.apply, view, own, draws=drawn)
        if values[name].shape != shape:
            raise ConfigError(
                f"{kind.removesuffix('s')} '{name}' returned shape {values[name].shape}, expected {shape}: one "
                "value per environment. Reduce over joints, e.g. `.sum(-1)`."
            )
    return values, _with_states(state, kind, states)


def _terminations(
    mdp: Mdp, state: TaskState, view: View, draws: Draws
) -> tuple[TaskState, jax.Array, jax.Array]:
    """Who failed, and whose time is up [E] bool."""
    values, state = _evaluated("terminations", mdp.terminations, state, view, draws)
    failed = timed_out = jnp.zeros(state.episode_step.shape, bool)
    for name, value in values.items():
        if name in mdp.timeouts:
            timed_out = timed_out | value
        else:
            failed = failed | value
    return state, failed, timed_out


def _reward(
    mdp: Mdp, state: TaskState, view: View, draws: Draws, nonfinite: jax.Array
) -> tuple[TaskState, jax.Array]:
    """The step's reward [E], and the state with the episode's sums; non-finite environments get none."""
    weights = mdp.reward_weights(state.terms)
    raw, state = _evaluated("rewards", mdp.rewards, state, view, draws)
    values = jnp.where(nonfinite[:, None], 0.0, jnp.stack(list(raw.values()), axis=-1))
    weighted = values * weights[None] * mdp.scene.control_dt
    total = jnp.sum(weighted, axis=-1)
    if mdp.only_positive:
        total = jnp.maximum(total, 0.0)
    state = state.replace(
        episode_return=state.episode_return + total,
        reward_sums=state.reward_sums + weighted,
        raw_sums=state.raw_sums + values,
    )
    return state, total


def _metrics(mdp: Mdp, state: TaskState, view: View) -> dict[str, Any]:
    """What terms report, and (sum, count) over the episodes that ended, by the maximum length as in holosoma."""
    metrics: dict[str, Any] = {}
    for kind, terms in (("curriculum", mdp.curricula), ("commands", mdp.commands)):
        for name, term in terms.items():
            if term.metrics is not None:
                reported = term.metrics(view, of(state.terms, kind, name))
                metrics |= {f"Env/{key}": value for key, value in reported.items()}
    assert view.finished is not None
    weight = view.finished.astype(jnp.float32)
    count = jnp.sum(weight)
    seconds = jnp.sum(weight * state.episode_step.astype(jnp.float32)) * mdp.scene.control_dt
    longest = mdp.scene.max_episode_steps * mdp.scene.control_dt
    weighted = jnp.sum(weight[:, None] * state.reward_sums, axis=0)
    raw = jnp.sum(weight[:, None] * state.raw_sums, axis=0)
    for i, name in enumerate(mdp.rewards):
        metrics[f"Episode/rew_{name}"] = (weighted[i] / longest, count)
        metrics[f"RawEpisode/raw_rew_{name}"] = (raw[i] / longest, count)
        metrics[f"PerSecond/rew_{name}"] = (weighted[i], seconds)
    return metrics


def _curricula(mdp: Mdp, state: TaskState, view: View, draws: Draws) -> tuple[TaskState, View]:
    """Every control step, also when no episode ended; and the view of what they stand at then."""
    for name, curriculum in mdp.curricula.items():
        own, drawn = of(state.terms, "curriculum", name), of(draws.terms, "curriculum", name)
        after = curriculum.call(curriculum.update, view, own, draws=drawn)
        state = _with_states(state, "curriculum", {name: after})
        view = replace(view, curricula=mdp.values("curriculum", state.terms))
    return state, replace(view, command_ranges=mdp.command_ranges(state.terms))


def _start_episodes(mdp: Mdp, state: TaskState, view: View, done: jax.Array, draws: Draws) -> TaskState:
    """New episodes where `done`: clocks, actions, histories to zero; tile by the curricula; terms reset."""
    zeroed = ("episode_step", "action", "prev_action", "episode_return", "reward_sums", "raw_sums", "history")
    fresh = {name: jax.tree.map(jnp.zeros_like, getattr(state, name)) for name in zeroed}
    fresh = {name: where(done, new, getattr(state, name)) for name, new in fresh.items()}
    tile = state.tile
    for name, curriculum in mdp.curricula.items():
        if curriculum.spawn_row is not None:
            row = curriculum.spawn_row(of(state.terms, "curriculum", name))
            tile = where(
                done, tile.at[:, 0].set(jnp.clip(row, 0, mdp.scene.terrain.tile_kinds.shape[0] - 1)), tile
            )

    def reset(kind: str, name: str, term: Record) -> Any:
        own, drawn = of(state.terms, kind, name), of(draws.terms, kind, name)
        return term.start_episodes(view, done, own, drawn)

    states = {
        kind: {name: reset(kind, name, term) for name, term in terms.items()}
        for kind, terms in mdp.records.items()
    }
    return state.replace(tile=tile, terms=stored(states), **fresh)


def _update_commands(mdp: Mdp, state: TaskState, sim: SimState, draws: Draws) -> TaskState:
    """All commands one step further, each from the same view."""
    view, states = _view(mdp, state, sim), {}
    for name, command in mdp.commands.items():
        own, drawn = of(state.terms, "commands", name), of(draws.terms, "commands", name)
        states[name] = command.call(command.update, view, own, draws=drawn)
    return _with_states(state, "commands", states)


def _push(
    mdp: Mdp, state: TaskState, view: View, draws: Draws
) -> tuple[TaskState, jax.Array, jax.Array, jax.Array]:
    """Whose root velocity is replaced [E] bool, by which world velocities [E, 3]; of several, the last."""
    mask = jnp.zeros(state.episode_step.shape, bool)
    lin, ang, states = view.sim.root_lin_vel, view.sim.root_ang_vel, {}
    for name, term in mdp.randomization.items():
        if term.push is not None:
            own, drawn = of(state.terms, "randomization", name), of(draws.terms, "randomization", name)
            push, states[name] = term.call(term.push, view, own, draws=drawn)
            mask, lin, ang = (
                mask | push.mask,
                where(push.mask, push.lin, lin),
                where(push.mask, push.ang, ang),
            )
    return _with_states(state, "randomization", states), mask, lin, ang


def _poses(mdp: Mdp, view: View, state: TaskState, draws: Draws, done: jax.Array) -> tuple[jax.Array, Pose]:
    """Which robots are placed anew [E] bool, and where: on their tile in the nominal pose, unless terms say else."""
    scene = mdp.scene
    robot, spawn = scene.robot, scene.terrain.spawn
    place = view.origin.at[:, :2].add(spawn.xy_offset_range * draws.spawn_offset)
    if spawn.query_terrain_height:
        place = place.at[:, 2].set(scene.terrain.spawn_height(place[:, :2]))
    still = jnp.zeros((scene.num_envs, 3), jnp.float32)
    joints = (scene.num_envs, robot.num_joints)
    pose = Pose(
        root_pos=place + jnp.asarray(robot.init_pos, jnp.float32)[None],
        root_quat=jnp.broadcast_to(jnp.asarray(robot.init_quat, jnp.float32)[None], (scene.num_envs, 4)),
        root_lin_vel=still,
        root_ang_vel=still,
        joint_pos=jnp.broadcast_to(jnp.asarray(robot.default_joint_pos, jnp.float32)[None], joints),
        joint_vel=jnp.zeros(joints, jnp.float32),
    )
    for name, term in mdp.randomization.items():
        if term.pose is not None:
            own, drawn = of(state.terms, "randomization", name), of(draws.terms, "randomization", name)
            pose = term.call(term.pose, view, pose, own, draws=drawn)
    for name, command in mdp.commands.items():
        if command.place is not None:
            own, drawn = of(state.terms, "commands", name), of(draws.terms, "commands", name)
            done, pose = command.call(command.place, view, done, pose, own, draws=drawn)
    return done, pose
