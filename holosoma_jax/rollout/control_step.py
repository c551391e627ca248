"""The control step: observe and act, the simulator, rewards and terminations, the simulator's resets.

Its two halves, `act` and `process_env_step`, are pure functions of arrays that know no simulator; what the learner
does in them is in `RolloutFns`. The drivers put the simulator in between: `stepped` from Python, with any bridge,
`fused` inside one XLA program, with a traceable bridge. Training and evaluation take the same step::

    def control_step(state, _):
        learner, replay, pending, (carry, physics, sim, history) = state
        learner, replay, pending, carry, command = act(
            env, fns.act, learner, replay, pending, carry, sim, keys
        )
        physics, sim = bridge.step(physics, *command)
        pending, carry, history, result = process_env_step(
            env, fns.process, learner, pending, carry, history, sim, command
        )
        physics, sim = apply_resets(bridge, physics, sim, result.reset, True, True)
        return RunnerState(learner, replay, pending, RolloutState(carry, physics, sim, history)), result.reward
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from bridges.protocol import Bridge, Physics, SimState
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.env import ActuatorCommand, Env, EnvState, Reset, StepResult
from holosoma_jax.learn import pooling
from holosoma_jax.parallel.devices import Devices
from holosoma_jax.rollout import metrics, nan_guard
from holosoma_jax.rollout.rollout_fns import Act, Process, RolloutFns
from holosoma_jax.rollout.seeding import stream
from holosoma_jax.rollout.state import EnvCarry, EnvStep, Keys, RunnerState

VALID = "valid"
"""Share of environment steps with a finite simulator state: in the metrics buffer, not in the log."""
BAD_REWARD = "bad_reward"
"""Share of environment steps with a reward that is not finite, likewise. A learner may clip an infinite one, and a
replayed NaN shows when it is drawn."""


def act(
    env: Env,
    policy: Act,
    learner: Any,
    replay: Any,
    pending: Any,
    carry: EnvCarry,
    sim: SimState,
    keys: Keys,
    axis_name: str | None = None,
) -> tuple[Any, Any, Any, EnvCarry, ActuatorCommand]:
    """First half: what the policy sees in `sim`, what it does, what is asked of the simulator.

    policy: see `RolloutFns.act`.
    """
    state, obs = env.observe(carry.env, sim)
    learner, replay, pending, action, measured = policy(
        learner, replay, pending, obs, carry.step, keys, axis_name
    )
    wanted = (env.spec.num_envs, env.spec.action_dim)
    if jnp.shape(action) != wanted:
        raise ConfigError(
            f"algo.name: the learner's action has the shape {jnp.shape(action)}, wanted {wanted}."
        )
    state, command = env.pre_step(state, action)
    carry = carry.replace(env=state, metrics_buffer=metrics.pool(carry.metrics_buffer, measured))
    return learner, replay, pending, carry, command


def process_env_step(
    env: Env,
    process: Process,
    learner: Any,
    pending: Any,
    carry: EnvCarry,
    history: nan_guard.History,
    sim: SimState,
    command: ActuatorCommand,
) -> tuple[Any, EnvCarry, nan_guard.History, StepResult]:
    """Second half: what the step was worth, which episodes end, what has to be reset or pushed.

    process: see `RolloutFns.process`.
    """
    state, result = env.post_step(carry.env, sim)
    pending, measured = process(learner, pending, EnvStep(carry.env, sim, command, result))
    history = nan_guard.remember(history, sim, command.targets)
    return pending, accumulate_metrics(carry, state, result, measured), history, result


def accumulate_metrics(carry: EnvCarry, state: EnvState, result: StepResult, measured: Any = ()) -> EnvCarry:
    """`carry` after a control step that led to `state` and `result`; `measured`: metrics of the learner."""
    done = jnp.logical_or(result.terminated, result.truncated)
    odd = {VALID: ~result.nonfinite, BAD_REWARD: ~jnp.isfinite(result.reward)}
    shares = {name: jnp.mean(flags, dtype=jnp.float32) for name, flags in odd.items()}
    return EnvCarry(
        env=state,
        episodes=metrics.record(carry.episodes, result.reward, done, ~result.nonfinite),
        metrics_buffer=metrics.pool(carry.metrics_buffer, {**result.metrics, **shares, **dict(measured)}),
        step=carry.step + 1,
    )


def apply_resets(
    bridge: Bridge, physics: Physics, sim: SimState | None, reset: Reset, resets: bool, pushes: bool
) -> tuple[Physics, Any]:
    """Have the simulator do what `reset` asks; the flags say whether its masks hold anything.

    Parameters go first, so that the reset poses are evaluated with the new ones.
    """
    if resets:
        if any(value is not None for value in reset.params):
            physics = bridge.randomize(physics, reset.params, reset.mask)
        physics, sim = bridge.reset(physics, reset.mask, reset.pose)
    if pushes:
        physics, sim = bridge.set_root_velocity(physics, reset.push_mask, reset.push_lin, reset.push_ang)
    return physics, sim


def empty_carry(env: Env, state: EnvState, metric_names: Iterable[str]) -> EnvCarry:
    """The carry before the first control step."""
    episodes, buffer = metrics.episodes(env.spec.num_envs), metrics.buffer(metric_names)
    return EnvCarry(state, episodes, buffer, jnp.zeros((), jnp.int32))


def metric_names(
    env: Env, fns: RolloutFns, runner: RunnerState, state: EnvState, sim: SimState, keys: Keys
) -> tuple[str, ...]:
    """What a control step measures; arrays or their shapes will do. `runner.rollout` is not read."""

    def measured(learner: Any, replay: Any, pending: Any, state: EnvState, sim: SimState, keys: Keys) -> Any:
        carry = EnvCarry(state, metrics.episodes(env.spec.num_envs), {}, jnp.zeros((), jnp.int32))
        learner, _, pending, carry, command = act(env, fns.act, learner, replay, pending, carry, sim, keys)
        history = nan_guard.history(sim, command.targets)
        _, carry, _, _ = process_env_step(env, fns.process, learner, pending, carry, history, sim, command)
        return carry.metrics_buffer

    return tuple(jax.eval_shape(measured, *runner[:3], state, sim, keys))


def reset_all(
    env: Env,
    bridge: Bridge,
    key: jax.Array,
    devices: Devices = Devices(),  # noqa: B008
) -> tuple[EnvState, Physics, SimState]:
    """Every environment at the start of an episode; with several `devices`, `bridge` is one over them."""
    state, reset = devices.jit(lambda key: env.init(stream(key, "init")))(key)
    physics, sim = apply_resets(bridge, bridge.init(), None, reset, resets=True, pushes=False)
    return state, physics, sim


def flush_metrics(
    carry: EnvCarry, axis_name: str | None = None, pooled: Collection[str] = ()
) -> tuple[EnvCarry, dict[str, metrics.Mean]]:
    """`carry` with an empty metrics buffer, and what was in it, summed over the devices of `axis_name`.

    What an environment state holds as one float for all environments (the averages of a curriculum), or under a
    path in `pooled`, becomes the mean over the devices.
    """
    measured = pooling.psum({**carry.metrics_buffer, **metrics.recent(carry.episodes)}, axis_name)
    carry = carry.replace(metrics_buffer=metrics.buffer(carry.metrics_buffer))
    if axis_name is None:
        return carry, measured

    def shared(path: Any, x: jax.Array) -> jax.Array:
        one = is_global_scalar(x) or leaf_name(path) in pooled
        return jax.lax.pmean(x, axis_name) if one else x

    return carry.replace(env=jax.tree_util.tree_map_with_path(shared, carry.env)), measured


def end_rollout(
    env: Env,
    fns: RolloutFns,
    learner: Any,
    pending: Any,
    carry: EnvCarry,
    sim: SimState,
    iteration: jax.Array,
    keys: Keys,
    axis_name: str | None = None,
) -> tuple[Any, Any, EnvCarry, dict[str, metrics.Mean], Any, jax.Array]:
    """What follows the last control step: the update, the metrics.

    Returns:
      learner, pending, carry, metrics of the steps, losses, whether the learner is finite.
    """
    # A look ahead, not a step: the state that `observe` returns is dropped, so the next rollout observes `sim` again,
    # with the same noise.
    _, obs = env.observe(carry.env, sim)
    learner, pending, losses, finite = fns.update(learner, pending, obs, iteration, keys, axis_name)
    carry, measured = flush_metrics(carry, axis_name, env.spec.pooled)
    return learner, pending, carry, measured, losses, finite


def global_scalars(state: EnvState) -> dict[str, float]:
    """What `state` holds as one float for all environments, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {leaf_name(path): float(x) for path, x in leaves if is_global_scalar(x)}


def is_global_scalar(x: jax.Array | jax.ShapeDtypeStruct) -> bool:
    """Whether this leaf of an environment state is one float for all environments."""
    return x.ndim == 0 and jnp.issubdtype(x.dtype, jnp.floating)


def leaf_name(path: Any) -> str:
    """'a/b' of a path in a pytree."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def commit_to_device(tree: Any) -> Any:
    """`Devices.commit` where there is one device."""
    return Devices().commit(tree)
