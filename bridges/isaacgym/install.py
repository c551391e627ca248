"""Which Python has IsaacGym, and what to do where none has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridges.interpreter import find
from holosoma_jax.config.errors import ConfigError

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig

PYTHON = "ISAACGYM_PYTHON"
"""environment variable: the interpreter to use where the config names none"""


def interpreter(cfg: SimulatorConfig) -> str:
    """The Python that runs IsaacGym.

    Raises:
      ConfigError: none is named, it does not run, or it has no IsaacGym; says where that comes from.
    """
    python, cause = find(cfg, PYTHON, "isaacgym")
    if not python:
        raise missing(cause)
    return python


def missing(cause: str) -> ConfigError:
    """What to do about `cause`, in one line."""
    return ConfigError(
        f"simulator:isaacgym: {cause}. Isaac Gym Preview 4 comes from https://developer.nvidia.com/isaac-gym, where "
        "you accept NVIDIA's licence yourself; pip install its folder isaacgym/python into a Python 3.8 and name that "
        f"interpreter with --simulator.config.remote.python or {PYTHON} (docs/simulators.md). Or choose "
        "simulator:mujoco or simulator:mjwarp."
    )
