"""Warp code as a function of JAX arrays, called from inside a jitted function.

`warp.jax_callable` reads the arguments of a Python function from its signature. A control step has
some thirty of them, so here they are declared once, as a table, and the code gets them by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import warp as wp


class Kind(NamedTuple):
    """Type of an array that crosses: elements of a Warp type, in an array of this shape."""

    dtype: Any
    """Warp scalar, vector or matrix; its own dimensions become trailing ones of the JAX array"""
    shape: tuple[int, ...]
    """without those of `dtype`"""

    @property
    def annotation(self) -> Any:
        """What `warp.jax_callable` wants to see beside the argument."""
        return wp.array(dtype=self.dtype, ndim=len(self.shape))


class Call:
    """A pure function of arrays by name, to arrays by name; see `make`."""

    def __init__(self, function: Any, given: Sequence[str], found: Sequence[str]):
        self.function, self._given, self._found = function, given, found

    def __call__(self, arrays: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Call it; `arrays` may hold more than it reads."""
        return dict(zip(self._found, self.function(*(arrays[n] for n in self._given)), strict=True))

    def forget(self) -> None:
        """Let go of recorded graphs and their buffers, which Warp would keep for the life of the process.

        A jitted function that contains the call runs the body again, and cannot replay it in memory that is gone.
        """
        self.function.captures.clear()
        for recorded in self.function.call_descriptors.values():
            recorded.__init__(recorded.static_inputs)  # Warp has no way of its own to forget what it staged


def make(
    name: str,
    body: Callable[[SimpleNamespace], None],
    *,
    reads: Mapping[str, Kind],
    updates: Mapping[str, Kind],
    writes: Mapping[str, Kind],
    graph: wp.JaxCallableGraphMode,
) -> Call:
    """`body` as a pure function: arrays of `reads` and `updates` in, those of `updates` and `writes` out.

    Args:
      name: of the call in compiled functions.
      body: launches Warp kernels on the arrays it is given as attributes. Those of `updates` hold the
        input and are changed in place (XLA copies where the input is needed afterwards); those of
        `writes` are uninitialised. It must not depend on anything that it changed in an earlier call.
      reads: arrays that are only read.
      updates: arrays that are replaced.
      writes: arrays that are made.
      graph: how a CUDA graph is recorded; on the CPU NONE.
    """
    kinds = {**reads, **updates, **writes}

    def call(*arrays: Any) -> None:
        body(SimpleNamespace(**dict(zip(kinds, arrays, strict=True))))

    parameter = inspect.Parameter
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter(n, parameter.POSITIONAL_OR_KEYWORD) for n in kinds]
    )
    call.__annotations__ = {n: kind.annotation for n, kind in kinds.items()}
    call.__name__ = call.__qualname__ = name
    function = wp.jax_callable(
        call,
        num_outputs=len(updates) + len(writes),
        graph_mode=graph,
        vmap_method=None,
        output_dims={n: kind.shape for n, kind in writes.items()},
        in_out_argnames=list(updates),
    )

    return Call(function, (*reads, *updates), (*updates, *writes))
