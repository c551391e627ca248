"""Shape and type checks of what reaches a learner, by Chex; they run while JAX traces and cost nothing after."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import chex
import jax
import jax.numpy as jnp

Shape = tuple[int | None, ...]
"""Length of each axis; None: any."""


def check_arrays(
    owner: str, arrays: Mapping[str, jax.Array], shapes: Mapping[str, Shape], flags: Collection[str] = ()
) -> None:
    """Raise ValueError, naming the array, unless each has its shape and is float32, or bool if in `flags`."""
    for name, shape in shapes.items():
        if name not in arrays:
            raise ValueError(f"{owner}.{name} is missing; given: {', '.join(sorted(arrays)) or 'none'}.")
        where = f"{owner}.{name}"
        chex.assert_shape(arrays[name], shape, custom_message=where, exception_type=ValueError)
        dtype = jnp.bool_ if name in flags else jnp.float32
        chex.assert_type(arrays[name], dtype, custom_message=where, exception_type=ValueError)


def check_dims(owner: str, dims: Mapping[str, int]) -> None:
    """Raise ValueError unless every length is at least 1."""
    for name, dim in dims.items():
        chex.assert_scalar_positive(dim, custom_message=f"{owner}: '{name}'", exception_type=ValueError)
