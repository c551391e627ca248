"""The transitions that FastSAC learns from, and the checks of what reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax

from holosoma_jax.learn.fast_sac.state import ACTOR_OBS, FastSacSpec, FastSacStatic


class FastSacBatch(NamedTuple):
    """Replayed transitions of one device: U updates of B rows each.

    With n-step returns a row spans several control steps: its successor is the state in which the
    critic takes over.
    """

    actor_obs: jax.Array
    """[U, B, Da] raw"""
    critic_obs: jax.Array
    """[U, B, Dc] raw"""
    action: jax.Array
    """[U, B, A] that was taken"""
    reward: jax.Array
    """[U, B] discounted sum up to the successor"""
    discount: jax.Array
    """[U, B] of the successor's value; 0 where the task failed before it"""
    next_actor_obs: jax.Array
    """[U, B, Da] raw, of the successor, never of the following episode"""
    next_critic_obs: jax.Array
    """[U, B, Dc] likewise"""
    valid: jax.Array
    """[U, B] bool; False: leave the row out of every loss and statistic (it may hold NaN)"""


def check_obs(obs: Mapping[str, jax.Array], spec: FastSacSpec) -> None:
    """Raise ValueError unless there are actor observations [N, Da]."""
    if ACTOR_OBS not in obs:
        raise ValueError(
            f"observations have no group '{ACTOR_OBS}'; given: {', '.join(sorted(obs)) or 'none'}."
        )
    shape = obs[ACTOR_OBS].shape
    if len(shape) != 2 or shape[1] != spec.actor_obs_dim:
        raise ValueError(
            f"observation group '{ACTOR_OBS}' is {shape}, expected [N, {spec.actor_obs_dim}] = [N, dim]."
        )


def check_batch(batch: FastSacBatch, static: FastSacStatic) -> None:
    """Raise ValueError naming the first array of `batch` that has a wrong shape or type."""
    spec, updates = static.spec, static.num_updates
    if batch.reward.ndim != 2 or batch.reward.shape[0] != updates:
        raise ValueError(
            f"FastSacBatch.reward is {batch.reward.shape}, expected [{updates}, B]: one row of transitions "
            "for each of algo.config.num_updates."
        )
    lead = batch.reward.shape
    dims = {
        "actor_obs": spec.actor_obs_dim,
        "critic_obs": spec.critic_obs_dim,
        "action": spec.action_dim,
        "next_actor_obs": spec.actor_obs_dim,
        "next_critic_obs": spec.critic_obs_dim,
    }
    for name, array in batch._asdict().items():
        shape = (*lead, dims[name]) if name in dims else lead
        if array.shape != shape:
            raise ValueError(f"FastSacBatch.{name} is {array.shape}, expected {shape} for reward {lead}.")
        kind = "bool" if name == "valid" else "float32"
        if array.dtype != kind:
            raise ValueError(f"FastSacBatch.{name} is {array.dtype}, expected {kind}.")
