"""Velocity-tracking locomotion: the control step, composed from the task's terms.

The order inside a control step is the same for every simulator: terminations and rewards see the
command and phase that the policy saw; then resets; then the gait clock, command timer and pushes;
then observations.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bridges.protocol import PhysicsParams, SimState
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs import observe as observation
from holosoma_jax.envs.env import ActuatorCommand, Observations, Reset, StepResult
from holosoma_jax.envs.state import Draws, LocomotionState
from holosoma_jax.envs.task import LocomotionTask
from holosoma_jax.envs.terms import actions, gait
from holosoma_jax.envs.view import View

_INIT, _PRE, _POST, _OBSERVE = range(4)  # streams of the task's key within one step


def init(
    task: LocomotionTask, groups: tuple[observation.Group, ...], key: jax.Array
) -> tuple[LocomotionState, Reset]:
    """State and first poses of all environments, from one key.

    In evaluation the command starts at zero and stays what the operator sets.
    """
    key_run, key_origin, key_once, key_bias, key_draw = jax.random.split(key, 5)
    e, j, r = task.num_envs, task.robot.num_joints, len(task.rewards)
    origin = task.terrain.env_origins(key_origin, e)
    draws = task.draw(key_draw, origin)
    offset = gait.phase_offsets(draws.phase_left)
    command = jnp.zeros((e, 3), jnp.float32) if task.evaluation else draws.reset_command
    joints = jnp.zeros((e, j), jnp.float32)
    state = LocomotionState(
        key=key_run,
        step=jnp.zeros((), jnp.int32),
        episode_step=jnp.zeros((e,), jnp.int32),
        action=joints,
        prev_action=joints,
        queue=jnp.zeros((e, task.delay.longest + 1, j), jnp.float32),
        delay=draws.delay,
        command=command,
        phase=gait.freeze_when_standing(offset, command),
        phase_offset=offset,
        gait_frequency=draws.reset_frequency,
        origin=origin,
        joint_bias=task.joint_bias.sample(key_bias, task.robot, e),
        torque_noise=draws.torque_noise,
        push_counter=jnp.zeros((e,), jnp.int32),
        push_interval=draws.push_interval,
        average_length=jnp.zeros((), jnp.float32),
        penalty_scale=jnp.asarray(task.penalty.initial(), jnp.float32),
        episode_return=jnp.zeros((e,), jnp.float32),
        reward_sums=jnp.zeros((e, r), jnp.float32),
        raw_sums=jnp.zeros((e, r), jnp.float32),
        history=observation.empty_history(groups, e),
    )
    everyone, nobody = jnp.ones((e,), bool), jnp.zeros((e,), bool)
    params = _joined(task.physics(task.once, key_once), draws.params)
    zero = jnp.zeros((e, 3), jnp.float32)
    return state, Reset(everyone, draws.pose, params, nobody, zero, zero)


def pre_step(
    task: LocomotionTask, clip: float, state: LocomotionState, action: jax.Array
) -> tuple[LocomotionState, ActuatorCommand]:
    """Take in the policy's action [E, J]: remember it raw; clip, delay and scale it into targets."""
    queue = actions.push_queue(state.queue, jnp.clip(action, -clip, clip))
    held = actions.delayed(queue, state.delay)
    scale = jnp.asarray(task.robot.action_scale, jnp.float32)[None]
    targets = actions.joint_targets(held, _default_joints(task, state), scale)
    offset = None
    if task.torque_noise.enabled:
        key = _step_key(state, _PRE)
        shape = (task.num_envs, task.decimation, task.robot.num_joints)
        offset = state.torque_noise[:, None] * jax.random.uniform(key, shape, minval=-1.0)
    state = state.replace(prev_action=state.action, action=action, queue=queue, step=state.step + 1)
    return state, ActuatorCommand(targets, offset)


def post_step(
    task: LocomotionTask, groups: tuple[observation.Group, ...], state: LocomotionState, sim: SimState
) -> tuple[LocomotionState, StepResult]:
    """Judge the state reached [E, ...], and say which environments start anew and which are pushed."""
    return post_step_from_draws(task, groups, state, sim, task.draw(_step_key(state, _POST), state.origin))


