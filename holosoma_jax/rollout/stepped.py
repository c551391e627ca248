"""The driver for any simulator: Python between the two compiled halves of a control step."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Bridge
from holosoma_jax.envs import nonfinite
from holosoma_jax.envs.env import Env
from holosoma_jax.parallel.devices import Devices
from holosoma_jax.rollout import control_step, metrics, nan_guard
from holosoma_jax.rollout.control_step import BAD_REWARD, VALID, apply_resets
from holosoma_jax.rollout.device_bridge import over_devices
from holosoma_jax.rollout.halves import (
    Halves,
    NonFiniteActions,
    any_set,
    only_changed,
    process_half,
    take_step,
)
from holosoma_jax.rollout.rollout_fns import RolloutFns
from holosoma_jax.rollout.state import (
    IterationStats,
    Keys,
    OnIteration,
    OnStep,
    RolloutState,
    RunnerState,
    keep_going,
    no_callback,
)


class Stepped:
    """Iterations with any bridge.

    It holds compiled programs and the bridge, no state: `RunnerState` goes in, is used up, and comes out. With several
    `devices`, every array in it has a device axis, and `env` has the environments of one device.
    """

    def __init__(self, env: Env, bridge: Bridge, fns: RolloutFns, devices: Devices = Devices()):  # noqa: B008
        self.env, self.fns, self.devices = env, fns, devices
        self.bridge = over_devices(bridge, devices)
        self.created = time.perf_counter()  # for messages about how long compiling took
        axis_name = devices.axis_name

        def act(learner, replay, pending, carry, sim, keys):
            after, replay, pending, carry, command = control_step.act(
                env, fns.act, learner, replay, pending, carry, sim, keys, axis_name
            )
            after = after if fns.learns_in_act else only_changed(after, learner)
            return after, replay, pending, carry, command

        def end_rollout(learner, pending, carry, sim, iteration, keys):
            *ended, measured, losses, finite = control_step.end_rollout(
                env, fns, learner, pending, carry, sim, iteration, keys, axis_name
            )
            return *ended, jax.tree.map(jnp.copy, sim), measured, losses, finite

        options = fns.compiler_options()  # of both, so that every product has the bits of the fused driver's
        donated = (0, 1, 2, 3) if fns.learns_in_act else (1, 2, 3)
        self.halves = Halves(
            devices.jit(act, donated, options),
            process_half(env, fns.process, devices),
        )
        self.end_rollout = devices.jit(end_rollout, (0, 1, 2), options)
        self._observe = devices.jit(
            lambda state, sim: env.observe(nonfinite.without_bad_action(state), sim)[1]
        )
        self.init_pending = devices.jit(lambda learner: fns.init_pending(learner, env.spec))

    def start(
        self, learner: Any, keys: Keys, *, replay: Any = None, spread_clocks: bool = True
    ) -> RunnerState:
        """Reset every environment, then take one step with zero action for the first observation.

        Args:
          learner: what will act, on every device (`Devices.replicate`).
          keys: roots of the random streams (`seeding.keys`).
          replay: an empty `off_policy.ReplayState`, or its shapes.
          spread_clocks: give every episode a random age afterwards, so that time-outs do not coincide.
        """
        env, bridge, devices = self.env, self.bridge, self.devices
        learner, keys = devices.commit((learner, keys))
        state, physics, sim = control_step.reset_all(env, bridge, keys.own, devices)
        no_action = devices.create(lambda: jnp.zeros((env.spec.num_envs, env.spec.action_dim)))
        state, command = devices.jit(env.pre_step)(state, no_action)
        jax.block_until_ready(command)
        physics, sim = bridge.step(physics, *command)
        pending = devices.commit(self.init_pending(learner))
        one = devices.one((RunnerState(learner, replay, pending, None), state, sim, keys))
        names = control_step.metric_names(env, self.fns, *one)
        empty_carry = devices.jit(lambda state: control_step.empty_carry(env, state, names))
        history = devices.commit(devices.jit(nan_guard.history)(sim, command.targets))
        _, carry, history, reset, _, _, due = self.halves.process(
            learner, pending, devices.commit(empty_carry(state)), history, sim, command
        )
        physics, sim = apply_resets(bridge, physics, sim, reset, *any_set(due)[:2])
        state = carry.env
        if spread_clocks:
            spread = devices.jit(
                lambda state, key: env.randomize_clocks(state, control_step.stream(key, "clocks"))
            )
            state = spread(state, keys.own)
        carry, sim = devices.commit((empty_carry(state), jax.tree.map(jnp.copy, sim)))
        pending = devices.commit(self.init_pending(learner))
        return RunnerState(learner, replay, pending, RolloutState(carry, physics, sim, history))

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
        """Iterations `iteration` to `iteration + count - 1`: control steps, then the update. `state` is used up.

        An update on the way (`RolloutFns.learns_in_act`) that spoils the learner ends them before the simulator gets
        its actions: `IterationStats.finite`.

        Args:
          state: from `start`, or from the last call.
          keys: roots of the random streams.
          iteration: number of the first one, in the run.
          count: how many.
          on_step: called once per control step; what it keeps it must copy.
          on_iteration: called before each; after the first, False ends them.
        """
        began, horizon, devices = time.perf_counter(), self.fns.horizon, self.devices
        keys = devices.commit(keys)
        state = devices.commit(state._replace(rollout=None))._replace(rollout=state.rollout)
        t, acting, physics = 0, 0.0, 0.0
        while t < count * horizon:
            if t % horizon == 0 and not on_iteration(iteration + t // horizon) and t > 0:
                break
            try:
                state, seconds = take_step(self.bridge, self.halves, state, keys, t, on_step, devices)
            except NonFiniteActions as error:
                if self.fns.learns_in_act and self._spoiled(error.state.learner):
                    state = error.state  # the caller sees from `IterationStats.finite` that it is the learner
                    break
                raise self._explained(error) from error
            acting, physics, t = acting + seconds.act, physics + seconds.physics, t + 1
        collected = time.perf_counter()
        learner, replay, pending, (carry, physics_value, sim, history) = state
        learner, pending, carry, sim, measured, losses, finite = self.end_rollout(
            learner, pending, carry, devices.commit(sim), devices.replicate(jnp.int32(iteration)), keys
        )
        measured, losses, finite = devices.first((measured, losses, finite))
        scalars = {**metrics.averages(measured), **metrics.numbers(losses)}  # waits for the update
        learning = acting if self.fns.learns_in_act else time.perf_counter() - collected
        state = RunnerState(learner, replay, pending, RolloutState(carry, physics_value, sim, history))
        return state, IterationStats(
            iterations=t // horizon,
            control_steps=t,
            valid=scalars.pop(VALID, 1.0),
            finite=scalars.pop(BAD_REWARD, 0.0) == 0.0 and bool(finite),
            scalars=scalars,
            collection_s=time.perf_counter() - began - learning,
            learning_s=learning,
            physics_s=physics,
        )

    def _spoiled(self, learner: Any) -> list[str]:
        """What is learnt of `learner` and not finite, by name."""
        return nan_guard.nonfinite_leaves(self.fns.learned(self.devices.first(learner)))

    def _explained(self, error: NonFiniteActions) -> nan_guard.NonFiniteError:
        """`error` with what was not finite before the actions."""
        terms = self.culprits(error.state)
        observed = any(name.startswith(nonfinite.OBSERVATION) for name in terms)
        named = terms[: nan_guard.MAX_TERMS] if observed else []  # else they hold the action
        named += [f"the learner's {leaf}" for leaf in self._spoiled(error.state.learner)[:3]]
        cause = (
            f"Not finite before that: {', '.join(named)}. Fix the first of these, and resume"
            if named
            else "What was observed and learned before is finite, so the policy computed them. Resume"
        )
        return nan_guard.NonFiniteError(f"{error} {cause} from the last checkpoint.")

    def culprits(self, state: RunnerState) -> list[str]:
        """Terms of the environments that gave numbers that are not finite (`envs.nonfinite.culprits`)."""
        (carry, _, sim, _), devices = state.rollout, self.devices
        traces = devices.gather(nonfinite.traces(carry.env))
        now = devices.gather(self._observe(carry.env, devices.commit(sim)))
        return nonfinite.culprits(self.env.spec, traces, self.report(state.pending), now)

    def report(self, pending: Any) -> dict[str, np.ndarray]:
        """`RolloutFns.report` of all devices of this process: name -> [E, ...]."""
        return report(self.fns, self.devices, pending)


def report(fns: RolloutFns, devices: Devices, pending: Any) -> dict[str, np.ndarray]:
    """`RolloutFns.report` of all `devices` of this process: name -> [E, ...]."""
    parts = [fns.report(own) for own in devices.each(pending)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
