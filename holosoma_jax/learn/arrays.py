"""What the learners share about arrays: names of observation groups, traced scalars, zeros for invalid rows."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp

ACTOR_OBS, CRITIC_OBS = "actor_obs", "critic_obs"
"""The observation groups that the networks read."""

Tree = TypeVar("Tree")


def f32(x: float) -> jax.Array:
    """`x` as a float32 scalar, so that a change of it needs no compilation."""
    return jnp.asarray(x, jnp.float32)


def zero_invalid(tree: Tree, valid: jax.Array) -> Tree:
    """`tree` of arrays [*valid.shape, ...] with zeros where `valid` is False.

    Invalid rows may hold NaN, which no weight of 0 removes.
    """

    def blank(x: jax.Array) -> jax.Array:
        keep = valid.reshape(valid.shape + (1,) * (x.ndim - valid.ndim))
        return jnp.where(keep, x, jnp.zeros((), x.dtype))

    return jax.tree.map(blank, tree)
