"""The transitions that FastSAC learns from, and the checks of what reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import chex
import jax

from holosoma_jax.learn.arrays import ACTOR_OBS
from holosoma_jax.learn.checks import check_arrays
from holosoma_jax.learn.fast_sac.state import FastSacSpec, FastSacStatic


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
    """Raise ValueError unless there are float32 actor observations [N, Da]."""
    check_arrays("observations", obs, {ACTOR_OBS: (None, spec.actor_obs_dim)})


def check_batch(batch: FastSacBatch, static: FastSacStatic) -> None:
    """Raise ValueError naming the first array of `batch` that has a wrong shape or type."""
    spec = static.spec
    where = "FastSacBatch.reward is [algo.config.num_updates, B]"
    chex.assert_shape(
        batch.reward, (static.num_updates, None), custom_message=where, exception_type=ValueError
    )
    dims = {
        "actor_obs": spec.actor_obs_dim,
        "critic_obs": spec.critic_obs_dim,
        "action": spec.action_dim,
        "next_actor_obs": spec.actor_obs_dim,
        "next_critic_obs": spec.critic_obs_dim,
    }
    lead = batch.reward.shape
    shapes = {name: (*lead, dims[name]) if name in dims else lead for name in FastSacBatch._fields}
    check_arrays("FastSacBatch", batch._asdict(), shapes, flags=("valid",))
