"""The Gaussian squashed by tanh and stretched to each joint's range.

u ~ N(mean, std) and action = scale tanh(u), so that no action leaves +-scale. Shapes: `mean`,
`log_std` and `noise` are [..., A], `scale` is [A]; sums run over the A actions.
"""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

CAP = 1e-6
"""Keeps logarithms finite where tanh rounds to 1; so no entry contributes more than 13.8 nats."""

LogDet = Literal["capped", "exact"]


def sample(
    mean: jax.Array,
    log_std: jax.Array,
    noise: jax.Array,
    scale: np.ndarray | None,
    log_det: LogDet = "capped",
) -> tuple[jax.Array, jax.Array]:
    """Actions and the logarithms of their densities (FastSAC spec, section 2).

    By the change of variables, log p(a) = sum_j log N(u_j) - log(d a_j / d u_j).

    Args:
      mean: [..., A] of u.
      log_std: [..., A] of u.
      noise: [..., A] standard normal; gradients pass to mean and log_std.
      scale: [A] > 0; None: neither squashed nor stretched, a plain Gaussian.
      log_det: 'capped' takes the derivative of tanh as 1 - tanh(u)^2 + 1e-6 (and 1e-6 more for the
        scale), as the reference does; 'exact' as 4 / (exp(u) + exp(-u))^2, which no u makes zero.

    Returns:
      Actions [..., A] and log densities [...].
    """
    u = mean + jnp.exp(log_std) * noise
    gaussian = -0.5 * (noise * noise) - log_std - 0.5 * math.log(2 * math.pi)
    if scale is None:
        return u, jnp.sum(gaussian, axis=-1)
    squashed = jnp.tanh(u)
    if log_det == "capped":
        slope, stretch = jnp.log(1.0 - squashed * squashed + CAP), np.log(scale + CAP)
    else:
        slope, stretch = 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u)), np.log(scale)
    return _stretched(squashed, scale), jnp.sum(gaussian - slope, axis=-1) - float(np.sum(stretch))


def mode(mean: jax.Array, scale: np.ndarray | None) -> jax.Array:
    """The action [..., A] without noise: what evaluation and export use."""
    return mean if scale is None else _stretched(jnp.tanh(mean), scale)


def _stretched(unit: jax.Array, scale: np.ndarray) -> jax.Array:
    return unit * scale.astype(np.float32).reshape((1,) * (unit.ndim - 1) + (-1,))
