"""The two compiled halves of a control step, and the simulator between them, called from Python."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Bridge
from holosoma_jax.envs.env import ActuatorCommand, Env
from holosoma_jax.parallel.devices import Devices
from holosoma_jax.rollout import control_step, nan_guard
from holosoma_jax.rollout.control_step import apply_resets
from holosoma_jax.rollout.rollout_fns import Process
from holosoma_jax.rollout.state import Keys, OnStep, RolloutState, RunnerState, StepInfo, no_callback


class Halves(NamedTuple):
    """A control step's two halves, compiled."""

    act: Callable[..., tuple[Any, Any, Any, Any, ActuatorCommand]]
    """learner, replay, pending, carry, sim, keys -> learner, replay, pending, carry, command"""
    process: Callable[..., tuple[Any, Any, Any, Any, Any, Any, Any]]
    """learner, pending, carry, history, sim, command -> pending, carry, history, reset, nonfinite [E],
    the velocity command and the ghost, [any reset, any push, any non-finite]"""


class Seconds(NamedTuple):
    """Where the time of a control step went."""

    act: float = 0.0
    """until the actuator command was there"""
    physics: float = 0.0
    """inside the simulator"""


class NonFiniteActions(nan_guard.NonFiniteError):
    """The simulator refused targets that are not finite; names the environments."""

    def __init__(self, rows: np.ndarray, state: RunnerState):
        """Environments `rows`, in the control step that `state` is in the middle of."""
        shown = ", ".join(map(str, rows[: nan_guard.MAX_ENVS]))
        super().__init__(f"{len(rows)} environment(s) got actions that are not finite ({shown}).")
        self.state = state


def only_changed(after: Any, before: Any) -> Any:
    """`after` with None for every leaf that is that of `before`, in a function that is being traced.

    Where an argument is not donated, every output is a copy: of all parameters and moments too.
    """
    return jax.tree.map(lambda new, old: None if new is old else new, after, before)


def merge(before: Any, changed: Any) -> Any:
    """`before` with the leaves of `changed` (`only_changed`) that are not None."""
    return jax.tree.map(lambda old, new: old if new is None else new, before, changed)


def process_half(
    env: Env,
    on_env_step: Process,
    devices: Devices = Devices(),  # noqa: B008
) -> Callable[..., Any]:
    """`control_step.process_env_step`, compiled, as in `Halves`."""

    def process(learner, pending, carry, history, sim, command):
        seen = env.velocity_command(carry.env), env.ghost(carry.env)
        pending, carry, history, result = control_step.process_env_step(
            env, on_env_step, learner, pending, carry, history, sim, command
        )
        due = jnp.stack([result.reset.mask.any(), result.reset.push_mask.any(), result.nonfinite.any()])
        return pending, carry, history, result.reset, result.nonfinite, seen, due

    return devices.jit(process, (1, 2, 3))


def take_step(
    bridge: Bridge,
    halves: Halves,
    state: RunnerState,
    keys: Keys,
    t: int,
    on_step: OnStep = no_callback,
    devices: Devices = Devices(),  # noqa: B008
) -> tuple[RunnerState, Seconds]:
    """One control step. `state` is used up.

    Raises:
      NonFiniteActions: the simulator refuses the actions.
    """
    learner, replay, pending, rollout = state
    began = time.perf_counter()
    # Bridges do not commit what they hand over to a device, a restored state is: see `Devices.commit`.
    changed, replay, pending, carry, command = halves.act(
        learner, replay, pending, rollout.carry, devices.commit(rollout.sim), keys
    )
    state = RunnerState(merge(learner, changed), replay, pending, rollout._replace(carry=carry))
    return simulate(bridge, halves.process, state, command, began, t, on_step, devices)


def simulate(
    bridge: Bridge,
    process: Callable[..., Any],
    state: RunnerState,
    command: ActuatorCommand,
    began: float,
    t: int,
    on_step: OnStep = no_callback,
    devices: Devices = Devices(),  # noqa: B008
) -> tuple[RunnerState, Seconds]:
    """The rest of a control step that began at `began`, from `command` on. `state` is used up.

    The host waits twice, for what the simulator needs: the actuator command, and three flags (any reset, any push,
    any non-finite). Borrowed arrays are safe by this order: each bridge call comes after the fetch of a result of
    the jitted function that read them.

    Raises:
      NonFiniteActions: the simulator refuses the actions.
    """
    learner, replay, pending, (carry, physics, sim, history) = state
    jax.block_until_ready(command)
    acted = time.perf_counter()
    try:
        physics, sim = bridge.step(physics, *command)
    except ValueError as error:
        rows = np.flatnonzero(~np.isfinite(np.asarray(command.targets)).all(axis=-1))
        if not rows.size:
            raise
        raise NonFiniteActions(rows, state) from error
    stepped = time.perf_counter()
    pending, carry, history, reset, failing, seen, due = process(
        learner, pending, carry, history, sim, command
    )
    resets, pushes, any_nonfinite = any_set(due)  # the step's one transfer
    any_nonfinite = bool(any_nonfinite)
    own = (sim, seen, command.targets, reset.mask, failing)
    past = nan_guard.gathered(history, devices) if any_nonfinite else history
    rows, (seen, ghost), asked, ended, failed = devices.gather(own)
    on_step(StepInfo(t, rows, seen, asked, ended, failed, any_nonfinite, past, pending, ghost))
    resetting = time.perf_counter()
    physics, sim = apply_resets(bridge, physics, sim, reset, resets, pushes)
    seconds = Seconds(acted - began, stepped - acted + time.perf_counter() - resetting)
    return RunnerState(learner, replay, pending, RolloutState(carry, physics, sim, history)), seconds


def any_set(flags: Any) -> np.ndarray:
    """[3] bool on the host: which of the flags [3] or [D, 3] are set on any device of this process."""
    return np.any(np.asarray(flags).reshape(-1, 3), axis=0)
