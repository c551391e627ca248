"""The diagonal Gaussian of the actions: a mean per state, one standard deviation for all states.

Shapes: `mean` and `action` are [..., A]; `std` is [A] or broadcasts against them by itself, such as
[1, A]. Sums run over the A actions.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp


def _beside(std: jax.Array, mean: jax.Array) -> jax.Array:
    """`std` with the rank of `mean`."""
    return std.reshape((1,) * (mean.ndim - std.ndim) + std.shape)


def sample(key: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """One action [..., A] for each mean."""
    return mean + _beside(std, mean) * jax.random.normal(key, mean.shape, mean.dtype)


def log_prob(action: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """Logarithm of the density of `action`: [...]."""
    std = _beside(std, mean)
    z = (action - mean) / std
    return -jnp.sum(0.5 * z * z + jnp.log(std), axis=-1) - 0.5 * math.log(2 * math.pi) * mean.shape[-1]


def entropy(std: jax.Array) -> jax.Array:
    """Differential entropy [...] of the distribution with `std` [..., A], in nats."""
    return jnp.sum(0.5 * math.log(2 * math.pi * math.e) + jnp.log(std), axis=-1)


def kl(old_mean: jax.Array, old_std: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """KL(old || new) in nats, for each row: [...]."""
    old_std, std = _beside(old_std, mean), _beside(std, mean)
    difference = old_mean - mean
    spread = (old_std * old_std + difference * difference) / (2.0 * std * std)
    return jnp.sum(jnp.log(std / old_std) + spread - 0.5, axis=-1)
