"""What an off-policy learner does around the control steps: store transitions, learn at every step.

A transition is complete only when the next observation is there, so the last one waits in `RunnerState.pending`; it
is stored, and may be learned from, in the next control step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from holosoma_jax.envs.env import EnvSpec
from holosoma_jax.learn.learner import Learner
from holosoma_jax.learn.replay import Transition
from holosoma_jax.rollout import nan_guard
from holosoma_jax.rollout.rollout_fns import Lagged, RolloutFns, learn_if
from holosoma_jax.rollout.seeding import stream
from holosoma_jax.rollout.state import EnvStep, Keys


class ReplayState(struct.PyTreeNode):
    """The replay buffer, and when it is full enough."""

    buffer: Any
    learning_starts: jax.Array  # [] int32, learning needs more transitions per environment than these


def rollout_fns(learner: Learner, cfg: Any, axis_size: int = 1) -> RolloutFns:
    """What `learner`, set by `cfg`, does around the control steps, on `axis_size` devices that learn together."""
    if learner.replay is None:
        raise ValueError(f"Learner '{learner.name}' has no replay buffer, so it is not off-policy.")
    sample = partial(learner.replay.sample, cfg=cfg, axis_size=axis_size)
    parts = learner, learner.replay.write, sample
    return RolloutFns(
        init_pending=lambda state, spec: empty_transition(spec),
        act=partial(update_and_act, *parts),
        process=process,
        update=partial(finish, learner),
        learned=learner.learned,
        horizon=1,
        learns_in_act=True,
        report=report,
        compiler_options=learner.compiler_options,
        lagged=Lagged(act=partial(act, learner), learn=partial(learn, *parts)),
    )


def empty_transition(spec: EnvSpec) -> Transition:
    """The transition before the first one; it is never stored."""
    n, actor, critic = spec.num_envs, spec.obs_dims["actor_obs"], spec.obs_dims["critic_obs"]
    return Transition(
        actor_obs=jnp.zeros((n, actor)),
        critic_obs=jnp.zeros((n, critic)),
        action=jnp.zeros((n, spec.action_dim)),
        reward=jnp.zeros(n),
        terminated=jnp.zeros(n, bool),
        truncated=jnp.zeros(n, bool),
        next_actor_obs=jnp.zeros((n, actor)),
        next_critic_obs=jnp.zeros((n, critic)),
        valid=jnp.zeros(n, bool),
    )


def update_and_act(
    learner: Learner,
    write: Callable[[Any, Transition], Any],
    sample: Callable[[Any, jax.Array], Any],
    state: Any,
    replay: ReplayState,
    last: Transition,
    obs: Mapping[str, jax.Array],
    step: jax.Array,
    keys: Keys,
    axis_name: str | None,
) -> tuple[Any, ReplayState, Transition, jax.Array, dict[str, Any]]:
    """Store the last transition, learn, act."""
    state, replay, last, measured = learn(
        learner, write, sample, state, replay, last, obs, step, keys, axis_name
    )
    state, _, last, action, _ = act(learner, state, None, last, obs, step, keys, axis_name)
    return state, replay, last, action, measured


def learn(
    learner: Learner,
    write: Callable[[Any, Transition], Any],
    sample: Callable[[Any, jax.Array], Any],
    state: Any,
    replay: ReplayState,
    last: Transition,
    obs: Mapping[str, jax.Array],
    step: jax.Array,
    keys: Keys,
    axis_name: str | None,
) -> tuple[Any, ReplayState, Transition, dict[str, Any]]:
    """Store the last transition, which led to `obs`, and learn from the buffer.

    Nothing is stored at the run's first step, and nothing learned before there are more than
    `replay.learning_starts` transitions per environment.
    """
    buffer = write(replay.buffer, fill_next_obs(last, obs))
    # What was written at the first step lies at the pointer, where the next step overwrites it.
    buffer = buffer.replace(ptr=jnp.where(step == 0, replay.buffer.ptr, buffer.ptr))
    replay = replay.replace(buffer=buffer)
    # Outside the condition: a buffer that is a branch's operand might be copied.
    batch = sample(buffer, stream(keys.own, "sample", step))

    def updated(state: Any) -> tuple[Any, dict[str, jax.Array]]:
        return learner.update(state, batch, stream(keys.shared, "update", step), axis_name)

    ready = buffer.ptr > replay.learning_starts
    state, measured = learn_if(ready, updated, state)
    return state, replay, last, measured


def act(
    learner: Learner,
    state: Any,
    replay: None,
    last: Transition,
    obs: Mapping[str, jax.Array],
    step: jax.Array,
    keys: Keys,
    axis_name: str | None,
) -> tuple[Any, None, Transition, jax.Array, dict[str, Any]]:
    """Act, and begin the transition of this control step."""
    del axis_name
    action, _ = learner.act(state, obs, stream(keys.own, "act", step))
    last = last._replace(actor_obs=obs["actor_obs"], critic_obs=obs["critic_obs"], action=action)
    return state, replay, last, action, {}


def process(state: Any, last: Transition, step: EnvStep) -> tuple[Transition, dict[str, jax.Array]]:
    """Complete the transition of a control step, but for its next observations: they are the final ones so far."""
    del state
    result = step.result
    last = last._replace(
        reward=result.reward,
        terminated=result.terminated,
        truncated=result.cut,
        next_actor_obs=result.final_obs["actor_obs"],
        next_critic_obs=result.final_obs["critic_obs"],
        valid=~result.nonfinite,
    )
    return last, {"Loss/env_rewards": result.reward.mean()}


def fill_next_obs(last: Transition, obs: Mapping[str, jax.Array]) -> Transition:
    """`last` with the observations that followed: `obs` unless the clock or the task cut the episode there.

    After a failure `obs` is of another episode, and never looked at.
    """

    def following(final: jax.Array, after: jax.Array) -> jax.Array:
        return jnp.where(last.truncated[:, None], final, after)

    return last._replace(
        next_actor_obs=following(last.next_actor_obs, obs["actor_obs"]),
        next_critic_obs=following(last.next_critic_obs, obs["critic_obs"]),
    )


def finish(
    learner: Learner,
    state: Any,
    last: Transition,
    obs: Mapping[str, jax.Array],
    iteration: jax.Array,
    keys: Keys,
    axis_name: str | None,
) -> tuple[Any, Transition, dict[str, jax.Array], jax.Array]:
    """`RolloutFns.update` of a learner that has learned on the way: nothing is left but to see whether it is finite."""
    del obs, iteration, keys, axis_name
    return state, last, {}, nan_guard.finite(learner.learned(state))


def report(last: Transition) -> dict[str, np.ndarray]:
    """The last transition, by name."""
    return {name: np.asarray(x) for name, x in last._asdict().items()}
