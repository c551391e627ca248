"""Collecting experience: the two halves of a control step, and the driver that steps any simulator.

A control step is `decide` (observe, normalise, act), the simulator, `judge` (rewards, terminations,
resets), and the simulator's answer to the resets. Both halves are pure. `Stepped` jits them and calls
the simulator from Python in between; with a traceable bridge the same halves compose under `lax.scan`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Bridge, SimState
from holosoma_jax.envs.env import ActuatorCommand, Env, EnvState, StepResult
from holosoma_jax.learn import ppo
from holosoma_jax.parallel import processes
from holosoma_jax.rollout import metrics, nan_guard
from holosoma_jax.rollout.control_step import (
    Carry,
    Step,
    World,
    close_window,
    placed,
    respond,
    settle,
    simulate,
    start,
)
from holosoma_jax.rollout.seeding import stream


class Algorithm(NamedTuple):
    """What collecting needs of an on-policy learner; the signatures are those of `learn.ppo`."""

    observe: Callable[..., Any] = ppo.observe
    act: Callable[..., Any] = ppo.act
    value: Callable[..., Any] = ppo.value


class Decision(NamedTuple):
    """The policy's part of a transition: [N, ...], or [T, N, ...] when stacked."""

    actor_obs: jax.Array
    critic_obs: jax.Array
    action: jax.Array
    log_prob: jax.Array
    mean: jax.Array
    value: jax.Array


class Outcome(NamedTuple):
    """The environment's part of a transition: [N], or [T, N] when stacked."""

    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    final_value: jax.Array
    valid: jax.Array


class Collected(NamedTuple):
    """A rollout: the values to go on with, its transitions, and what it cost."""

    learner: Any
    world: World
    batch: ppo.PpoBatch
    window: dict[str, metrics.Mean]
    """on the device still; `metrics.averages` fetches it"""
    physics_seconds: float
    """s inside the simulator, of the whole rollout"""


def decide(
    env: Env,
    algorithm: Algorithm,
    learner: Any,
    state: EnvState,
    step: jax.Array,
    sim: SimState,
    root: jax.Array,
    axis_name: str | None = None,
) -> tuple[Any, EnvState, Decision, ActuatorCommand]:
    """First half: what the policy sees in `sim`, what it does, what is asked of the simulator.

    The normaliser takes in the observation before it is applied to it.

    Args:
      env: the task.
      algorithm: of the learner.
      learner: acts.
      state: of the environments.
      step: [] control steps since the run began.
      sim: what is observed.
      root: key of this process' random streams.
      axis_name: devices that share a normaliser.
    """
    state, obs = env.observe(state, sim)
    learner = algorithm.observe(learner, obs, axis_name)
    action, extras = algorithm.act(learner, obs, stream(root, "act", step))
    state, asked = env.pre_step(state, action)
    return learner, state, Decision(action=action, **extras._asdict()), asked


def judge(
    env: Env, algorithm: Algorithm, learner: Any, carry: Carry, sim: SimState
) -> tuple[Carry, Outcome, StepResult]:
    """Second half: what the step was worth, which episodes end, what has to be reset or pushed.

    The value of a final observation is computed only if some episode was cut by the clock, and is 0
    for all others.
    """
    state, result = env.post_step(carry.env, sim)
    cut = result.truncated & ~result.nonfinite
    final_value = jax.lax.cond(
        cut.any(),
        lambda obs: jnp.where(cut, algorithm.value(learner, obs), 0.0),
        lambda obs: jnp.zeros_like(result.reward),
        result.final_obs["critic_obs"],
    )
    outcome = Outcome(result.reward, result.terminated, result.truncated, final_value, ~result.nonfinite)
    return settle(carry, state, result), outcome, result


