"""All devices of one process at once, by pmap: for notebooks that need no simulator.

A learner takes an optional ``axis_name``; `pooled` is what gives it one. Training runs have one process
a device instead (`loop.processes`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.parallel.processes import AXIS


def pooled(function: Callable[..., Any], devices: int, **static: Any) -> Callable[..., Any]:
    """`function(*args, axis_name=AXIS)` on `devices` local devices at once.

    Every argument carries a leading axis [devices, ...]: states are replicated (`replicate`),
    batches are shards of the pooled batch (`shard`), keys are one a device. The first argument is donated.

    Raises:
      ConfigError: fewer devices are visible than asked for.
    """
    available = jax.local_device_count()
    if devices > available:
        raise ConfigError(f"{devices} devices were asked for, {available} are visible to this process.")
    return jax.pmap(
        partial(function, axis_name=AXIS, **static),
        axis_name=AXIS,
        devices=jax.local_devices()[:devices],
        donate_argnums=0,
    )


def replicate(tree: Any, devices: int) -> Any:
    """`tree` with a leading axis [devices, ...] of equal copies."""
    return _spread(jax.tree.map(lambda x: jnp.broadcast_to(x, (devices, *x.shape)), tree), devices)


def shard(tree: Any, devices: int, axis: int) -> Any:
    """Split `axis` of every leaf into `devices` equal parts, as a new leading axis.

    [..., N, ...] becomes [devices, ..., N / devices, ...].
    """

    def split(x: jax.Array) -> jax.Array:
        if x.shape[axis] % devices:
            raise ValueError(f"axis {axis} of shape {x.shape} does not divide into {devices} parts")
        return jnp.stack(jnp.split(x, devices, axis))

    return _spread(jax.tree.map(split, tree), devices)


def first(tree: Any) -> Any:
    """What device 0 holds of a replicated tree."""
    return jax.tree.map(lambda x: x[0], tree)


def _spread(tree: Any, devices: int) -> Any:
    """Row d of every leaf [devices, ...] on device d, which is how pmap wants committed arrays."""
    mesh = Mesh(np.array(jax.local_devices()[:devices]), (AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(AXIS)))
