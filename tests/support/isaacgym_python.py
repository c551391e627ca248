"""An interpreter "with IsaacGym": a script that starts a Python which finds the double of it."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from holosoma_jax.config import extras
from holosoma_jax.config.schema import PhysxConfig, RemoteConfig, SimulatorConfig
from holosoma_jax.robots.robot import Robot
from tests.support import python38
from tests.support.biped import BIPED, config

DOUBLES = Path(__file__).with_name("doubles")


def write(folder: Path, version: str) -> str:
    """Path of the script, in `folder`.

    version: "3.8", which skips the test where there is none; "same" as this process; "torch", one that has
      torch, for the GPU pipeline: this one, or that of HOLOSOMA_TEST_TORCH_PYTHON, with MuJoCo beside it.
    """
    if version == "3.8":
        python = python38.require()
    elif version == "torch":
        python = os.environ.get("HOLOSOMA_TEST_TORCH_PYTHON", "")
        if not python and not extras.is_installed("torch"):
            pytest.skip("no torch here, nor in HOLOSOMA_TEST_TORCH_PYTHON")
        python = python or sys.executable
    else:
        python = sys.executable
    script = folder / f"python-{version}"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(DOUBLES))} exec {shlex.quote(python)} "$@"\n')
    script.chmod(0o755)
    return str(script)


def isaacgym_config(python: str, device: str = "cpu") -> SimulatorConfig:
    """The tests' rates, with this interpreter."""
    cfg = config()
    sim = replace(cfg.config.sim, physx=PhysxConfig(device=device))
    remote = RemoteConfig(python=python, timeout_s=60, start_timeout_s=60)
    return replace(cfg, name="isaacgym", config=replace(cfg.config, sim=sim, remote=remote))


def urdf_biped(folder: Path) -> Robot:
    """The biped, with the one hinge moved to its body's origin that URDF cannot describe."""
    text = BIPED.mjcf.read_text()
    moved = text.replace('<joint name="neck" axis="0 0 1" pos="0.01 0 0"', '<joint name="neck" axis="0 0 1"')
    assert moved != text
    path = folder / "biped.xml"
    path.write_text(moved)
    return replace(BIPED, mjcf=path)
