"""Clips of our own, made by a script: footsteps, a balanced centre of mass, inverse kinematics."""

from __future__ import annotations

from holosoma_jax.motion.generation.catalogue import CLIPS, generate

__all__ = ["CLIPS", "generate"]
