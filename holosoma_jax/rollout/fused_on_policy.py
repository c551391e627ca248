"""A whole on-policy iteration as one compiled program: rollout, bootstrap, every epoch of the update."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from bridges.protocol import Bridge
from holosoma_jax.envs.env import Env
from holosoma_jax.learn import ppo
from holosoma_jax.parallel import processes
from holosoma_jax.rollout import fused, metrics, nan_guard
from holosoma_jax.rollout.control_step import Step, World, close_window, placed
from holosoma_jax.rollout.iteration import Iteration, learn
from holosoma_jax.rollout.on_policy_steps import Algorithm, Stepped, decide, judge


class Fused:
    """Iterations of `horizon` control steps and an update, with a traceable bridge.

    It holds a compiled program and the bridge, no state: learner and `World` go in, are used up, and
    come out. The host waits once per iteration.
    """

    def __init__(self, env: Env, bridge: Bridge, horizon: int, algorithm: Algorithm | None = None):
        fused.require_traceable(bridge)
        self.env, self.bridge, self.horizon = env, bridge, horizon
        self.created = time.perf_counter()  # for messages about how long compiling took
        algorithm, axis_name = algorithm or Algorithm(), processes.axis()
        self._stepped = Stepped(env, bridge, horizon, algorithm)

        def control_step(root, values, t):
            learner, carry, physics, sim, history, incident = values
            learner, state, decision, asked = decide(
                env, algorithm, learner, carry.env, carry.step, sim, root, axis_name
            )
            carry = carry.replace(env=state)
            physics, sim = bridge.step(physics, *asked)
            carry, outcome, result = judge(env, algorithm, learner, carry, sim)
            history = nan_guard.remember(history, sim, asked.targets)
            incident = fused.note(incident, t, result, history)
            seen = fused.glimpse(carry.env, sim, result)
            physics, sim = fused.answer(bridge, physics, sim, result.reset)
            return (learner, carry, physics, sim, history, incident), (decision, outcome, seen)

        def iterate(learner, world, root, key):
            values = (learner, *world, fused.calm(world.history, env.spec.num_envs))
            values, (decisions, outcomes, seen) = jax.lax.scan(
                partial(control_step, root), values, jnp.arange(horizon, dtype=jnp.int32)
            )
            learner, carry, physics, sim, history, incident = values
            _, obs = env.observe(carry.env, sim)  # a look ahead, not a step
            last_value = algorithm.value(learner, obs["critic_obs"])
            batch = ppo.PpoBatch(**decisions._asdict(), **outcomes._asdict(), last_value=last_value)
            carry, window = close_window(carry, axis_name)
            learner, losses = learn(learner, batch, key, axis_name)
            return learner, World(carry, physics, sim, history), batch, window, losses, seen, incident

        self.program = processes.program(iterate, donate_argnums=(0, 1))

    def start(self, learner: Any, root: jax.Array, *, spread_clocks: bool = True) -> World:
        """The world before the first iteration, as `Stepped.start` makes it."""
        return self._stepped.start(learner, root, spread_clocks=spread_clocks)

    def iterate(
        self,
        learner: Any,
        world: World,
        root: jax.Array,
        key: jax.Array,
        on_step: Callable[[Step], None] | None = None,
    ) -> Iteration:
        """One iteration; see `iteration.Stepped.iterate`. The onlooker is called after it (`fused.show`)."""
        learner, world, root, key = placed((learner, world, root, key))
        learner, world, batch, window, losses, seen, incident = self.program(learner, world, root, key)
        losses = metrics.numbers(losses)  # waits for the program
        if on_step is not None:
            fused.show(seen, incident, self.horizon, on_step)
        return Iteration(learner, world, batch, window, losses, None, None, None)
