"""Plain MuJoCo on the CPU, all environments stepped by `mujoco.batch` on all cores."""

from __future__ import annotations

import holosoma_jax.mujoco_import  # noqa: F401
from bridges.mujoco.bridge import MujocoBridge, make

__all__ = ["MujocoBridge", "make"]
