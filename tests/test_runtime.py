"""Environment variables that have to be set before JAX and Warp are imported; the user's own stay."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import holosoma_jax
from bridges.protocol import SimulatorError
from holosoma_jax import runtime
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.loggers import wandb_files

ROOT = Path(__file__).resolve().parents[1]
OURS = (
    "XLA_PYTHON_CLIENT_PREALLOCATE",
    "JAX_COMPILATION_CACHE_DIR",
    "WARP_CACHE_PATH",
    "HOLOSOMA_CACHE_DIR",
    "ORT_DISABLE_TELEMETRY",
)


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """An environment of its own, with none of the variables in it."""
    mine = {k: v for k, v in os.environ.items() if k not in OURS} | {"XDG_CACHE_HOME": str(tmp_path)}
    monkeypatch.setattr(os, "environ", mine)
    return mine


def test_a_simulator_on_the_same_gpu_gets_memory_too(environ):
    runtime.prepare()
    assert environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "true"
    runtime.prepare()
    assert environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"


def test_a_notebook_that_has_imported_jax_leaves_memory_too(environ):
    """JAX reads the variable when it computes for the first time, not when it is imported."""
    environ.pop("XLA_PYTHON_CLIENT_PREALLOCATE", None)
    importlib.reload(holosoma_jax)
    assert environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "true"
    importlib.reload(holosoma_jax)
    assert environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"


@pytest.mark.parametrize(
    ("given", "jax_folder", "warp_folder"),
    [
        ({}, "TMP/holosoma_jax/jax", None),
        ({"HOLOSOMA_CACHE_DIR": "/big"}, "/big/jax", "/big/warp"),
        ({"HOLOSOMA_CACHE_DIR": ""}, None, None),
        ({"HOLOSOMA_CACHE_DIR": "/big", "JAX_COMPILATION_CACHE_DIR": "/mine"}, "/mine", "/big/warp"),
        ({"XDG_CACHE_HOME": "", "HOME": "TMP"}, "TMP/.cache/holosoma_jax/jax", None),
        ({"XDG_CACHE_HOME": "/dev/null/cache"}, None, None),  # a home that cannot be written
    ],
)
def test_where_compiled_programs_are_kept(environ, tmp_path, given, jax_folder, warp_folder):
    environ |= {name: value.replace("TMP", str(tmp_path)) for name, value in given.items()}
    runtime.prepare()
    assert environ.get("JAX_COMPILATION_CACHE_DIR") == (
        jax_folder and jax_folder.replace("TMP", str(tmp_path))
    )
    assert environ.get("WARP_CACHE_PATH") == warp_folder


def test_a_user_without_a_home(environ, monkeypatch):
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    environ["XDG_CACHE_HOME"] = ""
    monkeypatch.setattr(Path, "home", nowhere)
    runtime.prepare()
    assert "JAX_COMPILATION_CACHE_DIR" not in environ
    with pytest.raises(ConfigError, match="HOLOSOMA_CACHE_DIR"):
        wandb_files.cache_folder()


SIGNAL_IN_COLLECTION = """
import gc, signal, time
from holosoma_jax import runtime

calls = []

def _xla_gc_callback(*args):
    if not calls:
        calls.append(args)
        signal.raise_signal(signal.SIGINT)

def body():
    gc.callbacks.append(_xla_gc_callback)
    gc.collect()
    time.sleep(60.0)
    return 0

code = runtime.command(body, "interrupted")
assert calls and signal.getsignal(signal.SIGINT) is signal.default_int_handler
raise SystemExit(code)
"""


@pytest.mark.usefixtures("default_signals")
def test_a_signal_in_jax_s_garbage_collection_is_not_lost():
    """Python reports what a collection's callback raises, and forgets it."""
    # In a process of its own: weak references that other tests left have callbacks that take the signal.
    child = [sys.executable, "-c", SIGNAL_IN_COLLECTION]
    done = subprocess.run(child, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_nothing_reports_to_anybody_unless_told_to(environ):
    runtime.prepare()
    assert environ["ORT_DISABLE_TELEMETRY"] == "1"
    environ["ORT_DISABLE_TELEMETRY"] = "0"
    runtime.prepare()
    assert environ["ORT_DISABLE_TELEMETRY"] == "0"


def test_an_expected_failure_is_one_line(capsys):
    def body() -> int:
        raise SimulatorError("the simulator is gone")

    assert runtime.command(body, "interrupted") == 1
    assert capsys.readouterr().err == "error: the simulator is gone\n"
