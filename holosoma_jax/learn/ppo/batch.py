"""The rollout that PPO learns from, and the checks of what reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import chex
import jax

from holosoma_jax.learn.arrays import ACTOR_OBS, CRITIC_OBS
from holosoma_jax.learn.checks import Shape, check_arrays
from holosoma_jax.learn.ppo.state import PpoStatic


class PpoBatch(NamedTuple):
    """One rollout of one device: T control steps of N environments."""

    actor_obs: jax.Array
    """[T, N, Da] normalised when the action was taken; never normalised again"""
    critic_obs: jax.Array
    """[T, N, Dc] likewise"""
    action: jax.Array
    """[T, N, A] as sampled, unclipped"""
    log_prob: jax.Array
    """[T, N] of the action"""
    mean: jax.Array
    """[T, N, A] of the policy"""
    value: jax.Array
    """[T, N] of the critic"""
    reward: jax.Array
    """[T, N]"""
    terminated: jax.Array
    """[T, N] bool: the task failed, nothing follows"""
    truncated: jax.Array
    """[T, N] bool: the clock ran out; may coincide with `terminated`"""
    final_value: jax.Array
    """[T, N] value of the state before the reset where `truncated`, else 0"""
    valid: jax.Array
    """[T, N] bool; False: leave the transition out of every loss and statistic (it may hold NaN)"""
    last_value: jax.Array
    """[N] value of the state after the last step"""


FLAGS = ("terminated", "truncated", "valid")


def check_obs(obs: Mapping[str, jax.Array], static: PpoStatic) -> None:
    """Raise ValueError unless both groups are float32 [N, dim] with the same N."""
    rows = obs[ACTOR_OBS].shape[0] if ACTOR_OBS in obs and obs[ACTOR_OBS].ndim else None
    dims = {ACTOR_OBS: static.spec.actor_obs_dim, CRITIC_OBS: static.spec.critic_obs_dim}
    check_arrays("observations", obs, {group: (rows, dim) for group, dim in dims.items()})


def check_batch(batch: PpoBatch, static: PpoStatic) -> None:
    """Raise ValueError naming the first array of `batch` that has a wrong shape or type."""
    spec = static.spec
    chex.assert_rank(batch.reward, 2, custom_message="PpoBatch.reward is [T, N]", exception_type=ValueError)
    t, n = batch.reward.shape
    dims = {
        "actor_obs": spec.actor_obs_dim,
        "critic_obs": spec.critic_obs_dim,
        "action": spec.action_dim,
        "mean": spec.action_dim,
    }
    shapes: dict[str, Shape] = {
        name: (t, n, dims[name]) if name in dims else (t, n) for name in PpoBatch._fields
    }
    check_arrays("PpoBatch", batch._asdict(), shapes | {"last_value": (n,)}, FLAGS)
    if t * n < static.mini_batches:
        raise ValueError(
            f"PpoBatch.reward has T * N = {t} * {n} = {t * n} rows, fewer than the "
            f"{static.mini_batches} mini-batches of algo.config.num_mini_batches. Collect more, or lower it."
        )
