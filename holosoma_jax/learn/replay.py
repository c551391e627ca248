"""The replay buffer: a ring of the last L control steps of every environment, on the device.

Arrays are [L, N, ...], so that writing one step touches one contiguous row. Functions are pure; jitted
with the buffer donated, they work in place.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import struct

from holosoma_jax.config.schema import FastSacConfig
from holosoma_jax.learn.arrays import zero_invalid
from holosoma_jax.learn.checks import check_arrays
from holosoma_jax.learn.fast_sac.batch import FastSacBatch
from holosoma_jax.learn.fast_sac.state import FastSacSpec


class Transition(NamedTuple):
    """One control step of N environments."""

    actor_obs: jax.Array
    """[N, Da] raw, before the action"""
    critic_obs: jax.Array
    """[N, Dc] likewise"""
    action: jax.Array
    """[N, A] as it was sent"""
    reward: jax.Array
    """[N]"""
    terminated: jax.Array
    """[N] bool: the task failed, nothing follows"""
    truncated: jax.Array
    """[N] bool: the clock ran out, or the task cut the episode; may coincide with `terminated`"""
    next_actor_obs: jax.Array
    """[N, Da] raw, after the step: before the reset where `truncated`; not read where `terminated`"""
    next_critic_obs: jax.Array
    """[N, Dc] likewise"""
    valid: jax.Array
    """[N] bool; False: never to be learnt from (it may hold NaN)"""


FLAGS = ("terminated", "truncated", "valid")


class Replay(struct.PyTreeNode):
    """The ring. Slot `ptr % L` is written next; slots that were never written are not drawn."""

    data: Transition
    """[L, N, ...]; observations in the type that the configuration asks for"""
    ptr: jax.Array
    """[] int32, control steps written so far"""


def init(cfg: FastSacConfig, spec: FastSacSpec, num_envs: int) -> Replay:
    """An empty buffer of `cfg.buffer_size` control steps of `num_envs` environments."""
    lead = (cfg.buffer_size, num_envs)
    obs = partial(jnp.zeros, dtype=jnp.dtype(cfg.buffer_dtype))
    return Replay(
        data=Transition(
            actor_obs=obs((*lead, spec.actor_obs_dim)),
            critic_obs=obs((*lead, spec.critic_obs_dim)),
            action=jnp.zeros((*lead, spec.action_dim), jnp.float32),
            reward=jnp.zeros(lead, jnp.float32),
            terminated=jnp.zeros(lead, bool),
            truncated=jnp.zeros(lead, bool),
            next_actor_obs=obs((*lead, spec.actor_obs_dim)),
            next_critic_obs=obs((*lead, spec.critic_obs_dim)),
            valid=jnp.zeros(lead, bool),
        ),
        ptr=jnp.zeros((), jnp.int32),
    )


def size_bytes(cfg: FastSacConfig, spec: FastSacSpec, num_envs: int) -> int:
    """What `init` would allocate, without doing it."""
    shapes = jax.eval_shape(partial(init, cfg, spec, num_envs))
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(shapes))


def write(replay: Replay, transition: Transition) -> Replay:
    """The buffer with one more control step, in place of the oldest where it is full.

    Raises:
      ValueError: an array of the transition has another shape than the buffer was made for.
    """
    shapes = {name: ring.shape[1:] for name, ring in replay.data._asdict().items()}
    check_arrays("Transition", transition._asdict(), shapes, FLAGS)
    slot = replay.ptr % replay.data.reward.shape[0]

    def put(ring: jax.Array, x: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_index_in_dim(ring, x.astype(ring.dtype), slot, axis=0)

    finite = zero_invalid(transition, transition.valid)
    return Replay(data=jax.tree.map(put, replay.data, finite), ptr=replay.ptr + 1)


def sample(replay: Replay, key: jax.Array, cfg: FastSacConfig, axis_size: int = 1) -> FastSacBatch:
    """Transitions for `cfg.num_updates` updates of `cfg.batch_size / axis_size` rows each.

    Within an update every environment is drawn equally often, or, where the rows do not divide by the
    environments, once more for some at random; the control step of each row is drawn uniformly from those
    that are kept, with replacement.

    Args:
      replay: a buffer with at least one control step.
      key: random key; another one on every device.
      cfg: sizes, discount and n of the n-step returns.
      axis_size: devices that learn together, each from its own buffer.

    Raises:
      ValueError: the batch does not divide by the devices.
    """
    chex.assert_is_divisible(
        cfg.batch_size,
        axis_size,
        custom_message=f"algo.config.batch_size over {axis_size} devices: take a multiple",
        exception_type=ValueError,
    )
    capacity, num_envs = replay.data.reward.shape
    rows = cfg.batch_size // axis_size
    env_key, age_key = jax.random.split(key)
    envs = jnp.arange(rows) % num_envs
    if rows % num_envs:
        keys = jax.random.split(env_key, cfg.num_updates)
        orders = jax.vmap(partial(jax.random.permutation, x=num_envs))(keys)
        envs = orders[:, envs]
    shape = (cfg.num_updates, rows)
    kept = jnp.minimum(replay.ptr, capacity)
    ages = jax.random.randint(age_key, shape, 1, jnp.maximum(kept, 1) + 1)  # 1: the newest
    envs = jnp.broadcast_to(envs if envs.ndim == 2 else envs[None], shape)
    return gather(replay, replay.ptr - ages, envs, cfg)


def gather(replay: Replay, steps: jax.Array, envs: jax.Array, cfg: FastSacConfig) -> FastSacBatch:
    """The n-step transitions that start at chosen places.

    A row ends with the step in which its episode ends, at the newest step of the buffer, or after n
    steps, whichever comes first: k steps in. With rewards r_0 to r_(k-1)::

        reward = sum_i gamma^i r_i      discount = gamma^k, or 0 if the last step failed

    A truncated step is bootstrapped from the observation before its reset; a step that failed is not,
    also where its time ran out.

    Args:
      replay: the buffer.
      steps: [...] int32, number of the control step since the start (`ptr - 1` is the newest).
      envs: [...] int32.
      cfg: `gamma` and `num_steps`.
    """
    data, capacity = replay.data, replay.data.reward.shape[0]
    last = steps
    reward, discount = jnp.zeros(steps.shape, jnp.float32), jnp.ones(steps.shape, jnp.float32)
    valid, going = jnp.ones(steps.shape, bool), jnp.ones(steps.shape, bool)
    for k in range(cfg.num_steps):
        last = jnp.where(going, steps + k, last)
        at = (last % capacity, envs)
        reward = reward + jnp.where(going, discount * data.reward[at], 0.0)
        discount = jnp.where(going, cfg.gamma * discount, discount)
        valid = valid & data.valid[at]
        going = going & ~data.terminated[at] & ~data.truncated[at] & (last != replay.ptr - 1)
    first, final = (steps % capacity, envs), (last % capacity, envs)
    return FastSacBatch(
        actor_obs=data.actor_obs[first].astype(jnp.float32),
        critic_obs=data.critic_obs[first].astype(jnp.float32),
        action=data.action[first],
        reward=reward,
        discount=jnp.where(data.terminated[final], 0.0, discount),
        next_actor_obs=data.next_actor_obs[final].astype(jnp.float32),
        next_critic_obs=data.next_critic_obs[final].astype(jnp.float32),
        valid=valid,
    )
