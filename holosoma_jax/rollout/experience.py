"""Off-policy control steps: the two halves of one, and what they remember.

A control step is `learn_and_decide` (observe, store what the last step led to, learn from the replay
buffer, act), the simulator, `judge` (rewards, terminations, resets), and the simulator's answer to the
resets. Both halves are pure functions of arrays that know no simulator. `stepped_off_policy` jits them
and calls the simulator from Python in between; with a traceable bridge they compose under `lax.scan`::

    def control_step(values, _):
        learner, experience, carry, physics, sim = values
        learner, replay, carry, decision, asked = learn_and_decide(
            env, algorithm, learner, experience, carry, sim, keys
        )
        physics, sim = bridge.step(physics, *asked)
        carry, pending, result = judge(env, decision, carry, sim)
        physics, sim = respond(bridge, physics, sim, result.reset, True, True)
        return (learner, experience.replace(replay=replay, pending=pending), carry, physics, sim), None

A transition is complete only when the next observation is there, so the last one waits in
`Experience.pending`; it is stored, and may be learned from, in the next control step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from bridges.protocol import SimState
from holosoma_jax.config.schema import FastSacConfig
from holosoma_jax.envs.env import ActuatorCommand, Env, StepResult
from holosoma_jax.learn import fast_sac, replay
from holosoma_jax.learn.replay import Replay, Transition
from holosoma_jax.rollout import metrics, seeding
from holosoma_jax.rollout.control_step import Carry, settle
from holosoma_jax.rollout.seeding import stream

VALID = "valid"
"""Share of transitions from finite simulator states: in the window, for the guard, not in the log."""


class Algorithm(NamedTuple):
    """What a control step needs of an off-policy learner, its settings bound."""

    act: Callable[..., Any]
    """learner, observations, key -> action [N, A], extras"""
    update: Callable[..., Any]
    """learner, batch, key, name of the device axis or None -> learner, metrics"""
    write: Callable[..., Any]
    """replay, transition -> replay"""
    sample: Callable[..., Any]
    """replay, key -> batch"""


def algorithm(cfg: FastSacConfig, axis_size: int = 1) -> Algorithm:
    """FastSAC as `cfg` sets it, on `axis_size` devices that learn together."""
    return Algorithm(
        act=fast_sac.act,
        update=fast_sac.update,
        write=replay.write,
        sample=partial(replay.sample, cfg=cfg, axis_size=axis_size),
    )


class Experience(struct.PyTreeNode):
    """What has been lived through and not been forgotten yet."""

    replay: Replay
    pending: Transition  # [N, ...] the last control step; its next observations are the final ones
    wait: jax.Array  # [] int32, learning starts with more transitions per environment than these


class Keys(NamedTuple):
    """Roots of the random streams."""

    own: jax.Array
    """of this process: exploration, environments, what is replayed"""
    shared: jax.Array
    """of all processes: what must be the same on each"""


def keys(seed: int) -> Keys:
    """The roots of a run with this seed."""
    return Keys(seeding.root(seed), seeding.shared(seed))


class Decision(NamedTuple):
    """The policy's part of a transition, [N, ...]."""

    actor_obs: jax.Array
    critic_obs: jax.Array
    action: jax.Array


def nothing(env: Env) -> Transition:
    """The transition before the first one; it is never stored."""
    spec = env.spec
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


def learn_and_decide(
    env: Env,
    algorithm: Algorithm,
    learner: Any,
    experience: Experience,
    carry: Carry,
    sim: SimState,
    keys: Keys,
    axis_name: str | None = None,
) -> tuple[Any, Replay, Carry, Decision, ActuatorCommand]:
    """First half: what the policy sees in `sim`, what it learns, what it does.

    Nothing is stored at the run's first step, and nothing learned before `experience.wait` is
    exceeded. The metrics of the updates go into the window. The devices of `axis_name` learn together.
    """
    state, obs = env.observe(carry.env, sim)
    stored = algorithm.write(experience.replay, complete(experience.pending, obs))
    # What was written at the first step lies at the pointer, where the next step overwrites it.
    stored = stored.replace(ptr=jnp.where(carry.step == 0, experience.replay.ptr, stored.ptr))
    learner, losses = _learn(algorithm, learner, stored, experience.wait, carry.step, keys, axis_name)
    action, _ = algorithm.act(learner, obs, stream(keys.own, "act", carry.step))
    state, asked = env.pre_step(state, action)
    carry = carry.replace(env=state, window=metrics.pool(carry.window, losses))
    return learner, stored, carry, Decision(obs["actor_obs"], obs["critic_obs"], action), asked


def judge(env: Env, decision: Decision, carry: Carry, sim: SimState) -> tuple[Carry, Transition, StepResult]:
    """Second half: what the step was worth, which episodes end, what has to be reset or pushed."""
    state, result = env.post_step(carry.env, sim)
    valid = ~result.nonfinite
    pending = Transition(
        **decision._asdict(),
        reward=result.reward,
        terminated=result.terminated,
        truncated=result.truncated,
        next_actor_obs=result.final_obs["actor_obs"],
        next_critic_obs=result.final_obs["critic_obs"],
        valid=valid,
    )
    carry = settle(carry, state, result)
    ours = {"Loss/env_rewards": result.reward.mean(), VALID: valid.mean(dtype=jnp.float32)}
    return carry.replace(window=metrics.pool(carry.window, ours)), pending, result


def complete(pending: Transition, obs: Mapping[str, jax.Array]) -> Transition:
    """`pending` with the observations that followed: `obs` unless the clock cut the episode.

    After a failure `obs` is of another episode, and never looked at.
    """

    def following(final: jax.Array, after: jax.Array) -> jax.Array:
        return jnp.where(pending.truncated[:, None], final, after)

    return pending._replace(
        next_actor_obs=following(pending.next_actor_obs, obs["actor_obs"]),
        next_critic_obs=following(pending.next_critic_obs, obs["critic_obs"]),
    )


def _learn(
    algorithm: Algorithm,
    learner: Any,
    stored: Replay,
    wait: jax.Array,
    step: jax.Array,
    keys: Keys,
    axis_name: str | None,
) -> tuple[Any, dict[str, Any]]:
    """The learner after the updates of one control step, if it is time for them.

    Returns:
      The learner, and its metrics as (value, 1), or (0, 0) if it did not learn.
    """
    # Outside the condition: a buffer that is a branch's operand might be copied.
    batch = algorithm.sample(stored, stream(keys.own, "sample", step))

    def learn(learner: Any) -> tuple[Any, dict[str, jax.Array]]:
        return algorithm.update(learner, batch, stream(keys.shared, "update", step), axis_name)

    def rest(learner: Any) -> tuple[Any, dict[str, jax.Array]]:
        return learner, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(learn, learner)[1])

    ready = stored.ptr > wait
    learner, losses = jax.lax.cond(ready, learn, rest, learner)
    return learner, {name: (value, ready.astype(jnp.float32)) for name, value in losses.items()}
