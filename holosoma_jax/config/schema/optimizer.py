"""What every learner's optimiser can be told."""

from __future__ import annotations

from dataclasses import dataclass

from holosoma_jax.config.schema.types import Fraction, NonNegativeFloat, PositiveFloat


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW."""

    weight_decay: NonNegativeFloat = 0.0
    """Decoupled decay of every parameter."""
    b1: Fraction = 0.9
    """Decay of the first moment."""
    b2: Fraction = 0.999
    """Decay of the second moment."""
    eps: PositiveFloat = 1e-8
    """Added to the root of the second moment."""
