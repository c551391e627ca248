"""Which Python has Isaac Lab, and what to do where none has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bridges.interpreter import find
from holosoma_jax.config.errors import ConfigError

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig

PYTHON = "ISAACSIM_PYTHON"
"""environment variable: the interpreter to use where the config names none"""
USUAL = Path(__file__).resolve().parents[2] / ".venv-isaaclab" / "bin" / "python"
"""what `./just isaaclab` makes"""
PACKAGE = "isaaclab==3.0.0"
SERIES = "3.0"
"""versions that the worker's calls are those of: 2.3 has other quaternions, 3.1 and 3.2 drop names"""
LICENCE = "OMNI_KIT_ACCEPT_EULA"
"""environment variable that Isaac Sim reads: NVIDIA's licence is accepted"""


def interpreter(cfg: SimulatorConfig) -> str:
    """The Python that runs Isaac Lab.

    Raises:
      ConfigError: there is none, or PhysX is asked for and there is no Isaac Sim, or its licence is not accepted.
    """
    python, cause = find(cfg, PYTHON, "isaaclab", USUAL, series=SERIES)
    if not python:
        raise missing(cause)
    if cfg.config.isaacsim.physics == "physx":
        python, cause = find(cfg, PYTHON, "isaacsim", USUAL)
        if not python:
            raise _without_isaac_sim(cause)
        if not os.environ.get(LICENCE):
            raise _without_isaac_sim(f"{LICENCE} is not set")
    return python


def missing(cause: str) -> ConfigError:
    """What to do about `cause`, in one line."""
    return ConfigError(
        f"simulator:isaacsim: {cause}. In a clone, ./just isaaclab makes one (Python 3.12, 5.5 GB); elsewhere: pip "
        f"install {PACKAGE} into a Python 3.12 and name that interpreter with --simulator.config.remote.python or "
        f"{PYTHON} (docs/simulators.md). It comes from the package index; Isaac Lab is under the BSD 3-Clause "
        "licence, and NVIDIA's CUDA libraries that come with it are under NVIDIA's. Or choose simulator:mujoco or "
        "simulator:mjwarp."
    )


def _without_isaac_sim(cause: str) -> ConfigError:
    return ConfigError(
        f"simulator.config.isaacsim.physics: physx runs in Isaac Sim, and {cause}. pip install "
        f"'isaaclab[isaacsim]{PACKAGE.removeprefix('isaaclab')}' from NVIDIA's package index, read its licence, and "
        f"accept it yourself by setting {LICENCE}=YES (docs/simulators.md). Or choose newton, which needs neither."
    )
