"""File formats of motion clips: one module a family, each turning bytes into `Raw` trajectories."""

from __future__ import annotations

from holosoma_jax.motion.formats.files import parse
from holosoma_jax.motion.formats.raw import Raw

__all__ = ["Raw", "parse"]
