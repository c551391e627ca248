"""Which Python has IsaacGym, and what to do where none has."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from holosoma_jax.config.errors import ConfigError

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig

PYTHON = "ISAACGYM_PYTHON"
"""environment variable: the interpreter to use where the config names none"""
_PROBE = "import importlib.util as u, sys; sys.exit(3 * (u.find_spec('isaacgym') is None))"
_PROBE_S = 30.0


def interpreter(cfg: SimulatorConfig) -> str:
    """The Python that runs IsaacGym.

    Raises:
      ConfigError: none is named, it does not run, or it has no IsaacGym; says where that comes from.
    """
    named = cfg.config.remote.python
    python = named or os.environ.get(PYTHON, "")
    python = os.path.abspath(shutil.which(python) or python) if python else ""
    origin = "simulator.config.remote.python" if named else PYTHON
    if not python:
        raise missing(f"neither simulator.config.remote.python nor {PYTHON} names a Python that has it")
    try:
        # not from here, where a folder of that name may lie
        probe = subprocess.run([python, "-c", _PROBE], capture_output=True, timeout=_PROBE_S, cwd="/")
        code = probe.returncode
    except (OSError, subprocess.TimeoutExpired):
        code = 1
    if code:
        what = "has no package isaacgym" if code == 3 else "does not run"
        raise missing(f"{origin} is {python}, which {what}")
    return python


def is_found() -> bool:
    """Whether the environment names a Python that has IsaacGym."""
    from holosoma_jax.config.schema import SimulatorConfig

    try:
        return bool(interpreter(SimulatorConfig(name="isaacgym")))
    except ConfigError:
        return False


def missing(cause: str) -> ConfigError:
    """What to do about `cause`, in one line."""
    return ConfigError(
        f"simulator:isaacgym: {cause}. Isaac Gym Preview 4 comes from https://developer.nvidia.com/isaac-gym, where "
        "you accept NVIDIA's licence yourself; pip install its folder isaacgym/python into a Python 3.8 and name that "
        f"interpreter with --simulator.config.remote.python or {PYTHON} (docs/simulators.md). Or choose "
        "simulator:mujoco or simulator:mjwarp."
    )
