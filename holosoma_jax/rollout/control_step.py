"""What every control step has in common, whoever learns: its values, how it begins, how it is settled.

A control step is: observe and act, the simulator, rewards and terminations, and the simulator's answer to
the resets. Its two halves are pure functions (`rollout`, `experience`); drivers put the simulator between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bridges.protocol import Bridge, Physics, SimState
from holosoma_jax.envs.env import ActuatorCommand, Env, EnvState, Reset, StepResult
from holosoma_jax.learn import pooling
from holosoma_jax.rollout import metrics, nan_guard
from holosoma_jax.rollout.seeding import stream


class Carry(struct.PyTreeNode):
    """What changes on the device from control step to control step, beside the learner."""

    env: EnvState
    episodes: metrics.Episodes
    window: dict[str, metrics.Mean]  # this rollout's metrics so far
    step: jax.Array  # [] int32, control steps since the run began


class World(NamedTuple):
    """All of a run that is not the learner. Owns its arrays: nothing in it is borrowed."""

    carry: Carry
    physics: Physics
    sim: SimState
    """state that the next observation is made from"""
    history: nan_guard.History
    """the last simulator states, for the report on a non-finite one"""


class Step(NamedTuple):
    """A control step as an onlooker sees it, before the simulator resets anything. Arrays are borrowed."""

    t: int
    """control step within the rollout"""
    env: EnvState
    sim: SimState
    """the state reached"""
    reset: Reset
    bad: jax.Array
    """[N] bool: environments whose simulator state was not finite"""
    history: nan_guard.History
    nonfinite: bool
    """whether `bad` holds any"""


def respond(
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


def simulate(bridge: Bridge, physics: Physics, asked: ActuatorCommand) -> tuple[Physics, SimState]:
    """`bridge.step`; where the simulator refuses targets that are not finite, it is said whose fault that is.

    Raises:
      NonFiniteError: names the environments.
    """
    try:
        return bridge.step(physics, *asked)
    except ValueError as error:
        rows = np.flatnonzero(~np.isfinite(np.asarray(asked.targets)).all(axis=1))
        if not rows.size:
            raise
        shown = ", ".join(map(str, rows[: nan_guard.MAX_ENVS]))
        raise nan_guard.NonFiniteError(
            f"the actions of {len(rows)} environment(s) are not finite ({shown}), though the learner was when it "
            "was last looked at: an observation term gives such numbers. Mend it, and resume from the last "
            "checkpoint."
        ) from error


def start(
    env: Env,
    bridge: Bridge,
    judge: Callable[
        [Carry, nan_guard.History, SimState, jax.Array], tuple[Carry, nan_guard.History, Reset, Any]
    ],
    root: jax.Array,
    *,
    names: Iterable[str] = (),
    spread_clocks: bool = True,
) -> World:
    """Reset every environment, then take one step with zero action for the first observation.

    Args:
      env: the task.
      bridge: its simulator.
      judge: carry, history, state reached, joint targets -> carry, history, reset, flags [reset due,
        push due, ...]: the compiled second half of a control step.
      root: key of this process' random streams.
      names: of metrics that the learner pools in the window, beside the environment's.
      spread_clocks: give every episode a random age afterwards, so that time-outs do not coincide.
    """
    num_envs = env.spec.num_envs
    state, reset = jax.jit(env.init)(stream(root, "init"))
    physics, sim = respond(bridge, bridge.init(), None, reset, resets=True, pushes=False)
    names = (*jax.eval_shape(env.post_step, state, sim)[1].metrics, *names)

    def nothing_yet(state: EnvState) -> Carry:
        step = jnp.zeros((), jnp.int32)
        return placed(Carry(state, metrics.episodes(num_envs), metrics.window(names), step))

    state, asked = jax.jit(env.pre_step)(state, jnp.zeros((num_envs, env.spec.action_dim)))
    jax.block_until_ready(asked)
    physics, sim = bridge.step(physics, *asked)
    history = placed(nan_guard.history(sim, asked.targets))
    carry, history, reset, due = judge(nothing_yet(state), history, sim, asked.targets)
    physics, sim = respond(bridge, physics, sim, reset, *np.asarray(due)[:2])
    state = carry.env
    if spread_clocks:
        state = jax.jit(env.randomize_clocks)(state, stream(root, "clocks"))
    return World(nothing_yet(state), physics, jax.tree.map(jnp.copy, sim), history)


def settle(carry: Carry, state: EnvState, result: StepResult) -> Carry:
    """`carry` after a control step that led to `state` and `result`."""
    done = jnp.logical_or(result.terminated, result.truncated)
    return carry.replace(
        env=state,
        episodes=metrics.record(carry.episodes, result.reward, done, ~result.nonfinite),
        window=metrics.pool(carry.window, result.metrics),
        step=carry.step + 1,
    )


def close_window(carry: Carry, axis_name: str | None = None) -> tuple[Carry, dict[str, metrics.Mean]]:
    """End the window: `carry` with an empty one, and what it held, with that of all devices of `axis_name`.

    What an environment state holds as one float for all environments (the averages of a curriculum)
    becomes the mean over the devices.
    """
    window = pooling.psum({**carry.window, **metrics.recent(carry.episodes)}, axis_name)
    carry = carry.replace(window=metrics.window(carry.window))
    if axis_name is None:
        return carry, window

    def shared(x: jax.Array) -> jax.Array:
        return jax.lax.pmean(x, axis_name) if is_shared(x) else x

    return carry.replace(env=jax.tree.map(shared, carry.env)), window


def shared_numbers(state: EnvState) -> dict[str, float]:
    """What `state` holds as one float for all environments, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {leaf_name(path): float(x) for path, x in leaves if is_shared(x)}


def is_shared(x: jax.Array) -> bool:
    """Whether this leaf of an environment state is one float for all environments."""
    return x.ndim == 0 and jnp.issubdtype(x.dtype, jnp.floating)


def leaf_name(path: Any) -> str:
    """'a/b' of a path in a pytree."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def placed(tree: Any) -> Any:
    """`tree` committed to this process' device.

    To jit, an array that merely happens to lie on a device is another argument than one that was put
    there; mixing the two compiles everything twice.
    """
    return jax.device_put(tree, jax.local_devices()[0])
