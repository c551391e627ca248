"""Random keys by name and step, so that a resumed run draws what the uninterrupted one would have."""

from __future__ import annotations

import zlib

import jax

from holosoma_jax.parallel import processes
from holosoma_jax.rollout.state import Keys


def keys(seed: int) -> Keys:
    """The roots of the random streams of a run with this seed."""
    return Keys(own=root(seed), shared=shared(seed))


def root(seed: int, process: int | None = None) -> jax.Array:
    """Root key of this process' random streams: the seed, with the process index folded in.

    Processes draw different numbers (environments, exploration); what must be equal on all of them
    (initial parameters, mini-batch order) is drawn from `shared`.
    """
    index = processes.index() if process is None else process
    return jax.random.fold_in(shared(seed), index + 1)


def shared(seed: int) -> jax.Array:
    """Root key that every process of the run has in common."""
    return jax.random.key(seed)


def stream(key: jax.Array, name: str, step: int | jax.Array = 0) -> jax.Array:
    """Key of stream `name` at `step` (Python integer or traced scalar).

    Any two names and any two steps give unrelated keys; the same three arguments always give the
    same key, in this process or the next.
    """
    return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(name.encode())), step)
