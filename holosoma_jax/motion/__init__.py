"""Motion clips: reading the files that circulate, recognising their order, writing, and making our own."""

from __future__ import annotations

from holosoma_jax.motion.batch import Clips, Frames, concatenate
from holosoma_jax.motion.clip import Clip, Provenance
from holosoma_jax.motion.kinematics import Skeleton
from holosoma_jax.motion.library import shipped
from holosoma_jax.motion.reading import read, read_all
from holosoma_jax.motion.writing import write

__all__ = [
    "Clip", "Clips", "Frames", "Provenance", "Skeleton", "concatenate", "read", "read_all", "shipped", "write",
]  # fmt: skip
