"""Running mean and variance of observations, and the scaling by them."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from holosoma_jax.learn.pooling import psum
from holosoma_jax.learn.symmetry import Reflection, reflect

EPS = 0.01
"""Added to the standard deviation (not to the variance)."""

COUNT_LIMIT = 2**30
"""Rows after which the count stands still.

A long run sees more rows than an int32 holds (25 000 iterations of 98 304), and a float32 count
stops growing at an unplanned place. Held here, the statistics become a moving average over the last
2**30 rows, which differs from the full average by less than sampling noise.
"""

VarianceMerge = Literal["exact", "holosoma"]


class RunningStats(struct.PyTreeNode):
    """Statistics of the rows seen so far; the same on every device."""

    mean: jax.Array
    """[dim]"""
    var: jax.Array
    """[dim] biased (divided by the count)"""
    count: jax.Array
    """[] int32, rows seen, at most `COUNT_LIMIT`"""


def init(dim: int) -> RunningStats:
    """Statistics of nothing: mean 0, variance 1, both replaced by the first batch."""
    return RunningStats(
        mean=jnp.zeros((dim,), jnp.float32),
        var=jnp.ones((dim,), jnp.float32),
        count=jnp.zeros((), jnp.int32),
    )


def update(
    stats: RunningStats,
    x: jax.Array,
    *,
    valid: jax.Array | None = None,
    reflection: Reflection | None = None,
    merge: VarianceMerge = "exact",
    axis_name: str | None = None,
) -> RunningStats:
    """The statistics after the rows of `x`, of all devices together.

    Pairwise merge of moments (Chan, Golub and LeVeque 1979). With w the share of the new rows, d the
    difference of the means and v_b the variance of the new rows::

        mean' = mean + w d        var' = (1 - w) var + w v_b + w (1 - w) d^2

    Args:
      stats: statistics so far.
      x: [rows, dim].
      valid: [rows] bool, False for rows to leave out (they may hold NaN); default: all count.
      reflection: count the mirror image of every row too. Its moments are those of the rows, mirrored,
        so no image is made.
      merge: 'holosoma' takes d from the mean that has already moved, which scales the last term by
        (1 - w)^2 and underestimates the variance early in a run.
      axis_name: devices whose rows are pooled, or None.
    """
    if valid is None:
        valid = jnp.ones(x.shape[:1], bool)
    keep = valid[:, None]
    rows = psum(jnp.sum(valid, dtype=jnp.int32), axis_name)
    divisor = jnp.maximum(rows, 1).astype(x.dtype)
    # Two passes: the variance of raw moments cancels where the mean is large.
    batch_mean = psum(jnp.sum(jnp.where(keep, x, 0.0), axis=0), axis_name) / divisor
    deviation = jnp.where(keep, x - batch_mean[None], 0.0)
    batch_var = psum(jnp.sum(deviation * deviation, axis=0), axis_name) / divisor
    if reflection is not None:
        half = 0.5 * (batch_mean - reflect(batch_mean, reflection))  # how far the two means lie apart
        batch_mean, rows = batch_mean - half, 2 * rows
        batch_var = 0.5 * (batch_var + batch_var[np.array(reflection.index)]) + half * half

    count = jnp.minimum(stats.count + rows, COUNT_LIMIT)
    w = rows.astype(x.dtype) / jnp.maximum(count, 1).astype(x.dtype)
    d = batch_mean - stats.mean
    moved = d if merge == "exact" else d * (1.0 - w)
    return RunningStats(
        mean=stats.mean + w * d,
        var=(1.0 - w) * stats.var + w * batch_var + w * (1.0 - w) * moved * moved,
        count=count,
    )


def normalize(stats: RunningStats, x: jax.Array) -> jax.Array:
    """(x - mean) / (std + 0.01) for `x` [..., dim]."""
    lead = (1,) * (x.ndim - 1)
    mean, std = stats.mean.reshape(*lead, -1), jnp.sqrt(stats.var).reshape(*lead, -1)
    return (x - mean) / (std + EPS)
