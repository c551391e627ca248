"""What iterations without Python in between record on the device: environment 0, and what was not finite first.

`replay_callbacks` shows it to the callbacks afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Pose, SimState
from holosoma_jax.envs import nonfinite
from holosoma_jax.envs.env import Env, StepResult
from holosoma_jax.parallel.devices import Devices
from holosoma_jax.rollout import nan_guard
from holosoma_jax.rollout.state import OnStep, RolloutState, StepInfo


class Env0Frame(NamedTuple):
    """Environment 0 after a control step, before the simulator resets anything: [1, ...] arrays."""

    sim: SimState
    command: jax.Array | None
    """[1, 3] velocity command, if the task has one"""
    ghost: Pose | None
    """[1, ...] the pose that it was to reach, if the task has one"""
    reset: jax.Array
    """[1] bool, its episode ended"""


def frame(seen: tuple[jax.Array | None, Pose | None], sim: SimState, result: StepResult) -> Env0Frame:
    """What a callback sees of environment 0; `seen` are velocity command and ghost."""
    return Env0Frame(*jax.tree.map(lambda x: x[:1], (sim, *seen, result.reset.mask)))


def frame_of(env: Env, state: Any, sim: SimState) -> Env0Frame:
    """A frame of these values; for its shape."""
    return frame((env.velocity_command(state), env.ghost(state)), sim, env.post_step(state, sim)[1])


def replay_callbacks(frames: Env0Frame, event: NonFiniteEvent, steps: int, on_step: OnStep) -> None:
    """Call `on_step` for each of `steps` control steps: `frames` are [T, 1, ...], T >= steps.

    Only the first step that led to non-finite states is marked as such.
    """
    frames, t_event = jax.device_get(frames), int(event.t)
    for t in range(steps):
        now = jax.tree.map(lambda x, t=t: x[t], frames)
        on_step(
            StepInfo(
                t,
                now.sim,
                now.command,
                None,
                np.asarray(now.reset),
                event.nonfinite,
                t == t_event,
                event.history,
                None,
                now.ghost,
            )
        )


class NonFiniteEvent(NamedTuple):
    """The first control step that led to a non-finite state, and the first in which anything was not finite."""

    t: jax.Array
    """[] int32, control steps before the one that led to a non-finite state; -1 if there was none"""
    nonfinite: jax.Array
    """[E] bool"""
    history: nan_guard.History
    t_cause: jax.Array
    """[] int32, control steps before the first with a non-finite state, target or reward; -1 if there was none. A
    simulator may clamp a target that is NaN, and an environment that diverged is reset at once"""
    marks: Any
    """`envs.nonfinite.marks` of that step"""


def no_event(env: Env, rollout: RolloutState) -> NonFiniteEvent:
    """All so far is finite."""
    state, none = rollout.carry.env, jnp.int32(-1)
    marks = jax.eval_shape(partial(nonfinite.marks, env), state, rollout.sim, state)
    history, marks = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (rollout.history, marks))
    return NonFiniteEvent(none, jnp.zeros(env.spec.num_envs, bool), history, none, marks)


def record_event(
    event: NonFiniteEvent, t: jax.Array, result: StepResult, history: nan_guard.History
) -> NonFiniteEvent:
    """`event`, or the states of control step `t` if they are the first that are not finite."""
    first = (event.t < 0) & result.nonfinite.any()
    when, rows, kept = jax.lax.cond(
        first,
        lambda: (jnp.int32(t), result.nonfinite, history),
        lambda: (event.t, event.nonfinite, event.history),
    )
    return event._replace(t=when, nonfinite=rows, history=kept)


def record_cause(
    event: NonFiniteEvent, t: jax.Array, bad: jax.Array, marks: Callable[[], Any]
) -> NonFiniteEvent:
    """`event`, or `marks` of control step `t` if it is the first that is `bad`."""
    when, found = jax.lax.cond(
        (event.t_cause < 0) & bad, lambda: (jnp.int32(t), marks()), lambda: (event.t_cause, event.marks)
    )
    return event._replace(t_cause=when, marks=found)


def first_event(event: NonFiniteEvent, devices: Devices) -> NonFiniteEvent:
    """The first event of all `devices` of this process, with the environments [E] that it befell."""
    if devices.axis_name is None:
        return event
    t, now = _first(event.t)
    rows = np.asarray(event.nonfinite) & now[:, None]
    history = nan_guard.gathered(event.history, devices)
    history = history.replace(count=np.asarray(event.history.count)[now][0])  # 0 on the others
    t_cause, now = _first(event.t_cause)
    marks = jax.tree.map(lambda x: np.asarray(x) & now.reshape(-1, *(1,) * (x.ndim - 1)), event.marks)
    marks = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), marks)
    return NonFiniteEvent(t, jnp.asarray(rows.reshape(-1)), history, t_cause, marks)


def _first(t: jax.Array) -> tuple[jax.Array, np.ndarray]:
    """The earliest of the times [D] that are not -1, and which devices [D] have it."""
    times = np.asarray(t)
    first = times[times >= 0].min() if (times >= 0).any() else np.int32(-1)
    return jnp.int32(first), times == first
