"""Robots: an MJCF and a record each, and the functions that read them."""

from __future__ import annotations

from holosoma_jax.robots.load import configure, is_built_in, load
from holosoma_jax.robots.robot import Robot

__all__ = ["Robot", "configure", "is_built_in", "load"]
