"""The driver that learns while the simulator moves: a rollout is learned from during the next one.

An iteration acts with the learner as it was at its beginning, and learns meanwhile from the rollout before (PPO), or
from the buffer with the transition before (FastSAC). What acts is therefore one iteration older than with `Stepped`:
a rollout for PPO, a control step for FastSAC. Which data an update gets, and which parameters act, does not depend on
which of the two is quicker, so runs repeat and resume bit for bit.

The host never waits for the update inside an iteration: it dispatches it, and turns to the simulator, whose threads
leave the interpreter. It pays where the learner has hardware of its own, an accelerator or cores.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bridges.protocol import Bridge
from holosoma_jax.envs.env import Env
from holosoma_jax.parallel.devices import Devices
from holosoma_jax.rollout import control_step, metrics, nan_guard
from holosoma_jax.rollout.control_step import BAD_REWARD, VALID
from holosoma_jax.rollout.halves import NonFiniteActions, merge, only_changed, simulate
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
from holosoma_jax.rollout.stepped import Stepped


class Pair(NamedTuple):
    """`RunnerState.pending` of this driver, between two iterations."""

    full: Any
    """what the next iteration learns from"""
    spare: Any
    """what it fills meanwhile"""


class Overlapped(Stepped):
    """Iterations with any bridge, each learning from what the one before collected."""

    def __init__(self, env: Env, bridge: Bridge, fns: RolloutFns, devices: Devices = Devices()):  # noqa: B008
        """Raise ValueError if the learner cannot learn apart from acting."""
        lagged, axis_name = fns.lagged, devices.axis_name
        if lagged is None:
            raise ValueError("an overlapped driver needs `RolloutFns.lagged`")
        apart = fns._replace(act=lagged.act, update=partial(_finish, fns), learns_in_act=False)
        super().__init__(env, bridge, apart, devices)

        def policy(learner, replay, pending, obs, step, keys, axis_name):
            """`lagged.act`, which hands on what it was given, for learning from it."""
            learner, replay, pending, action, measured = lagged.act(
                learner, replay, pending, obs, step, keys, axis_name
            )
            return learner, replay, (pending, (obs, step)), action, measured

        def act(learner, pending, carry, sim, keys):
            after, _, (pending, led_to), carry, command = control_step.act(
                env, policy, learner, None, pending, carry, sim, keys, axis_name
            )
            return only_changed(after, learner), pending, carry, command, led_to

        def learn(learner, replay, full, led_to, keys):
            return lagged.learn(learner, replay, full, *led_to, keys, axis_name)

        options = fns.compiler_options()
        self._act = devices.jit(act, (1, 2), options)
        self._learn = devices.jit(learn, (1, 2), options)
        self._pool = devices.jit(metrics.pool)

    def start(
        self, learner: Any, keys: Keys, *, replay: Any = None, spread_clocks: bool = True
    ) -> RunnerState:
        """As `Stepped.start`."""
        state = super().start(learner, keys, replay=replay, spread_clocks=spread_clocks)
        return state._replace(pending=Pair(state.pending, self.devices.commit(self.init_pending(learner))))

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
        """As `Stepped.iterate`, but for what is learned from, and when.

        `learning_s` is what the host waited for the learner: for the policy's actions, and at the end.
        """
        began, horizon, devices = time.perf_counter(), self.fns.horizon, self.devices
        keys = devices.commit(keys)
        state = devices.commit(state._replace(rollout=None))._replace(rollout=state.rollout)
        losses: Any = {}
        t, acting, physics = 0, 0.0, 0.0
        while t < count * horizon and (on_iteration(iteration + t // horizon) or t == 0):
            try:
                state, new, acted, simulated = self._iteration(state, keys, t, on_step)
            except NonFiniteActions as error:
                if self._spoiled(error.state.learner):
                    state = error.state  # the caller sees from `IterationStats.finite` that it is the learner
                    break
                raise self._explained(error) from error
            losses = self._pool(losses, new)
            acting, physics, t = acting + acted, physics + simulated, t + horizon
        collected = time.perf_counter()
        learner, replay, pending, (carry, physics_value, sim, history) = state
        learner, pending, carry, sim, measured, _, finite = self.end_rollout(
            learner, pending, carry, devices.commit(sim), devices.replicate(jnp.int32(iteration)), keys
        )
        losses = metrics.averages(devices.first(losses))
        scalars = {**metrics.averages(devices.first(measured)), **losses}
        finite = bool(devices.first(finite)) and all(map(math.isfinite, losses.values()))
        learning = acting + time.perf_counter() - collected
        state = RunnerState(learner, replay, pending, RolloutState(carry, physics_value, sim, history))
        return state, IterationStats(
            iterations=t // horizon,
            control_steps=t,
            valid=scalars.pop(VALID, 1.0),
            finite=scalars.pop(BAD_REWARD, 0.0) == 0.0 and finite,
            scalars=scalars,
            collection_s=time.perf_counter() - began - learning,
            learning_s=learning,
            physics_s=physics,
        )

    def _iteration(
        self, state: RunnerState, keys: Keys, t: int, on_step: OnStep
    ) -> tuple[RunnerState, Any, float, float]:
        """A rollout, and learning from the one before: the state after both, metrics, s acting, s simulating."""
        devices, acted, simulated = self.devices, 0.0, 0.0
        before, replay, (full, filling), rollout = state
        running = RunnerState(before, None, filling, rollout)
        learned: Any = None  # as the next three, until the first control step
        changed = spare = losses = learned
        for row in range(self.fns.horizon):
            began, (acting, _, pending, rollout) = time.perf_counter(), running
            changed, pending, carry, command, led_to = self._act(
                acting, pending, rollout.carry, devices.commit(rollout.sim), keys
            )
            if row == 0:  # not before: it learns from what the policy has just seen, too
                learned, replay, spare, losses = self._learn(before, replay, full, led_to, keys)
            running = RunnerState(merge(acting, changed), None, pending, rollout._replace(carry=carry))
            try:
                running, seconds = simulate(
                    self.bridge, self.halves.process, running, command, began, t + row, on_step, devices
                )
            except NonFiniteActions as error:
                error.state = running._replace(replay=replay, pending=Pair(running.pending, spare))
                raise
            acted, simulated = acted + seconds.act, simulated + seconds.physics
        # What acting changes is statistics, which no update does.
        state = RunnerState(merge(learned, changed), replay, Pair(running.pending, spare), running.rollout)
        return state, losses, acted, simulated

    def report(self, pending: Any) -> dict[str, Any]:
        """As `Stepped.report`, of the rollout that ended last."""
        return super().report(pending.full)


def _finish(
    fns: RolloutFns, learner: Any, pending: Any, obs: Any, iteration: jax.Array, keys: Keys, axis_name: Any
) -> tuple[Any, Any, dict[str, jax.Array], jax.Array]:
    """`RolloutFns.update` at the end of a rollout that is learned from later."""
    del obs, iteration, keys, axis_name
    return learner, pending, {}, nan_guard.finite(fns.learned(learner))
