"""Running a policy for its scores: N environments, some control steps, no learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Array, SimState
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.env import ActuatorCommand, EnvState
from holosoma_jax.envs.task import Steering
from holosoma_jax.evaluation import scores
from holosoma_jax.evaluation.scores import Scores
from holosoma_jax.experiment import Setup
from holosoma_jax.policy.policies import GROUP, Policy
from holosoma_jax.rollout.control_step import respond
from holosoma_jax.rollout.seeding import stream


class StepInfo(NamedTuple):
    """A control step as an onlooker sees it, before the simulator resets anything.

    Arrays are borrowed: what outlives the call is to be copied.
    """

    step: int
    """control steps before this one"""
    sim: SimState
    """the state reached"""
    action: Array
    """[E, A] what the policy asked for in it"""
    targets: Array
    """[E, J] rad, what the simulator was asked for"""
    first: np.ndarray
    """[E] bool: environments that have not failed before"""
    starts: np.ndarray
    """[E] bool: environments for which it is the first step of an episode"""
    command: Array | None
    """[E, 3] what each environment was told: m/s forward, m/s left, rad/s yaw rate; None: nothing"""


OnStep = Callable[[StepInfo], None]


class LiveCommand(Protocol):
    """Commands that change while the evaluation runs; asked before every control step."""

    def command(self) -> Array | None:
        """[E, 3], from this step on; None: as before."""
        ...

    def ended(self) -> bool:
        """Whether to stop after this step."""
        ...


def run(
    setup: Setup,
    policy: Policy,
    command: Array | None,
    steps: int,
    key: jax.Array,
    on_step: OnStep | None = None,
    live: LiveCommand | None = None,
    groups: Mapping[str, np.ndarray] | None = None,
) -> Scores:
    """Let `policy` act in every environment for `steps` control steps, and score what it does.

    An environment keeps its command for the whole evaluation, unless `live` gives another. After a
    failure it starts anew; what follows is scored apart (`Scores.later`).

    Args:
      setup: made with ``evaluation=True``; every call starts its environments anew.
      policy: reads the observation group 'actor_obs'.
      command: [E, 3] forward m/s, left m/s, yaw rate rad/s; None where the task takes none.
      steps: control steps, fewer than those of an episode.
      key: start poses, noise and randomisation follow from it.
      on_step: an onlooker, called after each control step.
      live: may change the commands, and end the evaluation early.
      groups: name -> [E] bool, environments that are scored apart as well (`Scores.groups`).

    Raises:
      ConfigError: the policy's action is not finite.
    """
    env, bridge = setup.env, setup.bridge
    observe, pre_step = jax.jit(env.observe), jax.jit(partial(_pre_step, setup))
    process_env_step = jax.jit(partial(_process_env_step, setup), donate_argnums=(0, 1))
    state, reset = jax.jit(env.init)(stream(key, "init"))
    physics, sim = respond(bridge, bridge.init(), None, reset, resets=True, pushes=False)
    if command is not None:
        state = steering(setup).begin(env, state, jnp.asarray(command, jnp.float32))
    accumulator = scores.empty_accumulator(env.spec.num_envs, env.spec.reward_names, env.task.measures)
    done = 0
    while done < steps and not (done and live is not None and live.ended()):
        if live is not None and (wanted := live.command()) is not None:
            state = steering(setup).set(env, state, jnp.asarray(wanted, jnp.float32))
        state, obs = observe(state, sim)
        action = jnp.asarray(policy.act(obs[GROUP]))
        state, actuator_command, finite = pre_step(state, action)
        if not finite:  # waits: from here on nothing reads the borrowed state
            raise ConfigError(
                f"{policy.name}: its action is not finite at control step {done}; it cannot be scored."
            )
        physics, sim = bridge.step(physics, *actuator_command)
        if on_step is not None:
            starts = np.asarray(state.episode_step) == 0
            standing = ~np.asarray(accumulator.over)
            on_step(
                StepInfo(
                    done, sim, action, actuator_command.targets, standing, starts, env.velocity_command(state)
                )
            )
        accumulator, state, reset, due = process_env_step(accumulator, state, sim, actuator_command.targets)
        resets, pushes = np.asarray(due)
        physics, sim = respond(bridge, physics, sim, reset, resets, pushes)
        done += 1
    running = dict(zip(env.spec.reward_names, jax.device_get(state.reward_sums).T, strict=True))
    return scores.summarize(
        accumulator, done, env.spec.control_dt, running, state.episode_step, env.task.measures, groups
    )


def _pre_step(
    setup: Setup, state: EnvState, action: jax.Array
) -> tuple[EnvState, ActuatorCommand, jax.Array]:
    """What an action asks of the simulator, and whether it is finite in every environment, [] bool."""
    state, actuator_command = setup.env.pre_step(state, action)
    return state, actuator_command, jnp.isfinite(action).all()


def _process_env_step(
    setup: Setup, accumulator: scores.EvalAccumulator, state: EnvState, sim: SimState, targets: jax.Array
) -> tuple[scores.EvalAccumulator, EnvState, Any, jax.Array]:
    """One control step's samples, ends and resets; and whether there are resets, pushes [2] bool."""
    samples = setup.env.task.measure(setup.env, state, sim, targets)
    state, result = setup.env.post_step(state, sim)
    due = jnp.stack([result.reset.mask.any(), result.reset.push_mask.any()])
    return scores.accumulate(accumulator, samples, result), state, result.reset, due


def steering(setup: Setup, *, flag: str = "--velocity") -> Steering:
    """How the task of `setup` is told what to do; `flag` asks for it.

    Raises:
      ConfigError: nobody can tell it.
    """
    task = setup.env.task
    if task.steering is None:
        raise ConfigError(f"task '{task.name}' takes no velocity commands; leave out {flag}.")
    return task.steering
