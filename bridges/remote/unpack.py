"""Out of shared memory into JAX arrays of their own: one transfer, one compiled copy for all fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import jax

from bridges import exchange
from bridges.remote.process import Worker


def unpacker(worker: Worker, fields: Sequence[tuple[str, str]]) -> Callable[[], Mapping[str, jax.Array]]:
    """A function that returns the present contents of some of the worker's float32 arrays.

    The memory is only borrowed for a copy that is finished on return, so the worker may write it at once.

    Args:
      worker: whose memory.
      fields: (name of the array there, name in the result) of arrays that lie one behind the other.
    """
    block, starts = worker.block([name for name, _ in fields])
    shapes = tuple(worker.arrays[name].shape for name, _ in fields)
    names = tuple(name for _, name in fields)

    def unpack() -> Mapping[str, jax.Array]:
        return dict(
            zip(names, jax.block_until_ready(_copy(starts, shapes, exchange.borrow(block))), strict=True)
        )

    return unpack


def split(starts: tuple[int, ...], shapes: tuple[tuple[int, ...], ...], block: jax.Array) -> list[jax.Array]:
    """The arrays of these shapes that start at these places of `block`."""
    return [
        jax.lax.slice(block, (start,), (start + math.prod(shape),)).reshape(shape)
        for start, shape in zip(starts, shapes, strict=True)
    ]


_copy = jax.jit(split, static_argnums=(0, 1))
