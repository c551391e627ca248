"""Which of the two drivers runs: Python between control steps, or whole iterations as one program."""

from __future__ import annotations

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.experiment import Setup


def fused(setup: Setup) -> bool:
    """Whether iterations are one program: `training.driver`, by default wherever the simulator allows it.

    Raises:
      ConfigError: it was asked for, and the simulator cannot be part of a program, or there is a viewer.
    """
    spec, asked = setup.bridge.spec, setup.cfg.training.driver
    if asked == "fused" and not spec.traceable:
        raise ConfigError(
            f"training.driver: got 'fused', but simulator '{spec.simulator}' keeps its state outside of JAX. "
            "Pass --training.driver auto, or simulator:mjwarp."
        )
    if not setup.cfg.training.headless:  # a viewer looks between control steps
        if asked == "fused":
            raise ConfigError(
                "training.driver: got 'fused' with training.headless false; a viewer looks between control steps, "
                "and there one program has no between. Leave the driver out."
            )
        return False
    return spec.traceable and asked != "stepped"
