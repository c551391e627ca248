"""The devices of a run: one function on all of them by `jax.pmap`, arrays split over them and gathered.

A run has P processes with D devices each. Where P * D is 1 a function is compiled by plain `jax.jit` and no array has
a device axis. Otherwise every array that a compiled function takes or returns has a leading axis [D, ...]: row d lies
on device d of this process, and collectives over `AXIS` reach all P * D devices. The learner is the same on every
device; environments, keys and the replay buffer are each device's own.

    devices = Devices(4)
    step = devices.jit(lambda x: x - jax.lax.pmean(x, devices.axis_name))
    step(devices.split(jnp.arange(8.0)))  # [4, 2]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.parallel import processes

AXIS = "devices"
"""Name of the device axis in every pooled function."""


@dataclass(frozen=True)
class Devices:
    """`count` devices of each process of the run (`training.devices`)."""

    count: int = 1

    @property
    def total(self) -> int:
        """Devices of the run, over all processes."""
        return self.count * processes.size()

    @property
    def axis_name(self) -> str | None:
        """What a function of `jit` passes on as `axis_name`: None where the run has a single device."""
        return AXIS if self.total > 1 else None

    @property
    def local(self) -> tuple[Any, ...]:
        """The devices of this process, in the order of the device axis.

        Raises:
          ConfigError: this process has fewer.
        """
        return _by_process(self.count)[processes.index()]

    @property
    def everywhere(self) -> tuple[Any, ...]:
        """The devices of all processes, in the order of the processes."""
        return tuple(device for group in _by_process(self.count) for device in group)

    def numbers(self) -> range:
        """The indices of this process' devices among all of the run."""
        return range(self.count * processes.index(), self.count * (processes.index() + 1))

    def jit(
        self,
        function: Callable[..., Any],
        donate_argnums: tuple[int, ...] = (),
        compiler_options: dict[str, str] | None = None,
    ) -> Callable[..., Any]:
        """`function`, jitted for all devices at once: `jax.jit` on a single one, else `jax.pmap`.

        Every process calls it at the same point.

        Args:
          function: of pytrees of arrays, to pytrees of arrays; without the device axis.
          donate_argnums: arguments that are used up.
          compiler_options: for XLA, by name; `jax.pmap` takes none, so they hold for a single device.
        """
        if self.axis_name is None:
            return jax.jit(function, donate_argnums=donate_argnums, compiler_options=compiler_options)
        return jax.pmap(function, axis_name=AXIS, devices=self.everywhere, donate_argnums=donate_argnums)

    def create(self, function: Callable[[], Any]) -> Any:
        """What `function` returns, computed on every device."""
        if self.axis_name is None:
            return self.commit(jax.jit(function)())
        return self.jit(lambda _: function())(self.commit(np.zeros(self.count, np.int32)))

    def replicate(self, tree: Any) -> Any:
        """Equal copies of `tree` on all devices: a device axis [D, ...] is added."""
        if self.axis_name is None:
            return self.commit(tree)
        return jax.device_put(
            jax.tree.map(lambda x: jnp.broadcast_to(x, (self.count, *jnp.shape(x))), tree), self._sharding()
        )

    def split(self, tree: Any, axis: int = 0) -> Any:
        """`axis` of every leaf shared out: [..., N, ...] becomes [D, ..., N / D, ...], in order.

        Raises:
          ValueError: N is not a multiple of D.
        """
        if self.axis_name is None:
            return self.commit(tree)

        def share(x: Any) -> Any:
            if x.shape[axis] % self.count:
                raise ValueError(f"axis {axis} of shape {x.shape} does not divide into {self.count} parts")
            x = _on_host(x)
            x = x.reshape(*x.shape[:axis], self.count, x.shape[axis] // self.count, *x.shape[axis + 1 :])
            return x if axis == 0 else jnp.moveaxis(x, axis, 0)

        return self.commit(jax.tree.map(share, tree))

    def gather(self, tree: Any, axis: int = 0) -> Any:
        """The inverse of `split`, for what this process has: [D, ..., n, ...] becomes [..., D * n, ...]."""
        return tree if self.axis_name is None else _gathered(tree, axis)

    def first(self, tree: Any) -> Any:
        """What the first device of this process holds, without the device axis."""
        return self._held(tree, 0)

    def each(self, tree: Any) -> list[Any]:
        """What every device of this process holds, without the device axis; nothing leaves its device."""
        return [self._held(tree, d) for d in range(self.count)]

    def _held(self, tree: Any, d: int) -> Any:
        if self.axis_name is None:
            return tree
        return _first_row(
            jax.tree.map(lambda x: x.addressable_data(d) if isinstance(x, jax.Array) else x[d : d + 1], tree)
        )

    def one(self, tree: Any) -> Any:
        """Shapes and types of what one device holds of `tree`."""
        skipped = 0 if self.axis_name is None else 1

        def shape(x: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(x.shape[skipped:], x.dtype, weak_type=getattr(x, "weak_type", False))

        return jax.tree.map(shape, tree)

    def shapes(self, tree: Any) -> Any:
        """The inverse of `one`: shapes of what all devices of this process hold, and where they lie."""
        if self.axis_name is None:
            where = jax.sharding.SingleDeviceSharding(self.local[0])
            return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((self.count, *x.shape), x.dtype, sharding=self._sharding()), tree
        )

    def commit(self, tree: Any) -> Any:
        """`tree`, with a device axis where the run has one, on its devices; what lies there already stays.

        To a compiled function, an array that merely happens to lie on a device is another argument than one that was
        put there; mixing the two compiles everything twice.
        """
        return jax.device_put(tree, self.local[0] if self.axis_name is None else self._sharding())

    def _sharding(self) -> NamedSharding:
        """Row d on device d of this process; the mesh that `jax.pmap` names, or everything compiles twice."""
        return NamedSharding(Mesh(np.array(self.local), (AXIS,)), PartitionSpec(AXIS))


@cache
def _by_process(count: int) -> tuple[tuple[Any, ...], ...]:
    """The first `count` devices of every process, in the order of the processes.

    Raises:
      ConfigError: a process has fewer.
    """
    groups: dict[int, list[Any]] = {}
    for device in sorted(jax.devices(), key=lambda device: device.id):
        groups.setdefault(device.process_index, []).append(device)
    fewest = min(len(group) for group in groups.values())
    if count > fewest:
        raise ConfigError(
            f"training.devices: got {count}, but JAX sees {fewest} {jax.default_backend()} device(s) in a process. "
            f"Pass --training.devices {fewest} or less. CUDA_VISIBLE_DEVICES chooses GPUs; "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={count} makes virtual devices of a CPU."
        )
    return tuple(tuple(groups[process][:count]) for process in sorted(groups))


def _on_host(x: Any) -> Any:
    """`x` as a NumPy array if that is no copy; typed keys and arrays of an accelerator stay as they are."""
    if not isinstance(x, jax.Array) or jnp.issubdtype(x.dtype, jax.dtypes.extended):
        return x
    return np.asarray(x) if x.is_fully_addressable and next(iter(x.devices())).platform == "cpu" else x


@jax.jit
def _first_row(tree: Any) -> Any:
    return jax.tree.map(lambda x: x[0], tree)


@jax.jit(static_argnums=1)
def _gathered(tree: Any, axis: int) -> Any:
    def gather(x: jax.Array) -> jax.Array:
        x = jnp.moveaxis(x, 0, axis)
        return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])

    return jax.tree.map(gather, tree)
