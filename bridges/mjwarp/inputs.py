"""What callers hand to the bridge, checked: shapes and types always, values where there are values."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from bridges import checks, specs
from bridges.protocol import Array, BridgeSpec


class Inputs:
    """Checks of the arrays of one bridge's calls; each raises ValueError, naming the array."""

    def __init__(self, spec: BridgeSpec):
        self._spec = spec

    def mask(self, mask: Array) -> Array:
        """The environments [E] bool that a call acts on."""
        return owned(checks.shaped("mask", mask, (self._spec.num_envs,), np.bool_))

    def rows(self, prefix: str, fields: Mapping[str, Array], mask: Array) -> dict[str, Array]:
        """The fields, checked; in environments outside of `mask` any value will do."""
        e = self._spec.num_envs
        shapes = specs.pose_shapes(e, len(self._spec.joint_names)) | specs.object_shapes(e)
        present = specs.present_fields(self._spec, fields)
        return {n: self.array(prefix + n, x, shapes.get(n, (e, 3)), mask) for n, x in present.items()}

    def array(
        self,
        name: str,
        value: Array,
        shape: tuple[int, ...],
        mask: Array | None = None,
        low: float = -np.inf,
        exclusive: bool = False,
    ) -> jax.Array:
        """`value` as float32, its values checked in the environments `mask` if both are known."""
        value = checks.shaped(name, value, shape)
        if known(value, mask):
            ids = np.arange(shape[0]) if mask is None else np.flatnonzero(mask)
            rows = np.asarray(value)[ids]
            if low == -np.inf:
                checks.finite(name, rows, ids)
            else:
                checks.at_least(name, rows, low, ids, exclusive=exclusive)
        return owned(value).astype(jnp.float32)


def known(*values: Array | None) -> bool:
    """Whether these are values, not placeholders of a function that is being traced."""
    return not any(isinstance(value, Tracer) for value in values)


def owned(value: Array) -> jax.Array:
    """`value` in memory that nobody else writes: the function that reads it may run later."""
    return value if isinstance(value, jax.Array) else jnp.array(value, copy=True)
