"""A Python 3.8 with what a worker needs, for tests: IsaacGym's binaries exist for no newer one."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

PACKAGES = ("numpy==1.24.4", "mujoco==3.2.3")
"""The last ones for Python 3.8."""
FOLDER = Path(__file__).resolve().parents[2] / ".venv38"


def require() -> str:
    """Path of the interpreter; skips the test where there is no Python 3.8 or the packages cannot be had."""
    path, why = _find()
    if path is None:
        pytest.skip(why)
    return path


@cache
def _find() -> tuple[str | None, str]:
    chosen = os.environ.get("HOLOSOMA_TEST_PYTHON38")
    if chosen:
        return (chosen, "") if _has_packages(chosen) else (None, f"{chosen} lacks {' or '.join(PACKAGES)}")
    base = next(
        (c for c in _candidates() if _runs(c, "import sys; assert sys.version_info[:2] == (3, 8)")), None
    )
    if base is None:
        return None, "no Python 3.8 on PATH or under PYENV_ROOT"
    python = str(FOLDER / "bin" / "python")
    with (FOLDER.parent / ".venv38.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes start together
        if _has_packages(python):
            return python, ""
        shutil.rmtree(FOLDER, ignore_errors=True)
        install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES]
        for command in ([base, "-m", "venv", str(FOLDER)], install):
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=_environment())
            if done.returncode:
                return None, f"no environment for Python 3.8: {done.stderr.strip().splitlines()[-1:]}"
    return python, ""


def _candidates() -> list[str]:
    versions = Path(os.environ.get("PYENV_ROOT", os.devnull)) / "versions"
    found = [str(path / "bin" / "python") for path in sorted(versions.glob("3.8.*"), reverse=True)]
    return found + [path for path in (shutil.which("python3.8"),) if path]


def _has_packages(python: str) -> bool:
    return _runs(python, "import mujoco, numpy")


def _runs(python: str, code: str) -> bool:
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, timeout=60, env=_environment())
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _environment() -> dict[str, str]:
    """Of this process, without what is meant for its interpreter."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
