"""MuJoCo Warp: all environments on a GPU (or, for tests, a CPU), inside jitted functions."""

from __future__ import annotations

import holosoma_jax.mujoco_import  # noqa: F401
from bridges.mjwarp.bridge import MjwarpBridge, make

__all__ = ["MjwarpBridge", "make"]
