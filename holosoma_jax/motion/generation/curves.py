"""Smooth curves over time: ramps between keys, and a filter."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np


def ease(s: np.ndarray) -> np.ndarray:
    """Minimum-jerk ramp: 0 to 1 as s goes from 0 to 1, with speed and acceleration zero at both ends."""
    s = np.clip(s, 0.0, 1.0)
    return s**3 * (10.0 + s * (6.0 * s - 15.0))


def bump(s: np.ndarray) -> np.ndarray:
    """From 0 to 1 at s = 1/2 and back to 0 at s = 1, with speed and acceleration zero at both ends."""
    s = np.clip(s, 0.0, 1.0)
    return 64.0 * (s * (1.0 - s)) ** 3


def between(time: np.ndarray, keys: Sequence[tuple[float, Any]]) -> np.ndarray:
    """Values [T, ...] at `time` [T] s that rest at each key (s, value) and ease from one to the next."""
    at = np.array([k for k, _ in keys])
    values = np.array([np.asarray(v, np.float64) for _, v in keys])
    i = np.clip(np.searchsorted(at, time, side="right") - 1, 0, len(at) - 1)
    j = np.minimum(i + 1, len(at) - 1)
    span = np.where(j > i, at[j] - at[i], 1.0)
    share = ease((time - at[i]) / span).reshape(-1, *[1] * (values.ndim - 1))
    return values[i] + share * (values[j] - values[i])


def directions(time: np.ndarray, keys: Sequence[tuple[float, Any]]) -> np.ndarray:
    """Unit vectors [T, 3] that turn from one key (s, vector) to the next; neighbours must not be opposite."""
    units = [(t, np.asarray(v, np.float64) / np.linalg.norm(v)) for t, v in keys]
    out = np.tile(units[0][1], (len(time), 1))
    for (t0, a), (t1, b) in itertools.pairwise(units):
        inside = time >= t0
        angle = float(np.arccos(np.clip(a @ b, -1.0, 1.0)))
        share = ease((time[inside] - t0) / max(t1 - t0, 1e-9))[:, None]
        if angle < 1e-6:
            out[inside] = b
        else:
            out[inside] = (np.sin((1.0 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
    return out


def smooth(x: np.ndarray, frames: float) -> np.ndarray:
    """Filter x [T, ...] with a Gaussian whose standard deviation is `frames`; ends are held."""
    reach = int(4 * frames) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / frames) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(x, [(reach, reach), *[(0, 0)] * (x.ndim - 1)], mode="edge")
    return np.apply_along_axis(np.convolve, 0, padded, kernel, "valid")
