"""The rollout that PPO learns from, and the checks of what reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax

from holosoma_jax.learn.ppo.state import ACTOR_OBS, CRITIC_OBS, PpoStatic


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


def check_obs(obs: Mapping[str, jax.Array], static: PpoStatic) -> None:
    """Raise ValueError unless both groups are [N, dim] with the same N."""
    dims = {ACTOR_OBS: static.spec.actor_obs_dim, CRITIC_OBS: static.spec.critic_obs_dim}
    for group, dim in dims.items():
        if group not in obs:
            raise ValueError(
                f"observations have no group '{group}'; given: {', '.join(sorted(obs)) or 'none'}."
            )
        shape, rows = obs[group].shape, obs[ACTOR_OBS].shape[0]
        if shape != (rows, dim):
            raise ValueError(f"observation group '{group}' is {shape}, expected ({rows}, {dim}) = [N, dim].")


def check_batch(batch: PpoBatch, static: PpoStatic) -> None:
    """Raise ValueError naming the first array of `batch` that has a wrong shape or type."""
    spec = static.spec
    if batch.reward.ndim != 2:
        raise ValueError(f"PpoBatch.reward is {batch.reward.shape}, expected two axes [T, N].")
    t, n = batch.reward.shape
    expected = {name: (t, n) for name in PpoBatch._fields} | {
        "actor_obs": (t, n, spec.actor_obs_dim),
        "critic_obs": (t, n, spec.critic_obs_dim),
        "action": (t, n, spec.action_dim),
        "mean": (t, n, spec.action_dim),
        "last_value": (n,),
    }
    flags = ("terminated", "truncated", "valid")
    for name, shape in expected.items():
        array = getattr(batch, name)
        if array.shape != shape:
            raise ValueError(
                f"PpoBatch.{name} is {array.shape}, expected {shape} for reward ({t}, {n}) = [T, N]."
            )
        kind = "bool" if name in flags else "float32"
        if array.dtype != kind:
            raise ValueError(f"PpoBatch.{name} is {array.dtype}, expected {kind}.")
    if t * n < static.mini_batches:
        raise ValueError(
            f"PpoBatch.reward has T * N = {t} * {n} = {t * n} rows, fewer than the "
            f"{static.mini_batches} mini-batches of algo.config.num_mini_batches. Collect more, or lower it."
        )
