"""The Python that has a simulator which this one lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig

_PROBE = """
import importlib.util, sys
if importlib.util.find_spec({module!r}) is None:
    sys.exit(3)
try:
    from importlib.metadata import version
    print(version({module!r}))
except ImportError:  # of Python 3.7, or not installed by its name
    pass
"""
_PROBE_S = 30.0


def find(
    cfg: SimulatorConfig, variable: str, module: str, usual: Path | None = None, *, series: str = ""
) -> tuple[str, str]:
    """The interpreter that the config names, or the environment, or the usual one where it is there.

    Args:
      cfg: names one in ``config.remote.python``, or none.
      variable: of the environment.
      module: must be installed there; it is not imported.
      usual: path of an interpreter to take where none is named.
      series: what its version must begin with, such as '3.0'; '': any will do.

    Returns:
      Its absolute path and '', or '' and why there is none, a clause.
    """
    named = cfg.config.remote.python
    python, origin = named or os.environ.get(variable, ""), "simulator.config.remote.python"
    if not named:
        origin = variable
    if not python and usual is not None and usual.is_file():
        python, origin = str(usual), "the interpreter"
    if not python:
        return "", f"neither simulator.config.remote.python nor {variable} names a Python that has it"
    python = os.path.abspath(shutil.which(python) or python)
    try:
        # not from here, where a folder of that name may lie
        probe = [python, "-c", _PROBE.format(module=module)]
        done = subprocess.run(probe, capture_output=True, text=True, timeout=_PROBE_S, cwd="/")
        code, version = done.returncode, done.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        code, version = 1, ""
    if code:
        what = f"has no package {module}" if code == 3 else "does not run"
        return "", f"{origin} is {python}, which {what}"
    if series and version and not f"{version}.".startswith(f"{series}."):
        return "", f"{origin} is {python}, which has {module} {version}; wanted {series}"
    return python, ""
