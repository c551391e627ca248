"""Sums over devices, written once: with `axis_name=None` one device is all there is."""

from __future__ import annotations

import itertools
from typing import TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def psum(tree: Tree, axis_name: str | None) -> Tree:
    """The sum of `tree` over the devices of `axis_name`; `tree` itself where that is None.

    All leaves of one dtype travel as one vector. XLA makes one operation of many leaves anyway, but between processes
    on CPUs (Gloo) each is a message of its own, which costs its latency whatever its size.
    """
    if axis_name is None:
        return tree
    leaves, structure = jax.tree.flatten(tree)
    arrays, sums = [jnp.asarray(x) for x in leaves], {}
    for dtype in dict.fromkeys(x.dtype for x in arrays):
        own = [i for i, x in enumerate(arrays) if x.dtype == dtype]
        total = jax.lax.psum(jnp.concatenate([arrays[i].ravel() for i in own]), axis_name)
        ends = itertools.accumulate(arrays[i].size for i in own)
        parts = jnp.split(total, list(ends)[:-1])
        sums |= {i: part.reshape(arrays[i].shape) for i, part in zip(own, parts, strict=True)}
    return jax.tree.unflatten(structure, [sums[i] for i in range(len(arrays))])


def pmean(tree: Tree, axis_name: str | None) -> Tree:
    """The mean of `tree` over the devices of `axis_name`; `tree` itself where that is None."""
    if axis_name is None:
        return tree
    return jax.tree.map(lambda x: x / jax.lax.axis_size(axis_name), psum(tree, axis_name))


def weighted_mean(x: jax.Array, weight: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Mean of `x` over the rows of all devices, each counted `weight` times; 0 where nothing counts.

    Args:
      x: any shape; finite also where the weight is 0.
      weight: the same shape, >= 0.
      axis_name: devices to pool, or None.

    Returns:
      A scalar.
    """
    weighted, weights = psum((jnp.sum(weight * x), jnp.sum(weight)), axis_name)
    return jnp.where(weights > 0, weighted / jnp.where(weights > 0, weights, 1.0), 0.0)


def device_weight(weight: jax.Array, axis_name: str | None) -> jax.Array:
    """By how much this device's weighted mean counts, times the number of devices.

    The average over devices of `weight * mean` is then the mean over the rows of all devices, also
    where devices hold different amounts of valid data. Without other devices it is 1.
    """
    if axis_name is None:
        return jnp.ones((), weight.dtype)
    here = jnp.sum(weight)
    everywhere = pmean(here, axis_name)
    return jnp.where(everywhere > 0, here / jnp.where(everywhere > 0, everywhere, 1.0), 1.0)


def pmean_weighted(means: Tree, weight: jax.Array, axis_name: str | None) -> Tree:
    """Means over this device's rows, which weigh `weight`, -> means over the rows of all devices."""
    if axis_name is None:
        return means
    share = device_weight(weight, axis_name)
    return pmean(jax.tree.map(lambda x: share * x, means), axis_name)
