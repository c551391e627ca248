"""Arrays across the border between a simulator and JAX, and who may write them afterwards.

JAX takes an array to be constant, and runs what it was asked to run later. A simulator overwrites
its buffers. Where both look at the same memory (zero-copy), two things go wrong silently: JAX values
change (aliasing), and a computation that was dispatched *before* the overwrite reads values from
*after* it. So every array crosses under one of three rules:

- `give`: zero-copy, and the producer never writes the buffer again; it becomes read-only. Nothing to
  remember for the consumer. For arrays that the bridge computes anyway (MuJoCo).
- `borrow`: zero-copy of memory that its owner keeps writing (a simulator's own tensors). Valid
  until the owner's next call. Whoever borrows must, before that call, have fetched (or
  `jax.block_until_ready`) a result of every computation that reads the loan.
- `keep`: a finished copy, for what has to outlive a loan.

NumPy memory is shared through `jax.device_put`, which takes C-ordered arrays at a 64-byte boundary
(`empty`) as they are when JAX runs on the CPU, and copies otherwise. Tensors of other libraries come
through DLPack. NumPy's own DLPack export is avoided: its release needs the interpreter, happens on
JAX's threads, and aborts the process if the interpreter is just shutting down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Array

ALIGNMENT = 64
"""bytes; at any other boundary XLA's CPU backend copies instead of sharing"""


def empty(shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Uninitialised float32 arrays in one allocation, each where JAX can share it."""
    sizes = [4 * math.prod(shape) for shape in shapes]
    padded = [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes]
    raw = np.empty(sum(padded) + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    arrays = []
    for shape, size, step in zip(shapes, sizes, padded, strict=True):
        arrays.append(raw[start : start + size].view(np.float32).reshape(shape))
        start += step
    return arrays


def give(array: np.ndarray) -> jax.Array:
    """`array` as a JAX array for good; the producer's own view becomes read-only."""
    array.flags.writeable = False
    return jax.device_put(array)


def borrow(source: Any) -> jax.Array:
    """`source` as a JAX array, valid until its owner's next call.

    Args:
      source: a NumPy array (goes to JAX's default device, shared or copied), or a tensor that speaks
        DLPack (stays on its device, shared).
    """
    array = jax.device_put(source) if isinstance(source, np.ndarray) else jnp.from_dlpack(source)
    return jax.block_until_ready(array)  # a transfer to another device reads the source until it ends


def keep(array: Array) -> jax.Array:
    """A copy of `array` that nobody else writes, finished on return."""
    return jax.block_until_ready(jnp.array(array, copy=True))
