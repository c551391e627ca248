"""Environment variables that have to be set before JAX and Warp are imported; the user's own stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holosoma_jax import runtime

OURS = ("XLA_PYTHON_CLIENT_PREALLOCATE", "JAX_COMPILATION_CACHE_DIR", "WARP_CACHE_PATH", "HOLOSOMA_CACHE_DIR")


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment of its own, with none of the variables in it."""
    mine = {k: v for k, v in os.environ.items() if k not in OURS} | {"XDG_CACHE_HOME": "/cache"}
    monkeypatch.setattr(os, "environ", mine)
    return mine


def test_a_simulator_on_the_same_gpu_gets_memory_too(environ):
    runtime.prepare()
    assert environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "true"
    runtime.prepare()
    assert environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"


@pytest.mark.parametrize(
    ("given", "jax_folder", "warp_folder"),
    [
        ({}, "/cache/holosoma_jax/jax", None),
        ({"HOLOSOMA_CACHE_DIR": "/big"}, "/big/jax", "/big/warp"),
        ({"HOLOSOMA_CACHE_DIR": ""}, None, None),
        ({"HOLOSOMA_CACHE_DIR": "/big", "JAX_COMPILATION_CACHE_DIR": "/mine"}, "/mine", "/big/warp"),
        ({"XDG_CACHE_HOME": ""}, str(Path.home() / ".cache/holosoma_jax/jax"), None),
    ],
)
def test_where_compiled_programs_are_kept(environ, given, jax_folder, warp_folder):
    environ |= given
    runtime.prepare()
    assert environ.get("JAX_COMPILATION_CACHE_DIR") == jax_folder
    assert environ.get("WARP_CACHE_PATH") == warp_folder
