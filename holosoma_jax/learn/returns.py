"""From rewards to advantages.

Arrays are [T, N]: T control steps of N environments. Terminated (the task failed: no future) and
truncated (the clock ran out: the future is estimated by the critic) stay apart up to here.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from holosoma_jax.learn.pooling import psum, weighted_mean

AdvantageStd = Literal["biased", "holosoma"]


def next_values(
    values: jax.Array, last_value: jax.Array, final_value: jax.Array, ended: jax.Array
) -> jax.Array:
    """Value [T, N] of the state that each step really reached.

    Args:
      values: [T, N] of the state before each step.
      last_value: [N] of the state after the last step.
      final_value: [T, N] of the state before the reset, read where `ended`.
      ended: [T, N] bool, the episode ended with this step, so the following row is another episode.
    """
    return jnp.where(ended, final_value, jnp.concatenate([values[1:], last_value[None]]))


def gae(
    rewards: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    *,
    gamma: jax.Array | float,
    lam: jax.Array | float,
) -> jax.Array:
    """Generalised advantage estimates (Schulman et al. 2016, equation 16), [T, N].

    With e = 1 where the episode ended::

        delta_t = r_t + gamma (1 - terminated_t) V'_t - V_t
        A_t     = delta_t + gamma lam (1 - e_t) A_(t+1)

    Args:
      rewards: [T, N].
      values: [T, N] of the state before each step.
      next_values: [T, N] of the state actually reached, before any reset (see `next_values`).
      terminated: [T, N] bool, nothing is bootstrapped.
      truncated: [T, N] bool, bootstrapped, but the trace is cut.
      gamma: discount per step.
      lam: lambda.
    """
    delta = rewards + gamma * jnp.where(terminated, 0.0, next_values) - values
    decay = jnp.where(terminated | truncated, 0.0, gamma * lam)

    def back(advantage: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        advantage = step[0] + step[1] * advantage
        return advantage, advantage

    return jax.lax.scan(back, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)[1]


def valid_steps(valid: jax.Array, ended: jax.Array) -> jax.Array:
    """Which steps [T, N] can be learnt from: valid ones whose successor, if any, is valid too.

    A step before an invalid one has no trustworthy value to bootstrap from.
    """
    return valid & (ended | shift_left(valid))


def shift_left(flags: jax.Array) -> jax.Array:
    """`flags` [T, N] of the step after each; True after the last."""
    return jnp.concatenate([flags[1:], jnp.ones_like(flags[:1])])


def normalize_advantages(
    advantages: jax.Array,
    weight: jax.Array,
    form: AdvantageStd = "biased",
    axis_name: str | None = None,
) -> jax.Array:
    """Advantages with mean 0 and standard deviation 1 over all steps, environments and devices.

    Args:
      advantages: [T, N], finite.
      weight: [T, N] float, 0 for steps that do not count.
      form: 'biased' divides by sqrt(variance + 1e-8); 'holosoma' by the root with Bessel's
        correction, plus 1e-8, as on one device there.
      axis_name: devices to pool, or None.
    """
    centred = advantages - weighted_mean(advantages, weight, axis_name)
    variance = weighted_mean(centred * centred, weight, axis_name)
    if form == "biased":
        return centred / jnp.sqrt(variance + 1e-8)
    rows = psum(jnp.sum(weight), axis_name)
    return centred / (jnp.sqrt(variance * rows / jnp.maximum(rows - 1.0, 1.0)) + 1e-8)
