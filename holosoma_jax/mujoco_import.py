"""Imports MuJoCo; where ``MUJOCO_GL`` prevents that, the error says so in one line.

Packages whose modules import MuJoCo import this first. It has nothing of its own.
"""

from __future__ import annotations

from holosoma_jax import opengl
from holosoma_jax.config.errors import ConfigError

try:
    import mujoco  # noqa: F401
except Exception as error:
    reason = opengl.explain(error)
    if reason is None:
        raise
    raise ConfigError(reason) from error
