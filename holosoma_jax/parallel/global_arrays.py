"""Arrays of all devices of a run as single arrays, which is how a checkpoint holds them.

What is each device's own, [D, ...] in each of P processes, becomes one array [P * D, ...]: a run of 2 processes with
a device each and one of a process with 2 devices leave the same. Nothing is copied. In a run with one device nothing
changes.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from holosoma_jax.parallel import processes
from holosoma_jax.parallel.devices import AXIS, Devices


def joined(devices: Devices, tree: Any) -> Any:
    """Global arrays [P * D, ...] of the processes' own [D, ...].

    Shapes (`jax.ShapeDtypeStruct`) become those of the global arrays. NumPy's numbers of 64 bits, which JAX would
    round, become pairs of 32.
    """
    if devices.axis_name is None:
        return tree
    sharding = NamedSharding(_mesh(devices), PartitionSpec(AXIS))

    def join(x: Any) -> Any:
        if isinstance(x, np.ndarray) and x.dtype.itemsize == 8:
            x = np.ascontiguousarray(x)[..., None].view(np.uint32)
        shape = (devices.total, *x.shape[1:])
        if isinstance(x, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(shape, x.dtype, sharding=sharding)
        return jax.make_array_from_single_device_arrays(shape, sharding, _parts(devices.commit(x)))

    return jax.tree.map(join, tree)


def replicated(devices: Devices, tree: Any) -> Any:
    """Global arrays of which every process holds all, from what is equal on all devices [D, ...]."""
    tree = devices.first(tree)
    if processes.size() == 1:
        return tree
    sharding = NamedSharding(_mesh(devices), PartitionSpec())

    def spread(x: jax.Array) -> jax.Array:
        copies = [jax.device_put(x, device) for device in devices.local]
        return jax.make_array_from_single_device_arrays(x.shape, sharding, copies)

    return jax.tree.map(spread, tree)


def own(devices: Devices, tree: Any, like: Any) -> Any:
    """The inverse of `joined`: this process' part, in shape and kind as the leaves of `like`."""
    if devices.axis_name is None:
        return tree

    def part(x: jax.Array, like: Any) -> Any:
        if isinstance(like, np.ndarray):
            rows = np.concatenate([np.asarray(row) for row in _parts(x)])
            return rows.view(like.dtype).reshape(like.shape)
        sharding = devices.shapes(jax.ShapeDtypeStruct(like.shape[1:], like.dtype)).sharding
        return jax.make_array_from_single_device_arrays(like.shape, sharding, _parts(x))

    return jax.tree.map(part, tree, like)


def everywhere(devices: Devices, tree: Any) -> Any:
    """The inverse of `replicated`: [D, ...] in this process."""
    if processes.size() > 1:
        tree = jax.tree.map(lambda x: x.addressable_data(0), tree)
    return devices.replicate(tree)


def _parts(x: jax.Array) -> list[jax.Array]:
    """What this process' devices hold of `x`, in their order."""
    shards = sorted(x.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return [shard.data for shard in shards]


def _mesh(devices: Devices) -> Mesh:
    """All devices of the run."""
    return Mesh(np.array(devices.everywhere), (AXIS,))