def post_step_from_draws(
    task: LocomotionTask,
    groups: tuple[observation.Group, ...],
    state: LocomotionState,
    sim: SimState,
    draws: Draws,
) -> tuple[LocomotionState, StepResult]:
    """`post_step` with its random values given: a deterministic function."""
    sim, nonfinite = _isolate(sim)
    state = state.replace(episode_step=state.episode_step + 1)
    view = _view(task, state, sim)
    terminated = _any(view, task.failures) & ~nonfinite
    truncated = _any(view, task.timeouts) | nonfinite
    view = _view(task, state, sim, terminated)
    state, reward = _reward(task, state, view, nonfinite)
    final_obs, _ = observation.observe(groups, view, state.history, draws.noise_key)
    done = terminated | truncated
    metrics = _metrics(task, state, done & ~nonfinite) | {
        "Env/nonfinite": jnp.sum(nonfinite.astype(jnp.float32))
    }
    judged = (state.episode_return, state.episode_step)
    state = _curricula(task, state, done & ~nonfinite)
    state = _reset(task, state, draws, done)
    state = _clock_and_command(task, state, draws)
    state, push_mask, push_lin = _push(task, state, sim, draws)
    resets = Reset(done, draws.pose, draws.params, push_mask, push_lin, sim.root_ang_vel)
    return state, StepResult(reward, terminated, truncated, final_obs, resets, *judged, metrics, nonfinite)


def observe(
    task: LocomotionTask,
    groups: tuple[observation.Group, ...],
    clip: float,
    state: LocomotionState,
    sim: SimState,
) -> tuple[LocomotionState, Observations]:
    """Observations [E, dim] of every group, clipped to +-clip; appends to the histories."""
    sim, _ = _isolate(sim)
    vectors, history = observation.observe(
        groups, _view(task, state, sim), state.history, _step_key(state, _OBSERVE)
    )
    clipped = {name: jnp.clip(vector, -clip, clip) for name, vector in vectors.items()}
    return state.replace(history=history), clipped


def randomize_clocks(task: LocomotionTask, state: LocomotionState, key: jax.Array) -> LocomotionState:
    """Uniform random episode clocks in [0, max_episode_steps), so that time-outs do not coincide."""
    clock = jax.random.randint(key, (task.num_envs,), 0, task.max_episode_steps)
    return state.replace(episode_step=clock)


def _step_key(state: LocomotionState, stream: int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(state.key, state.step), stream)


def _default_joints(task: LocomotionTask, state: LocomotionState) -> jax.Array:
    return jnp.asarray(task.robot.default_joint_pos, jnp.float32)[None] + state.joint_bias


def _view(
    task: LocomotionTask, state: LocomotionState, sim: SimState, terminated: jax.Array | None = None
) -> View:
    return View(
        robot=task.robot,
        terrain=task.terrain,
        control_dt=task.control_dt,
        max_episode_steps=task.max_episode_steps,
        sim=sim,
        action=state.action,
        prev_action=state.prev_action,
        default_joint_pos=_default_joints(task, state),
        command=state.command,
        phase=state.phase,
        episode_step=state.episode_step,
        terminated=terminated,
    )


def _isolate(sim: SimState) -> tuple[SimState, jax.Array]:
    """The state with non-finite environments replaced by zeros (upright), and which they are [E]."""
    finite = [jnp.all(jnp.isfinite(x), axis=tuple(range(1, x.ndim))) for x in sim]
    nonfinite = ~jnp.stack(finite).all(0)

    def clean(x: jax.Array) -> jax.Array:
        return jnp.where(nonfinite.reshape((-1,) + (1,) * (x.ndim - 1)), jnp.zeros_like(x), x)

    safe = SimState(*(clean(x) for x in sim))
    upright = jnp.zeros_like(safe.root_quat).at[..., 0].set(1.0)
    body_upright = jnp.zeros_like(safe.body_quat).at[..., 0].set(1.0)
    return safe._replace(
        root_quat=jnp.where(nonfinite[:, None], upright, safe.root_quat),
        body_quat=jnp.where(nonfinite[:, None, None], body_upright, safe.body_quat),
    ), nonfinite


def _any(view: View, terms: Any) -> jax.Array:
    result = jnp.zeros((view.command.shape[0],), bool)
    for name, term in terms.items():
        result = result | _shaped("termination", name, term(view), result.shape)
    return result


def _reward(
    task: LocomotionTask, state: LocomotionState, view: View, nonfinite: jax.Array
) -> tuple[LocomotionState, jax.Array]:
    """The step's reward [E], and the state with the episode's sums; non-finite environments get none."""
    shape = (task.num_envs,)
    raw = [_shaped("reward", name, term(view), shape) for name, term in task.rewards.items()]
    values = jnp.where(nonfinite[:, None], 0.0, jnp.stack(raw, axis=-1))
    weights = task.weights * jnp.where(task.tagged, state.penalty_scale, 1.0)
    weighted = values * weights[None] * task.control_dt
    total = jnp.sum(weighted, axis=-1)
    if task.only_positive:
        total = jnp.maximum(total, 0.0)
    state = state.replace(
        episode_return=state.episode_return + total,
        reward_sums=state.reward_sums + weighted,
        raw_sums=state.raw_sums + values,
    )
    return state, total


