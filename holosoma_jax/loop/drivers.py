"""Which of the two drivers runs: Python between control steps, or whole iterations as one program."""

from __future__ import annotations

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.loop.setup import Setup


def fused(setup: Setup) -> bool:
    """Whether iterations are one program: `training.driver`, by default wherever the simulator allows it.

    Raises:
      ConfigError: it was asked for, and the simulator cannot be part of a program.
    """
    spec, asked = setup.bridge.spec, setup.cfg.training.driver
    if asked == "fused" and not spec.traceable:
        raise ConfigError(
            f"training.driver: got 'fused', but simulator '{spec.simulator}' keeps its state outside of JAX. "
            "Pass --training.driver auto, or simulator:mjwarp."
        )
    return spec.traceable and asked != "stepped"
