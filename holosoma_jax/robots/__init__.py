"""Robots: an MJCF and a record each, and the functions that read them."""

from __future__ import annotations

import holosoma_jax.mujoco_import  # noqa: F401
from holosoma_jax.robots.load import configure, is_built_in, load, with_box
from holosoma_jax.robots.robot import Box, Robot

__all__ = ["Box", "Robot", "configure", "is_built_in", "load", "with_box"]
