"""Where in the clips episodes start: more often where earlier ones failed.

The frames of all clips are divided into bins. A failure counts for the bin of its frame; a moving average over
control steps of these counts decides how often a bin is drawn.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax.envs.terms.motion.config import SamplerConfig


class Bins(NamedTuple):
    """S bins over the F frames of all clips; NumPy arrays, static."""

    first: np.ndarray
    """[S] float32, where each begins, in frames"""
    width: np.ndarray
    """[S] float32, frames"""
    of_frame: np.ndarray
    """[F] int32, the bin of each frame"""
    base: np.ndarray
    """[S] float32, probabilities of starting anywhere: frames times the weight of their clip"""
    weight: np.ndarray
    """[S] float32, of the bin's clip, relative to the largest"""


def bins(length: np.ndarray, weights: np.ndarray, cfg: SamplerConfig, control_dt: float) -> Bins:
    """The bins of clips.

    A clip of n frames has floor(n / frames per bin) + 1 bins of equal width, as in holosoma; with
    ``bins: global`` all clips together are divided like one.

    Args:
      length: [M] frames of each clip.
      weights: [M] of the clips; only those of ``bins: clip`` count.
      cfg: settings.
      control_dt: s a frame.
    """
    per_bin = int(cfg.seconds_per_bin / control_dt + 1e-6)
    whole = cfg.bins == "global"
    sizes = np.array([length.sum()]) if whole else np.asarray(length)
    shares = np.ones(1) if whole else np.asarray(weights, np.float64)
    first, width, weight, of_frame, start, total = [], [], [], [], 0, 0
    for size, share in zip(sizes.tolist(), shares.tolist(), strict=True):
        count = size // max(1, per_bin) + 1
        first.append(start + np.arange(count) * (size / count))
        width.append(np.full(count, size / count))
        weight.append(np.full(count, share))
        of_frame.append(total + np.arange(size) * count // size)
        start, total = start + size, total + count
    every = np.concatenate(width) * np.concatenate(weight)
    arrays = (
        *map(np.concatenate, (first, width)),
        every / every.sum(),
        np.concatenate(weight) / shares.max(),
    )
    places, spans, base, relative = (x.astype(np.float32) for x in arrays)
    return Bins(places, spans, np.concatenate(of_frame).astype(np.int32), base, relative)


def probabilities(failures: jax.Array, where: Bins, cfg: SamplerConfig) -> jax.Array:
    """How likely a start falls into each bin [S]; sums to 1.

    ``bins: clip``: (1 - u) min(f, cap) plus the rest of the probability times the base, with f the normalised
    failures, u the uniform ratio and cap = max_over_mean / S. ``bins: global``: proportional to the kernel's
    weighted mean over the bins from the failures + u / S on, the last one repeated beyond the end.

    Args:
      failures: [S] moving averages.
      where: the bins.
      cfg: settings.
    """
    count = len(where.base)
    if cfg.bins == "global":
        kernel = cfg.kernel_lambda ** np.arange(cfg.kernel_size, dtype=np.float32)
        kernel = kernel / kernel.sum()
        floor = failures + cfg.uniform_ratio / count
        padded = jnp.concatenate([floor, jnp.broadcast_to(floor[-1:], (cfg.kernel_size - 1,))])
        score = sum(float(w) * padded[j : j + count] for j, w in enumerate(kernel))
        return score / jnp.sum(score)
    base = jnp.asarray(where.base)
    weighted = failures * jnp.asarray(where.weight)
    adaptive = weighted / jnp.maximum(jnp.sum(weighted), 1e-20)
    adaptive = (1.0 - cfg.uniform_ratio) * jnp.minimum(adaptive, cfg.max_over_mean / count)
    return adaptive + (1.0 - jnp.sum(adaptive)) * base


def frame_in(where: Bins, chosen: jax.Array, share: jax.Array) -> jax.Array:
    """The frame [E] int32 that lies `share` [E] in [0, 1) of the way through the bin `chosen` [E] int32."""
    first, width = jnp.asarray(where.first)[chosen], jnp.asarray(where.width)[chosen]
    frame = jnp.floor(first + share * width).astype(jnp.int32)
    return jnp.clip(frame, 0, len(where.of_frame) - 1)


def choose(probability: jax.Array, unit: jax.Array) -> jax.Array:
    """The bin [E] int32 that `unit` [E] in [0, 1) falls into, by the inverse of the cumulative probability [S]."""
    cumulative = jnp.cumsum(probability)
    found = jnp.searchsorted(cumulative, unit * cumulative[-1], side="right")
    return jnp.minimum(found, len(probability) - 1).astype(jnp.int32)


def count(where: Bins, frame: jax.Array, failed: jax.Array) -> jax.Array:
    """Failures of each bin [S]: environments that `failed` [E] bool, in the bin of their `frame` [E]."""
    bin_ = jnp.asarray(where.of_frame)[frame]
    return jnp.zeros(len(where.base), jnp.float32).at[bin_].add(failed.astype(jnp.float32))


def fold(failures: jax.Array, counted: jax.Array, cfg: SamplerConfig) -> jax.Array:
    """The moving average [S] after a control step with `counted` [S] failures."""
    return cfg.alpha * counted + (1.0 - cfg.alpha) * failures


def statistics(probability: jax.Array) -> dict[str, jax.Array]:
    """Entropy relative to uniform, the largest probability, and where its bin lies, as a share of all bins."""
    count = probability.shape[0]
    entropy = -jnp.sum(probability * jnp.log(probability + 1e-12)) / float(np.log(max(count, 2)))
    return {
        "entropy": entropy,
        "top1_prob": jnp.max(probability),
        "top1_bin": jnp.argmax(probability).astype(jnp.float32) / count,
    }