class Stepped:
    """Rollouts of `horizon` control steps with any bridge: Python between two compiled halves.

    It holds compiled programs and the bridge, no state: `World` and learner go in and come out.

    Per control step the host waits twice, for what the simulator needs: the joint targets, and
    three flags (reset due, push due, non-finite). Borrowed arrays are safe by this order: each
    bridge call comes after the fetch of a result of the program that read them.
    """

    def __init__(self, env: Env, bridge: Bridge, horizon: int, algorithm: Algorithm | None = None):
        self.env, self.bridge, self.horizon = env, bridge, horizon
        self.created = time.perf_counter()  # for messages about how long compiling took
        algorithm, axis_name = algorithm or Algorithm(), processes.axis()
        first, second = partial(decide, env, algorithm), partial(judge, env, algorithm)

        def decide_into(state, stored, learner, step, sim, root, t):
            after, state, decision, asked = first(learner, state, step, sim, root, axis_name)
            # Only what has changed: every other output of a compiled program is a copy, of all
            # parameters and moments too.
            changed = jax.tree.map(lambda new, old: None if new is old else new, after, learner)
            return state, _write(stored, t, decision), changed, asked

        def judge_into(learner, carry, stored, history, sim, targets, t):
            carry, outcome, result = second(learner, carry, sim)
            history = nan_guard.remember(history, sim, targets)
            due = jnp.stack([result.reset.mask.any(), result.reset.push_mask.any(), result.nonfinite.any()])
            return carry, _write(stored, t, outcome), history, result.reset, result.nonfinite, due

        def finish(learner, carry, sim):
            # A look ahead, not a step: the state that `observe` returns is dropped, so the next
            # rollout observes `sim` again, with the same noise.
            _, obs = env.observe(carry.env, sim)
            carry, window = close_window(carry, axis_name)
            return algorithm.value(learner, obs["critic_obs"]), carry, jax.tree.map(jnp.copy, sim), window

        def storage(learner, carry, sim, root):
            _, _, decision, _ = jax.eval_shape(first, learner, carry.env, carry.step, sim, root)
            _, outcome, _ = jax.eval_shape(second, learner, carry, sim)
            return jax.tree.map(lambda s: jnp.zeros((horizon, *s.shape), s.dtype), (decision, outcome))

        self.decide = processes.program(decide_into, donate_argnums=(0, 1))
        self.judge = jax.jit(judge_into, donate_argnums=(1, 2, 3))
        self.finish = processes.program(finish, donate_argnums=(1,))
        self.storage = jax.jit(storage)

    def start(self, learner: Any, root: jax.Array, *, spread_clocks: bool = True) -> World:
        """The world before the first rollout; see `start`."""

        def first_judge(carry, history, sim, targets):
            _, outcomes = placed(self.storage(learner, carry, sim, root))
            carry, _, history, reset, _, due = self.judge(learner, carry, outcomes, history, sim, targets, 0)
            return carry, history, reset, due

        learner, root = placed((learner, root))
        return start(self.env, self.bridge, first_judge, root, spread_clocks=spread_clocks)

    def collect(
        self,
        learner: Any,
        world: World,
        root: jax.Array,
        on_step: Callable[[Step], None] | None = None,
    ) -> Collected:
        """Act for `horizon` control steps. `world` is used up; go on with the returned one.

        on_step: an onlooker, called once per control step; what it keeps it must copy.
        """
        carry, physics, sim, history = world
        learner, root = placed((learner, root))
        decisions, outcomes = placed(self.storage(learner, carry, sim, root))
        physics_seconds = 0.0
        for t in range(self.horizon):
            # Bridges do not commit what they hand over to a device, a restored state is: see `placed`.
            state, decisions, changed, asked = self.decide(
                carry.env, decisions, learner, carry.step, placed(sim), root, t
            )
            learner = jax.tree.map(lambda old, new: old if new is None else new, learner, changed)
            carry = carry.replace(env=state)
            jax.block_until_ready(asked)
            began = time.perf_counter()
            physics, sim = simulate(self.bridge, physics, asked)
            physics_seconds += time.perf_counter() - began
            carry, outcomes, history, reset, bad, due = self.judge(
                learner, carry, outcomes, history, sim, asked.targets, t
            )
            resets, pushes, nonfinite = np.asarray(due)  # the step's one transfer
            if on_step is not None:
                on_step(Step(t, carry.env, sim, reset, bad, history, bool(nonfinite)))
            began = time.perf_counter()
            physics, sim = respond(self.bridge, physics, sim, reset, resets, pushes)
            physics_seconds += time.perf_counter() - began
        last_value, carry, sim, window = self.finish(learner, carry, sim)
        batch = ppo.PpoBatch(**decisions._asdict(), **outcomes._asdict(), last_value=last_value)
        return Collected(learner, World(carry, physics, sim, history), batch, window, physics_seconds)


def _write(stored: Any, t: jax.Array | int, row: Any) -> Any:
    """Row t of every [T, ...] leaf replaced, in place when `stored` is donated."""
    return jax.tree.map(lambda all_, one: jax.lax.dynamic_update_index_in_dim(all_, one, t, 0), stored, row)
