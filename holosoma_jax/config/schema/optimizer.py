"""What every learner's optimiser can be told."""

from __future__ import annotations

from dataclasses import dataclass

from holosoma_jax.config.schema.types import Decay, Fraction, PositiveFraction


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW."""

    weight_decay: Fraction = 0.0
    """Decoupled decay of every parameter."""
    b1: Decay = 0.9
    """Decay of the first moment."""
    b2: Decay = 0.999
    """Decay of the second moment."""
    eps: PositiveFraction = 1e-8
    """Added to the root of the second moment."""
