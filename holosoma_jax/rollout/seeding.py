"""Random keys by name and step, so that a resumed run draws what the uninterrupted one would have."""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp

from holosoma_jax.parallel.devices import Devices
from holosoma_jax.rollout.state import Keys


def keys(seed: int, devices: Devices = Devices()) -> Keys:  # noqa: B008
    """The roots of the random streams of a run with this seed, on the devices of this process."""
    roots = [root(seed, device) for device in devices.numbers()]
    own = roots[0] if devices.axis_name is None else jnp.stack(roots)
    return Keys(own=devices.commit(own), shared=devices.replicate(shared(seed)))


def root(seed: int, device: int = 0) -> jax.Array:
    """Root key of the random streams of one device: the seed, with its index among all of the run folded in.

    Devices draw different numbers (environments, exploration); what must be equal on all of them
    (initial parameters, mini-batch order) is drawn from `shared`.
    """
    return jax.random.fold_in(shared(seed), device + 1)


def shared(seed: int) -> jax.Array:
    """Root key that all devices of the run have in common."""
    return jax.random.key(seed)


def stream(key: jax.Array, name: str, step: int | jax.Array = 0) -> jax.Array:
    """Key of stream `name` at `step` (Python integer or traced scalar).

    Any two names and any two steps give unrelated keys; the same three arguments always give the
    same key, in this session or the next.
    """
    return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(name.encode())), step)
