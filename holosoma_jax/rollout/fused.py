"""The driver for traceable bridges: control steps and updates in one jitted function, no Python in between.

The control step is that of `stepped`, and so are the values that go in and come out; a run may be continued with
either. What a callback could have seen on the way is recorded on the device, for environment 0, and replayed
afterwards.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Bridge, Physics, SimState
from holosoma_jax.envs import nonfinite
from holosoma_jax.envs.env import Env, Reset
from holosoma_jax.parallel.devices import Devices
from holosoma_jax.rollout import control_step, metrics
from holosoma_jax.rollout.control_step import BAD_REWARD, VALID, apply_resets
from holosoma_jax.rollout.recorded import (
    Env0Frame,
    NonFiniteEvent,
    first_event,
    frame,
    frame_of,
    no_event,
    record_cause,
    record_event,
    replay_callbacks,
)
from holosoma_jax.rollout.rollout_fns import RolloutFns
from holosoma_jax.rollout.state import (
    IterationStats,
    Keys,
    OnIteration,
    OnStep,
    RolloutState,
    RunnerState,
    StepInfo,
    keep_going,
    no_callback,
)
from holosoma_jax.rollout.stepped import Stepped, report


class Fused:
    """Iterations of up to `longest` control steps together, with a traceable bridge.

    It holds a jitted function and the bridge, no state: `RunnerState` goes in, is used up, and comes out. The host
    waits once per call, so a stop is seen at its end. The number of steps is an argument of the function,
    which is compiled once, whatever the number.
    """

    def __init__(
        self,
        env: Env,
        bridge: Bridge,
        fns: RolloutFns,
        longest: int | None = None,
        devices: Devices = Devices(),  # noqa: B008
    ):
        """Raise ValueError unless `bridge` can be called in a jitted function."""
        if not bridge.spec.traceable:
            raise ValueError(
                f"bridge: got '{bridge.spec.simulator}', wanted a traceable one, such as 'mjwarp'."
            )
        self.env, self.bridge, self.fns, self.devices = env, bridge, fns, devices
        self.longest = longest = fns.horizon if longest is None else longest
        self.created = time.perf_counter()  # for messages about how long compiling took
        axis_name = devices.axis_name
        self._stepped = Stepped(env, bridge, fns, devices)

        def iterate(learner, replay, pending, rollout, steps, iteration, keys):
            frames = jax.eval_shape(partial(frame_of, env), rollout.carry.env, rollout.sim)
            frames = jax.tree.map(lambda x: jnp.zeros((longest, *x.shape), x.dtype), frames)
            state = RunnerState(learner, replay, pending, rollout)
            state, event, frames = jax.lax.fori_loop(
                0,
                steps,
                partial(traced_step, env, bridge, fns, keys, axis_name),
                (state, no_event(env, rollout), frames),
            )
            learner, replay, pending, (carry, physics, sim, history) = state
            learner, pending, carry, *ended = control_step.end_rollout(
                env, fns, learner, pending, carry, sim, iteration, keys, axis_name
            )
            rollout = RolloutState(carry, physics, sim, history)
            return RunnerState(learner, replay, pending, rollout), frames, event, *ended

        self.jitted = devices.jit(iterate, (0, 1, 2, 3), fns.compiler_options())

    def start(
        self, learner: Any, keys: Keys, *, replay: Any = None, spread_clocks: bool = True
    ) -> RunnerState:
        """The state before the first iteration, as `Stepped.start` makes it."""
        return self._stepped.start(learner, keys, replay=replay, spread_clocks=spread_clocks)

    def iterate(
        self,
        state: RunnerState,
        keys: Keys,
        iteration: int,
        count: int = 1,
        *,
        on_step: OnStep = no_callback,
        on_iteration: OnIteration = keep_going,
    ) -> tuple[RunnerState, IterationStats]:
        """Iterations `iteration` to `iteration + count - 1`; see `Stepped.iterate`.

        Callbacks are called afterwards (`replay_callbacks`); what `on_iteration` returns comes too late.
        """
        steps = count * self.fns.horizon
        if steps > self.longest:
            raise ValueError(f"count: got {count}, wanted at most {self.longest // self.fns.horizon}.")
        devices = self.devices
        state, keys = devices.commit((state, keys))
        numbers = devices.replicate((jnp.int32(steps), jnp.int32(iteration)))
        state, frames, event, measured, losses, finite = self.jitted(*state, *numbers, keys)
        measured, losses, finite = devices.first((measured, losses, finite))
        scalars = {**metrics.averages(measured), **metrics.numbers(losses)}  # waits for the devices

        def on_each(info: StepInfo) -> None:
            if info.t % self.fns.horizon == 0:
                on_iteration(iteration + info.t // self.fns.horizon)
            on_step(info)

        if on_step is not no_callback or on_iteration is not keep_going:
            replay_callbacks(devices.first(frames), first_event(event, devices), steps, on_each)
        valid, causes = scalars.pop(VALID, 1.0), tuple[str, ...]()
        finite = scalars.pop(BAD_REWARD, 0.0) == 0.0 and bool(finite)
        if not finite and int((event := first_event(event, devices)).t_cause) >= 0:
            causes = tuple(nonfinite.culprits_of(self.env.spec, event.marks))
        return state, IterationStats(count, steps, scalars, valid, finite, causes=causes)

    def culprits(self, state: RunnerState) -> list[str]:
        """As `Stepped.culprits`."""
        return self._stepped.culprits(state)

    def report(self, pending: Any) -> dict[str, np.ndarray]:
        """As `Stepped.report`."""
        return report(self.fns, self.devices, pending)


def traced_step(
    env: Env,
    bridge: Bridge,
    fns: RolloutFns,
    keys: Keys,
    axis_name: str | None,
    t: jax.Array,
    values: tuple[RunnerState, NonFiniteEvent, Env0Frame],
) -> tuple[RunnerState, NonFiniteEvent, Env0Frame]:
    """One control step, traced; row `t` of the frames [T, 1, ...] is written."""
    (learner, replay, pending, (carry, physics, sim, history)), event, frames = values
    came = carry.env, sim
    learner, replay, pending, carry, command = control_step.act(
        env, fns.act, learner, replay, pending, carry, sim, keys, axis_name
    )
    physics, sim = bridge.step(physics, *command)
    seen = env.velocity_command(carry.env), env.ghost(carry.env)
    pending, carry, history, result = control_step.process_env_step(
        env, fns.process, learner, pending, carry, history, sim, command
    )
    event = record_event(event, t, result, history)
    bad = result.nonfinite.any() | ~(jnp.isfinite(command.targets).all() & jnp.isfinite(result.reward).all())
    event = record_cause(event, t, bad, partial(nonfinite.marks, env, *came, carry.env))
    frames = jax.tree.map(lambda all_, x: all_.at[t].set(x), frames, frame(seen, sim, result))
    physics, sim = apply_resets_if_any(bridge, physics, sim, result.reset)
    state = RunnerState(learner, replay, pending, RolloutState(carry, physics, sim, history))
    return state, event, frames


def apply_resets_if_any(
    bridge: Bridge, physics: Physics, sim: SimState, reset: Reset
) -> tuple[Physics, SimState]:
    """`control_step.apply_resets`, traced: the simulator is asked only if something is due."""
    physics, sim = jax.lax.cond(
        reset.mask.any(),
        lambda physics, sim: apply_resets(bridge, physics, sim, reset, True, False),
        lambda physics, sim: (physics, sim),
        physics,
        sim,
    )
    return jax.lax.cond(
        reset.push_mask.any(),
        lambda physics, sim: apply_resets(bridge, physics, sim, reset, False, True),
        lambda physics, sim: (physics, sim),
        physics,
        sim,
    )