def _shaped(kind: str, name: str, value: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The value of a term, or an error that names the term whose shape is wrong."""
    if value.shape != shape:
        raise ConfigError(
            f"{kind} '{name}' returned shape {value.shape}, expected {shape}: one value per environment. "
            "Reduce over joints, e.g. `.sum(-1)`."
        )
    return value


def _metrics(task: LocomotionTask, state: LocomotionState, done: jax.Array) -> dict[str, Any]:
    """(sum, count) over the episodes that ended, by the episode's maximum length as in the reference."""
    weight = done.astype(jnp.float32)
    count = jnp.sum(weight)
    seconds = jnp.sum(weight * state.episode_step.astype(jnp.float32)) * task.control_dt
    longest = task.max_episode_steps * task.control_dt
    weighted = jnp.sum(weight[:, None] * state.reward_sums, axis=0)
    raw = jnp.sum(weight[:, None] * state.raw_sums, axis=0)
    metrics: dict[str, Any] = {
        "Env/average_episode_length": state.average_length,
        "Env/penalty_scale": state.penalty_scale,
        "Env/command_speed": jnp.mean(jnp.sqrt(jnp.sum(jnp.square(state.command[:, :2]), -1))),
    }
    for i, name in enumerate(task.rewards):
        metrics[f"Episode/rew_{name}"] = (weighted[i] / longest, count)
        metrics[f"RawEpisode/raw_rew_{name}"] = (raw[i] / longest, count)
        metrics[f"PerSecond/rew_{name}"] = (weighted[i], seconds)
    return metrics


def _curricula(task: LocomotionTask, state: LocomotionState, done: jax.Array) -> LocomotionState:
    """Every control step, also when no episode ended."""
    average = task.tracker.update(state.average_length, state.episode_step, done)
    return state.replace(
        average_length=average, penalty_scale=task.penalty.update(state.penalty_scale, average)
    )


def _reset(task: LocomotionTask, state: LocomotionState, draws: Draws, done: jax.Array) -> LocomotionState:
    """New episode where `done`: clocks, actions, histories to zero; delay, gait, command drawn."""
    offset = gait.phase_offsets(draws.phase_left)
    fresh: dict[str, Any] = {
        "delay": draws.delay,
        "phase": offset,
        "phase_offset": offset,
        "gait_frequency": draws.reset_frequency,
        "torque_noise": draws.torque_noise,
        "push_interval": draws.push_interval,
    }
    if not task.evaluation:
        fresh["command"] = draws.reset_command
    zeroed = ("episode_step", "action", "prev_action", "queue", "push_counter", "episode_return")
    for name in (*zeroed, "reward_sums", "raw_sums"):
        fresh[name] = jnp.zeros_like(getattr(state, name))
    chosen = {name: _where(done, new, getattr(state, name)) for name, new in fresh.items()}
    history = {name: _where(done, jnp.zeros_like(x), x) for name, x in state.history.items()}
    return state.replace(history=history, **chosen)


def _clock_and_command(task: LocomotionTask, state: LocomotionState, draws: Draws) -> LocomotionState:
    """Advance the gait clock, then redraw commands that are due.

    The clock runs first, so freezing and unfreezing follow a new command one step later. An
    environment that was just reset is due as well (0 is a multiple of the interval) and draws twice.
    """
    phase = gait.gait_phase(state.episode_step, state.gait_frequency, state.phase_offset, task.control_dt)
    state = state.replace(phase=gait.freeze_when_standing(phase, state.command))
    if task.evaluation:
        return state
    due = state.episode_step % task.resampling_steps == 0
    return state.replace(
        command=_where(due, draws.timer_command, state.command),
        gait_frequency=_where(due, draws.timer_frequency, state.gait_frequency),
    )


def _push(
    task: LocomotionTask, state: LocomotionState, sim: SimState, draws: Draws
) -> tuple[LocomotionState, jax.Array, jax.Array]:
    """Count towards the next push; where it is due: mask [E], the root's new world velocity [E, 3]."""
    counter = state.push_counter + 1
    due = counter == state.push_interval
    if not task.push.enabled or (task.evaluation and not task.push.in_evaluation):
        due = jnp.zeros_like(due)
    state = state.replace(
        push_counter=jnp.where(due, 0, counter),
        push_interval=jnp.where(due, draws.push_interval, state.push_interval),
    )
    velocity = jnp.concatenate([draws.push_velocity, sim.root_lin_vel[:, 2:]], axis=-1)
    return state, due, velocity


def _where(mask: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(mask.reshape((-1,) + (1,) * (old.ndim - 1)), new, old)


def _joined(a: PhysicsParams, b: PhysicsParams) -> PhysicsParams:
    return PhysicsParams(*(y if x is None else x for x, y in zip(a, b, strict=True)))
