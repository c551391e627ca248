"""Control steps inside a compiled program: what needs a traceable bridge, and gets no Python in between.

The halves of a control step are those of the stepped drivers (`rollout`, `experience`), and so are the
values that go in and come out; a run may be continued with either. What an onlooker could have seen on
the way is recorded on the device, for environment 0, and shown afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Bridge, Physics, SimState
from holosoma_jax.envs.env import EnvState, Reset, StepResult
from holosoma_jax.rollout import nan_guard
from holosoma_jax.rollout.control_step import Step, respond


def require_traceable(bridge: Bridge) -> None:
    """Raise ValueError unless `bridge` can be part of a compiled program."""
    if not bridge.spec.traceable:
        raise ValueError(f"bridge: got '{bridge.spec.simulator}', wanted a traceable one, such as 'mjwarp'.")


class Glimpse(NamedTuple):
    """Environment 0 after a control step, before the simulator resets anything: [1, ...] arrays."""

    sim: SimState
    command: jax.Array | None
    """[1, 3], if the task has commands"""
    ended: jax.Array
    """[1] bool, its episode"""


class Incident(NamedTuple):
    """The first control step of a stretch that led to a non-finite state."""

    t: jax.Array
    """[] int32, within the stretch; -1 if there was none"""
    bad: jax.Array
    """[E] bool"""
    history: nan_guard.History


def calm(history: nan_guard.History, num_envs: int) -> Incident:
    """No incident yet."""
    return Incident(jnp.int32(-1), jnp.zeros(num_envs, bool), jax.tree.map(jnp.zeros_like, history))


def note(incident: Incident, t: jax.Array, result: StepResult, history: nan_guard.History) -> Incident:
    """`incident`, or that of control step `t` if it is the first."""
    first = (incident.t < 0) & result.nonfinite.any()
    return jax.lax.cond(first, lambda: Incident(jnp.int32(t), result.nonfinite, history), lambda: incident)


def glimpse(state: EnvState, sim: SimState, result: StepResult) -> Glimpse:
    """What an onlooker sees of environment 0."""
    command = getattr(state, "command", None)
    command = command[:1] if command is not None and command.ndim == 2 else None
    return Glimpse(jax.tree.map(lambda x: x[:1], sim), command, result.reset.mask[:1])


def answer(bridge: Bridge, physics: Physics, sim: SimState, reset: Reset) -> tuple[Physics, SimState]:
    """`control_step.respond`, inside a program: the simulator is asked only if something is due."""
    physics, sim = jax.lax.cond(
        reset.mask.any(),
        lambda physics, sim: respond(bridge, physics, sim, reset, True, False),
        lambda physics, sim: (physics, sim),
        physics,
        sim,
    )
    return jax.lax.cond(
        reset.push_mask.any(),
        lambda physics, sim: respond(bridge, physics, sim, reset, False, True),
        lambda physics, sim: (physics, sim),
        physics,
        sim,
    )


def show(seen: Glimpse, incident: Incident, steps: int, on_step: Callable[[Step], None]) -> None:
    """Call `on_step` for each of `steps` control steps: `seen` is [T, 1, ...], T >= steps.

    `Step.env` has the command and nothing else, `Step.reset` its mask; only the first step that led to
    non-finite states is marked as such.
    """
    seen, t_bad = jax.device_get(seen), int(incident.t)
    for t in range(steps):
        now = jax.tree.map(lambda x, t=t: x[t], seen)
        none: Any = None
        reset = Reset(now.ended, none, none, np.zeros_like(now.ended), none, none)
        on_step(Step(t, now, now.sim, reset, incident.bad, incident.history, t == t_bad))
