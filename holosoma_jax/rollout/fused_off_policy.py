"""Off-policy control steps as one compiled program: act, physics, store, learn, as often as asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bridges.protocol import Bridge
from holosoma_jax.envs.env import Env
from holosoma_jax.learn.fast_sac.compiling import compiler_options
from holosoma_jax.parallel import processes
from holosoma_jax.rollout import fused, nan_guard
from holosoma_jax.rollout.control_step import Step, World, close_window, placed
from holosoma_jax.rollout.experience import Algorithm, Experience, Keys, judge, learn_and_decide
from holosoma_jax.rollout.stepped_off_policy import Collected, Stepped


class Fused:
    """Stretches of up to `longest` control steps, with a traceable bridge.

    It holds a compiled program and the bridge, no state: learner, experience and `World` go in, are used
    up, and come out. The host waits once per stretch, so a stop is seen at its end. How many steps a
    stretch has is an argument of the program: every length runs the same one.
    """

    def __init__(self, env: Env, bridge: Bridge, algorithm: Algorithm, longest: int):
        fused.require_traceable(bridge)
        self.env, self.bridge, self.algorithm = env, bridge, algorithm
        self.longest, axis_name = longest, processes.axis()
        self.created = time.perf_counter()  # for messages about how long compiling took
        self._stepped = Stepped(env, bridge, algorithm)

        def control_step(keys, t, values):
            learner, experience, world, incident, seen = values
            carry, physics, sim, history = world
            learner, stored, carry, decision, asked = learn_and_decide(
                env, algorithm, learner, experience, carry, sim, keys, axis_name
            )
            physics, sim = bridge.step(physics, *asked)
            carry, pending, result = judge(env, decision, carry, sim)
            history = nan_guard.remember(history, sim, asked.targets)
            incident = fused.note(incident, t, result, history)
            seen = jax.tree.map(
                lambda all_, x: all_.at[t].set(x), seen, fused.glimpse(carry.env, sim, result)
            )
            physics, sim = fused.answer(bridge, physics, sim, result.reset)
            experience = experience.replace(replay=stored, pending=pending)
            return learner, experience, World(carry, physics, sim, history), incident, seen

        def advance(learner, experience, world, steps, keys):
            incident = fused.calm(world.history, env.spec.num_envs)
            seen = jax.tree.map(lambda x: jnp.zeros((longest, *x.shape), x.dtype), _unseen(env, world))
            values = (learner, experience, world, incident, seen)
            values = jax.lax.fori_loop(0, steps, lambda t, values: control_step(keys, t, values), values)
            learner, experience, world, incident, seen = values
            carry, window = close_window(world.carry, axis_name)
            # An infinite coefficient is meant; everything that is learnt has to be finite.
            finite = nan_guard.finite(learner.replace(hyper=None))
            return learner, experience, world._replace(carry=carry), window, finite, seen, incident

        self.program = processes.program(advance, (0, 1, 2), compiler_options())

    def start(
        self, learner: Any, stored: Any, keys: Keys, *, wait: int, spread_clocks: bool = True
    ) -> tuple[World, Experience]:
        """The world before the first control step, and an empty past, as `Stepped.start` makes them."""
        return self._stepped.start(learner, stored, keys, wait=wait, spread_clocks=spread_clocks)

    def advance(
        self,
        learner: Any,
        experience: Experience,
        world: World,
        steps: int,
        keys: Keys,
        on_step: Callable[[Step], None] | None = None,
        go_on: Callable[[int], bool] = lambda taken: True,
    ) -> Collected:
        """Act and learn for `steps` control steps, at most `longest`; see `stepped_off_policy.Stepped`.

        The onlooker is called afterwards (`fused.show`). `go_on` is asked before every step that is
        shown, and its answer comes too late.
        """
        if steps > self.longest:
            raise ValueError(f"steps: got {steps}, wanted at most {self.longest}.")
        learner, experience, world, keys = placed((learner, experience, world, keys))
        learner, experience, world, window, finite, seen, incident = self.program(
            learner, experience, world, jnp.int32(steps), keys
        )

        def look(step: Step) -> None:
            go_on(step.t)
            if on_step is not None:
                on_step(step)

        fused.show(seen, incident, steps, look)
        return Collected(learner, experience, world, steps, window, finite, None, None)


def _unseen(env: Env, world: World) -> fused.Glimpse:
    """The shape of a `fused.Glimpse`."""

    def look(state: Any, sim: Any) -> fused.Glimpse:
        state, result = env.post_step(state, sim)
        return fused.glimpse(state, sim, result)

    return jax.eval_shape(look, world.carry.env, world.sim)
