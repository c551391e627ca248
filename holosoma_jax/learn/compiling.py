"""How updates are compiled: the precision of their products, and what XLA is told."""

from __future__ import annotations

from functools import cache

import jax

from holosoma_jax import machine

WIDE = {"xla_cpu_prefer_vector_width": "512"}
"""Loops take the widest vectors that the processor has; XLA's own choice is 256 bits."""

NO_YNN = {"xla_cpu_experimental_ynn_fusion_type": ""}
"""No product goes to XLA's YNN library. In float32 Eigen is quicker; bfloat16 products only YNN has."""


def quick_bf16() -> bool:
    """Whether products of bfloat16 factors are quicker than float32 ones: accelerators, some processors."""
    return jax.default_backend() != "cpu" or machine.has_bf16()


def compiler_options(bf16: bool | None = None) -> dict[str, str]:
    """For `jax.jit(..., compiler_options=...)`, by whoever compiles an `update`; it works without too.

    There are none but on a CPU, nor any that this version of XLA does not know. Figures are in
    docs/fast_sac.md and docs/performance.md.

    Args:
      bf16: precision of the products; None: `quick_bf16`.
    """
    if jax.default_backend() != "cpu":
        return {}
    bf16 = quick_bf16() if bf16 is None else bf16
    options = WIDE if bf16 else WIDE | NO_YNN
    return {name: value for name, value in options.items() if _known(name, value)}


@cache
def _known(name: str, value: str) -> bool:
    """An option that XLA does not know is an error, so an empty function tries it first."""
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
