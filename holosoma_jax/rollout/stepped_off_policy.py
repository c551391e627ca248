"""Off-policy control steps with any simulator: Python between two compiled halves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Bridge
from holosoma_jax.envs.env import Env
from holosoma_jax.learn.fast_sac.compiling import compiler_options
from holosoma_jax.parallel import processes
from holosoma_jax.rollout import metrics, nan_guard
from holosoma_jax.rollout.control_step import Step, World, close_window, placed, respond, simulate, start
from holosoma_jax.rollout.experience import (
    VALID,
    Algorithm,
    Decision,
    Experience,
    Keys,
    judge,
    learn_and_decide,
    nothing,
)


class Collected(NamedTuple):
    """Some control steps: the values to go on with, and what they amounted to."""

    learner: Any
    experience: Experience
    world: World
    steps: int
    window: dict[str, metrics.Mean]
    """on the device still; `metrics.averages` fetches it"""
    finite: jax.Array
    """[] bool, of all that is learnt"""
    learning_seconds: float | None
    """s waited for `learn_and_decide`; None where that cannot be told apart"""
    physics_seconds: float | None
    """s inside the simulator; likewise"""


class Stepped:
    """The driver for any bridge.

    It holds compiled programs and the bridge, no state: learner, experience and `World` go in and come
    out. Per control step the host waits twice, for what the simulator needs: the joint targets, and three
    flags (reset due, push due, non-finite); see `rollout.Stepped`.
    """

    def __init__(self, env: Env, bridge: Bridge, algorithm: Algorithm):
        self.env, self.bridge, self.algorithm = env, bridge, algorithm
        self.created = time.perf_counter()  # for messages about how long compiling took
        axis_name = processes.axis()

        def judge_into(carry, decision, history, sim, targets):
            carry, pending, result = judge(env, decision, carry, sim)
            history = nan_guard.remember(history, sim, targets)
            due = jnp.stack([result.reset.mask.any(), result.reset.push_mask.any(), result.nonfinite.any()])
            return carry, pending, history, result.reset, result.nonfinite, due

        def learn_into(learner, stored, carry, pending, wait, sim, keys):
            experience = Experience(stored, pending, wait)
            return learn_and_decide(env, algorithm, learner, experience, carry, sim, keys, axis_name)

        def finish(learner, carry, sim):
            carry, window = close_window(carry, axis_name)
            # An infinite coefficient is meant; everything that is learnt has to be finite.
            return carry, jax.tree.map(jnp.copy, sim), window, nan_guard.finite(learner.replace(hyper=None))

        self.decide = processes.program(learn_into, (0, 1, 2), compiler_options())
        self.judge = jax.jit(judge_into, donate_argnums=(0, 1, 2))
        self.finish = processes.program(finish, donate_argnums=(1,))

    def start(
        self, learner: Any, stored: Any, keys: Keys, *, wait: int, spread_clocks: bool = True
    ) -> tuple[World, Experience]:
        """The world before the first control step (`control_step.start`), and a past in which nothing happened.

        Args:
          learner: what will act; not used up.
          stored: the empty replay buffer, or its shape.
          keys: roots of the random streams.
          wait: transitions per environment that learning waits for.
          spread_clocks: give every episode a random age.
        """
        batch = jax.eval_shape(self.algorithm.sample, stored, keys.own)
        losses = jax.eval_shape(self.algorithm.update, learner, batch, keys.shared)[1]
        pending = placed(nothing(self.env))
        idle = placed(Decision(*(jnp.copy(x) for x in pending[: len(Decision._fields)])))

        def first_judge(carry, history, sim, targets):
            carry, _, history, reset, _, due = self.judge(carry, idle, history, sim, targets)
            return carry, history, reset, due

        world = start(
            self.env,
            self.bridge,
            first_judge,
            placed(keys.own),
            names=(*losses, "Loss/env_rewards", VALID),
            spread_clocks=spread_clocks,
        )
        return world, Experience(stored, pending, placed(jnp.int32(wait)))

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
        """Act and learn for `steps` control steps. All that goes in is used up.

        Args:
          learner: acts, and learns.
          experience: what it learns from.
          world: environments and simulator.
          steps: control steps, at least 1.
          keys: roots of the random streams.
          on_step: an onlooker, called once per control step; what it keeps it must copy.
          go_on: asked before every step, with those taken so far; False ends the stretch, after one
            step at the earliest.

        A learner whose actions are no longer finite ends the stretch before its step: `Collected.finite`.
        """
        carry, physics, sim, history = world
        learner, keys, wait = placed((learner, keys, experience.wait))
        stored, pending = placed((experience.replay, experience.pending))
        waited, physics_seconds, t = 0.0, 0.0, 0
        while t < steps:
            if not go_on(t) and t > 0:
                break
            began = time.perf_counter()
            # Bridges do not commit what they hand over to a device, a restored state is: see `placed`.
            learner, stored, carry, decision, asked = self.decide(
                learner, stored, carry, pending, wait, placed(sim), keys
            )
            jax.block_until_ready(asked)
            learned = time.perf_counter()
            try:
                physics, sim = simulate(self.bridge, physics, asked)
            except nan_guard.NonFiniteError:
                if nan_guard.finite(learner.replace(hyper=None)):
                    raise
                break  # it is the learner, and whoever asked for the stretch will say so
            stepped = time.perf_counter()
            carry, pending, history, reset, bad, due = self.judge(
                carry, decision, history, sim, asked.targets
            )
            resets, pushes, nonfinite = np.asarray(due)  # the step's one transfer
            if on_step is not None:
                on_step(Step(t, carry.env, sim, reset, bad, history, bool(nonfinite)))
            answering = time.perf_counter()
            physics, sim = respond(self.bridge, physics, sim, reset, resets, pushes)
            physics_seconds += stepped - learned + time.perf_counter() - answering
            waited += learned - began
            t += 1
        carry, sim, window, finite = self.finish(learner, carry, sim)
        return Collected(
            learner,
            Experience(stored, pending, wait),
            World(carry, physics, sim, history),
            t,
            window,
            finite,
            waited,
            physics_seconds,
        )
