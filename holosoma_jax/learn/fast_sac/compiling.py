"""What XLA should be told when it compiles FastSAC's update."""

from __future__ import annotations

from functools import cache

import jax

CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "", "xla_cpu_prefer_vector_width": "512"}
"""No product goes to XLA's YNN library: Eigen is quicker at those that `fast_sac_networks` makes. And
loops take the widest vectors that the processor has. Both are in docs/fast_sac.md, with figures."""


@cache
def compiler_options() -> dict[str, str]:
    """For `jax.jit(..., compiler_options=...)`, by whoever compiles `fast_sac.update`; it works without too.

    There are none but on a CPU, nor where this version of XLA does not know them: such an option is an
    error there, so a program of nothing tries them first.
    """
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=CPU_OPTIONS).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return CPU_OPTIONS
