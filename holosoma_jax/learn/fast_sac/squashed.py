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
"""Added to the derivative of tanh, as holosoma does: no entry contributes more than 13.8 nats."""

LogDet = Literal["capped", "exact"]


def sample(
    mean: jax.Array,
    log_std: jax.Array,
    noise: jax.Array,
    scale: np.ndarray | None,
    log_det: LogDet = "capped",
) -> tuple[jax.Array, jax.Array]:
    """Actions and the logarithms of their densities (Haarnoja et al. 2018, appendix C).

    By the change of variables, log p(a) = sum_j log N(u_j) - log(d a_j / d u_j). The derivative of tanh
    is computed from u, as log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)): from tanh(u), which rounds
    to 1, float32 loses all digits of it (an error of up to 0.29 nats was seen where 1 - tanh^2 is near
    the cap).

    Args:
      mean: [..., A] of u.
      log_std: [..., A] of u.
      noise: [..., A] standard normal; gradients pass to mean and log_std.
      scale: [A] > 0; None: neither squashed nor stretched, a plain Gaussian.
      log_det: 'capped' takes the derivative of tanh as 1 - tanh(u)^2 + 1e-6 (and 1e-6 more for the
        scale), as holosoma does; 'exact' as 1 - tanh(u)^2, which no u makes zero.

    Returns:
      Actions [..., A] and log densities [...].
    """
    u = mean + jnp.exp(log_std) * noise
    gaussian = -0.5 * (noise * noise) - log_std - 0.5 * math.log(2 * math.pi)
    if scale is None:
        return u, jnp.sum(gaussian, axis=-1)
    slope, stretch = 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u)), np.log(scale)
    if log_det == "capped":
        slope, stretch = jnp.log(jnp.exp(slope) + CAP), np.log(scale + CAP)
    return _stretched(jnp.tanh(u), scale), jnp.sum(gaussian - slope, axis=-1) - float(np.sum(stretch))


def mode(mean: jax.Array, scale: np.ndarray | None) -> jax.Array:
    """The action [..., A] without noise: what evaluation and export use."""
    return mean if scale is None else _stretched(jnp.tanh(mean), scale)


def _stretched(unit: jax.Array, scale: np.ndarray) -> jax.Array:
    return unit * scale.astype(np.float32).reshape((1,) * (unit.ndim - 1) + (-1,))
