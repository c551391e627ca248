"""Matrix products with bfloat16 factors and float32 sums, for `flax.linen.Dense(dot_general=...)`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def bf16_dot_general(
    x: jax.Array, kernel: jax.Array, dims: Any, precision: Any = None, **_: Any
) -> jax.Array:
    """`jax.lax.dot_general` of float32 `x` [..., in] and `kernel` [in, out], the factors rounded to bfloat16.

    Sums, result and gradients are float32. What is kept for the backward pass is the rounded `x`, so
    activations between layers take half the memory.

    Raises:
      ValueError: another contraction than that of a dense layer.
    """
    if dims != (((x.ndim - 1,), (0,)), ((), ())):
        raise ValueError(f"bf16_dot_general contracts the last axis with the first, not {dims}.")
    return _product(x.reshape(-1, x.shape[-1]), kernel).reshape(*x.shape[:-1], kernel.shape[1])


@jax.custom_vjp
def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _matmul(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    short = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    return _matmul(*short), short


def _backward(saved: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    short = slope.astype(jnp.bfloat16)
    return _matmul(short, transposed(kernel)), _matmul(transposed(x), short)


_product.defvjp(_forward, _backward)


def _matmul(left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.matmul(left, right, preferred_element_type=jnp.float32)


def transposed(x: jax.Array) -> jax.Array:
    """`x` [a, b] -> [b, a]; on a CPU as a copy in memory.

    XLA's bfloat16 products on a CPU take row-major factors only. From a transpose that it may fold into
    the product it makes a float32 product instead, at half the speed (docs/fast_sac.md). The added axis
    is what keeps the layout row-major.
    """

    def copied(x: jax.Array) -> jax.Array:
        return jax.lax.optimization_barrier(x.T[None])[0]

    return jax.lax.platform_dependent(x, cpu=copied, default=jnp.transpose)
