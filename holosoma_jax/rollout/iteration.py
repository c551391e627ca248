"""One on-policy iteration: a rollout, and what is learnt from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bridges.protocol import Bridge
from holosoma_jax.envs.env import Env
from holosoma_jax.learn import ppo
from holosoma_jax.parallel import processes
from holosoma_jax.rollout import metrics, nan_guard
from holosoma_jax.rollout.control_step import Step, World
from holosoma_jax.rollout.on_policy_steps import Algorithm
from holosoma_jax.rollout.on_policy_steps import Stepped as Rollouts


class Iteration(NamedTuple):
    """The values to go on with, and what the iteration amounted to."""

    learner: ppo.PpoState
    world: World
    batch: ppo.PpoBatch
    """what was learnt from; on the device"""
    window: dict[str, metrics.Mean]
    """of the rollout; on the device, `metrics.averages` fetches it"""
    losses: dict[str, float]
    collection: float | None
    """s, in environments and simulator; None where that cannot be told apart"""
    learning: float | None
    """s, in the update"""
    physics: float | None
    """s, of `collection`, inside the simulator"""


def learn(
    learner: ppo.PpoState, batch: ppo.PpoBatch, key: jax.Array, axis_name: str | None = None
) -> tuple[ppo.PpoState, dict[str, jax.Array]]:
    """`ppo.update`, and whether what came out of it and went into it can be trusted."""
    learner, losses = ppo.update(learner, batch, key, axis_name)
    # A floor of -inf among the coefficients is meant; everything that is learnt has to be finite.
    finite = nan_guard.finite((learner.replace(hyper=None), losses))
    valid = jnp.mean(batch.valid, dtype=jnp.float32)
    valid = valid if axis_name is None else jax.lax.pmean(valid, axis_name)
    return learner, {**losses, "finite": finite, "valid": valid}


class Stepped:
    """Iterations with any bridge: `rollout.Stepped`, then the update as a program of its own."""

    def __init__(self, env: Env, bridge: Bridge, horizon: int, algorithm: Algorithm | None = None):
        self._rollouts = Rollouts(env, bridge, horizon, algorithm)
        self._learn = processes.program(partial(learn, axis_name=processes.axis()), donate_argnums=(0,))
        self.horizon, self.created = horizon, self._rollouts.created
        self.start = self._rollouts.start

    def iterate(
        self,
        learner: Any,
        world: World,
        root: jax.Array,
        key: jax.Array,
        on_step: Callable[[Step], None] | None = None,
    ) -> Iteration:
        """Collect and learn. `learner` and `world` are used up; go on with the returned ones.

        Args:
          learner: acts, then learns.
          world: environments and simulator.
          root: key of this process' random streams.
          key: of the update.
          on_step: an onlooker, called once per control step; what it keeps it must copy.
        """
        began = time.perf_counter()
        done = self._rollouts.collect(learner, world, root, on_step)
        jax.block_until_ready(done.batch.last_value)
        learning = time.perf_counter()
        learner, losses = self._learn(done.learner, done.batch, key)
        numbers = metrics.numbers(losses)  # waits for the update
        times = (learning - began, time.perf_counter() - learning, done.physics_seconds)
        return Iteration(learner, done.world, done.batch, done.window, numbers, *times)
