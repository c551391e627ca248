"""Running a policy for its scores: N environments, some control steps, no learning."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bridges.protocol import Array, Hanging
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.env import Env
from holosoma_jax.envs.task import Steering, Timeline
from holosoma_jax.evaluation import scores
from holosoma_jax.evaluation.scores import Scores
from holosoma_jax.experiment import Setup
from holosoma_jax.policy.policies import GROUP, Policy
from holosoma_jax.rollout import control_step, nan_guard
from holosoma_jax.rollout.control_step import commit_to_device
from holosoma_jax.rollout.halves import Halves, process_half, take_step
from holosoma_jax.rollout.state import EnvStep, Keys, OnStep, RolloutState, RunnerState, no_callback


class EvalPending(struct.PyTreeNode):
    """`StepInfo.pending` of an evaluation: its running scores, and what they do not hold of the last control step."""

    accumulator: scores.EvalAccumulator
    action: jax.Array  # [E, A] what the policy asked for
    first: jax.Array  # [E] bool: environments that had not failed before
    starts: jax.Array  # [E] bool: environments for which it was the first step of an episode
    frame: jax.Array | None = None  # [E] float32: which frame it played, where the task has a timeline
    shown: dict[str, jax.Array] = struct.field(default_factory=dict)  # `Timeline.shown` -> [E], in this step


class LiveCommand(Protocol):
    """Commands that change while the evaluation runs; asked before every control step."""

    def command(self) -> Array | None:
        """[E, 3], from this step on; None: as before."""
        ...

    def rope(self) -> float | None:
        """Rest length in m of every gantry's rope from this step on, infinite to let go; None: as before."""
        ...

    @property
    def env(self) -> int:
        """The environment that the user watches, whose frame `seek` gets."""
        ...

    def seek(self, frame: int) -> int | None:
        """The frame to play next instead of `frame`, where the task has a timeline; None: as it comes."""
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
    on_step: OnStep = no_callback,
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
      on_step: called after each control step; `StepInfo.pending` is an `EvalPending`.
      live: may change the commands, and end the evaluation early.
      groups: name -> [E] bool, environments that are scored apart as well (`Scores.groups`).

    Raises:
      ConfigError: the policy's action is not finite.
    """
    env, bridge, spec = setup.env, setup.bridge, setup.env.spec
    state, physics, sim = control_step.reset_all(env, bridge, key)
    if command is not None:
        state = steering(setup).begin(env, state, jnp.asarray(command, jnp.float32))
    # A policy may be no JAX function.
    host_env = env._replace(observe=jax.jit(env.observe), pre_step=jax.jit(env.pre_step))
    halves = Halves(
        partial(control_step.act, host_env, partial(_act, policy)), process_half(env, partial(_score, setup))
    )
    names = (
        *jax.eval_shape(env.post_step, state, sim)[1].metrics,
        control_step.VALID,
        control_step.BAD_REWARD,
    )
    carry = commit_to_device(control_step.empty_carry(env, state, names))
    history = nan_guard.history(sim, jnp.zeros((spec.num_envs, setup.robot.num_joints)))
    pending = jax.jit(partial(_nothing_scored, env))()
    rollout = RolloutState(carry, physics, sim, commit_to_device(history))
    runner = RunnerState(None, None, commit_to_device(pending), rollout)
    done = 0
    while done < steps and not (done and live is not None and live.ended()):
        if live is not None and (wanted := live.command()) is not None:
            carry = runner.rollout.carry
            carry = carry.replace(env=steering(setup).set(env, carry.env, jnp.asarray(wanted, jnp.float32)))
            runner = runner._replace(rollout=runner.rollout._replace(carry=carry))
        if live is not None and (rope := live.rope()) is not None and isinstance(bridge, Hanging):
            lengths = np.full(spec.num_envs, rope, np.float32)
            physics = bridge.hang(runner.rollout.physics, np.ones(spec.num_envs, bool), lengths)
            runner = runner._replace(rollout=runner.rollout._replace(physics=physics))
        if live is not None and env.task.timeline is not None:
            runner = _sought(setup, env.task.timeline, runner, live)
        runner, _ = take_step(bridge, halves, runner, Keys(key, key), done, on_step)
        done += 1
    state = runner.rollout.carry.env
    running = dict(zip(spec.reward_names, jax.device_get(state.reward_sums).T, strict=True))
    return scores.summarize(
        runner.pending.accumulator,
        done,
        spec.control_dt,
        running,
        state.episode_step,
        env.task.measures,
        groups,
    )


def _sought(setup: Setup, timeline: Timeline, runner: RunnerState, live: LiveCommand) -> RunnerState:
    """`runner` with all robots at the frame that `live` asks for, if it asks for one."""
    env, rollout = setup.env, runner.rollout
    wanted = live.seek(int(timeline.frame(env, rollout.carry.env)[live.env]))
    if wanted is None:
        return runner
    state, pose = timeline.start_at(env, rollout.carry.env, wanted)
    physics, sim = setup.bridge.reset(rollout.physics, jnp.ones(env.spec.num_envs, bool), pose)
    carry = rollout.carry.replace(env=commit_to_device(state))
    return runner._replace(rollout=rollout._replace(carry=carry, physics=physics, sim=sim))


def _nothing_scored(env: Env) -> EvalPending:
    """Before the first control step."""
    num_envs = env.spec.num_envs
    return EvalPending(
        scores.empty_accumulator(num_envs, env.spec.reward_names, env.task.measures),
        action=jnp.zeros((num_envs, env.spec.action_dim)),
        first=jnp.ones(num_envs, bool),
        starts=jnp.ones(num_envs, bool),
        frame=None if env.task.timeline is None else jnp.zeros(num_envs),
        shown={name: jnp.zeros(num_envs) for name in _shown(env)},
    )


def _shown(env: Env) -> tuple[str, ...]:
    return () if env.task.timeline is None else env.task.timeline.shown


def _act(
    policy: Policy,
    learner: None,
    replay: None,
    pending: EvalPending,
    obs: Mapping[str, Array],
    step: Array,
    *_: Any,
) -> tuple[None, None, EvalPending, jax.Array, dict[str, Any]]:
    """`RolloutFns.act` of a policy that does not learn."""
    action = jnp.asarray(policy.act(obs[GROUP]))
    if not jnp.isfinite(action).all():
        raise ConfigError(
            f"{policy.name}: its action is not finite at control step {int(step)}; it cannot be scored."
        )
    return learner, replay, pending.replace(action=action), action, {}


def _score(
    setup: Setup, learner: None, pending: EvalPending, step: EnvStep
) -> tuple[EvalPending, dict[str, Any]]:
    """`RolloutFns.process` of an evaluation: one control step's samples and ends."""
    del learner
    samples = setup.env.task.measure(setup.env, step.before, step.sim, step.command.targets)
    starts = step.before.episode_step == 0
    accumulator = scores.accumulate(pending.accumulator, samples, step.result)
    timeline = setup.env.task.timeline
    # float32 makes it a copy: the pending state is donated, and the environment's own frame with it otherwise
    frame = None if timeline is None else timeline.frame(setup.env, step.before).astype(jnp.float32)
    shown = {name: samples[name].value for name in _shown(setup.env)}
    return EvalPending(accumulator, pending.action, ~pending.accumulator.over, starts, frame, shown), {}


def steering(setup: Setup, *, flag: str = "--velocity") -> Steering:
    """How the task of `setup` is told what to do; `flag` asks for it.

    Raises:
      ConfigError: nobody can tell it.
    """
    task = setup.env.task
    if task.steering is None:
        raise ConfigError(f"task '{task.name}' takes no velocity commands; leave out {flag}.")
    return task.steering
