"""Several processes, one run: who owns what, programs that talk to each other, words between hosts.

One process owns one simulator and one accelerator. What it holds are arrays of its own device; only
inside a `program` do processes see each other's, by collectives over `AXIS`. A single process takes the
same calls, and they do nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from holosoma_jax.config.errors import ConfigError

AXIS = "devices"
"""Name of the device axis in every pooled function."""
_LONGEST = 16384
"""bytes of a text that the main process tells the others"""


def index() -> int:
    """Rank of this process among all of the run, 0 for a single one."""
    return jax.process_index()


def size() -> int:
    """How many processes the run has."""
    return jax.process_count()


def is_main() -> bool:
    """Whether this process writes logs and files (global rank 0)."""
    return index() == 0


def axis() -> str | None:
    """What a `program` passes on as `axis_name`: None in a single process."""
    return AXIS if size() > 1 else None


def local_share(total: int) -> int:
    """Environments of this process, given the total over all processes.

    Raises:
      ConfigError: the total cannot be divided evenly.
    """
    if total % size():
        nearest = max(size(), total // size() * size())
        raise ConfigError(
            f"training.num_envs is {total}, which {size()} processes cannot share evenly. "
            f"Pass --training.num-envs {nearest}."
        )
    return total // size()


def program(
    function: Callable[..., Any],
    donate_argnums: tuple[int, ...] = (),
    compiler_options: dict[str, str] | None = None,
) -> Callable[..., Any]:
    """`jax.jit(function)`, in which the processes can reach each other by collectives over `AXIS`.

    Every process calls it at the same point with arguments of its own, and gets results of its own; all
    have the same shapes. To XLA they are the parts of global arrays, one a process; nothing is copied.

    Args:
      function: of pytrees of arrays, to pytrees of arrays.
      donate_argnums: arguments that are used up.
      compiler_options: for XLA, by name.
    """
    if size() > 1:
        return _Joint(function, donate_argnums, compiler_options)
    return jax.jit(function, donate_argnums=donate_argnums, compiler_options=compiler_options)


class _Joint:
    """A `program` of several processes. Scalars travel as [1], as parts of an array [processes]."""

    def __init__(
        self,
        function: Callable[..., Any],
        donate_argnums: tuple[int, ...],
        compiler_options: dict[str, str] | None,
    ):
        self._like: dict[_Structure, Any] = {}
        """structure of the arguments -> that of the results; filled when a program is traced"""

        def run(given: _Structure, *args: Any) -> Any:
            def body(*args: Any) -> Any:
                out = function(*_scalars_back(args, given.tree))
                self._like[given] = _structure(out)
                return jax.tree.map(jnp.atleast_1d, out)

            each = PartitionSpec(AXIS)
            return jax.shard_map(body, mesh=_mesh(), in_specs=each, out_specs=each, check_vma=False)(*args)

        donated = tuple(number + 1 for number in donate_argnums)
        self._program = jax.jit(
            run, static_argnums=0, donate_argnums=donated, compiler_options=compiler_options
        )

    def __call__(self, *args: Any) -> Any:
        given = _Structure(_structure(args))
        out = jax.tree.map(lambda x: x.addressable_data(0), self._program(given, *joined(args)))
        return _scalars_back(out, self._like[given])


class _Structure:
    """A pytree of dimensions (`_structure`) that hashes: programs are compiled for it."""

    def __init__(self, tree: Any):
        self.tree = tree
        leaves, definition = jax.tree.flatten(tree)
        self._key = (tuple(leaves), definition)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Structure) and self._key == other._key


def _structure(tree: Any) -> Any:
    """The number of dimensions of every leaf."""
    return jax.tree.map(jnp.ndim, tree)


def _scalars_back(tree: Any, structure: Any) -> Any:
    return jax.tree.map(lambda x, ndim: x[0] if x.ndim > ndim else x, tree, structure)


def joined(tree: Any) -> Any:
    """Global arrays [processes * n, ...] whose parts [n, ...] are the processes' own; scalars become [processes].

    Shapes (`jax.ShapeDtypeStruct`) become those of the global arrays. In a single process `tree` itself.
    """
    if size() == 1:
        return tree
    sharding = NamedSharding(_mesh(), PartitionSpec(AXIS))

    def join(x: Any) -> Any:
        n, *rest = x.shape if jnp.ndim(x) else (1,)
        shape = (size() * n, *rest)
        if isinstance(x, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(shape, x.dtype, sharding=sharding)
        x = _here(x)
        return jax.make_array_from_single_device_arrays(shape, sharding, [x[None] if x.ndim == 0 else x])

    return jax.tree.map(join, tree)


def exact(tree: Any) -> Any:
    """`tree` with NumPy's numbers of 64 bits, which JAX would round, as pairs of 32; undone by `restored`."""

    def halves(x: Any) -> Any:
        wide = isinstance(x, np.ndarray) and x.dtype.itemsize == 8
        return np.ascontiguousarray(x)[..., None].view(np.uint32) if wide else x

    return tree if size() == 1 else jax.tree.map(halves, tree)


def replicated(tree: Any) -> Any:
    """Global arrays of which every process holds all; what they pass must be equal. One process: `tree`."""
    if size() == 1:
        return tree
    sharding = NamedSharding(_mesh(), PartitionSpec())
    return jax.tree.map(
        lambda x: jax.make_array_from_single_device_arrays(x.shape, sharding, [x]), jax.tree.map(_here, tree)
    )


def restored(tree: Any, like: Any) -> Any:
    """The inverse of `joined` and `replicated`: this process' part, in shape and kind as the leaves of `like`."""
    if size() == 1:
        return tree

    def part(x: jax.Array, like: Any) -> Any:
        x = x.addressable_data(0)
        if isinstance(like, np.ndarray):
            return np.asarray(x).view(like.dtype).reshape(like.shape)
        return x.reshape(like.shape)

    return jax.tree.map(part, tree, like)


def largest(number: int) -> int:
    """The largest of the processes' numbers, in all of them; every process has to ask."""
    if size() == 1:
        return number
    return int(multihost_utils.process_allgather(np.array([number])).max())


def from_main(tell: Callable[[], str]) -> str:
    """What `tell` returned in the main process, where alone it runs; every process has to ask.

    Raises:
      ConfigError: `tell` raised it, in all processes.
    """
    if size() == 1:
        return tell()
    text, failed = "", False
    if is_main():
        try:
            text = tell()
        except ConfigError as error:
            text, failed = str(error), True
    data = np.zeros(_LONGEST, np.uint8)
    line = f"{int(failed)}{text}".encode()[: _LONGEST - 1]
    data[: len(line)] = np.frombuffer(line, np.uint8)
    told = bytes(np.asarray(multihost_utils.broadcast_one_to_all(data))).rstrip(b"\0").decode()
    if told[0] == "1":
        raise ConfigError(told[1:])
    return told[1:]


def _here(x: Any) -> jax.Array:
    """`x` on this process' device."""
    return jax.device_put(x, jax.local_devices()[0])


@cache
def _mesh() -> Mesh:
    """One device of each process."""
    devices: dict[int, Any] = {}
    for device in sorted(jax.devices(), key=lambda device: device.id):
        devices.setdefault(device.process_index, device)
    return Mesh(np.array([devices[process] for process in range(size())]), (AXIS,))
