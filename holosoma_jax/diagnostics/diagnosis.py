"""What this machine has for training: versions, devices, extras, OpenGL, simulators, memory, a smoke run.

Each function returns plain values, ready for JSON; none raises because something is missing.
"""

from __future__ import annotations

import importlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bridges.isaacgym import install as isaacgym
from bridges.isaacsim import install as isaacsim
from holosoma_jax import __version__
from holosoma_jax import machine as facts
from holosoma_jax import opengl as opengl_facts
from holosoma_jax.config import extras as extras_table
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.render import gl

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "chex", "orbax-checkpoint", "mujoco", "numpy",
    "onnx", "onnxruntime", "jax2onnx", "imageio-ffmpeg", "matplotlib",
)  # fmt: skip
"""Of the core, by their names in the package index."""
SIMULATORS: Mapping[str, str] = {
    "mujoco": "part of every installation",
    "mjwarp": extras_table.pip_install("warp"),
    "isaacgym": (
        f"{extras_table.VENDOR['isaacgym']}, in a Python 3.8 that {isaacgym.PYTHON} names (docs/simulators.md)"
    ),
    "isaacsim": (
        f"{isaacsim.PACKAGE}, by ./just isaaclab or in a Python 3.12 that {isaacsim.PYTHON} names (docs/simulators.md)"
    ),
}
"""Simulator -> where it comes from."""
NOT_RUN: Mapping[str, str] = {
    "mjwarp": "GPUs",
    "isaacgym": "IsaacGym itself, PhysX and the GPU pipeline",
    "isaacsim": "PhysX, Isaac Sim (Kit) and GPUs",
}
"""Simulator -> what this project has not run of it; docs/simulators.md says the same."""
SMOKE_TIMEOUT_S = 300.0
SMOKE = (
    "exp:g1-29dof", "simulator:mujoco", "terrain:terrain-locomotion-plane", "logger:console",
    "--training.num-envs=16", "--training.export-onnx=False", "--logger.video.enabled=False",
    "--algo.config.num-learning-iterations=3", "--algo.config.num-steps-per-env=8",
    "--algo.config.actor-hidden=[32]", "--algo.config.critic-hidden=[32]",
)  # fmt: skip
"""A short training in which all parts work together."""


def versions() -> dict[str, str]:
    """Package -> version, '' where it is not installed; Python and the operating system first."""
    system = {
        "holosoma_jax": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    return system | {name: _version(name) for name in PACKAGES}


def devices() -> list[dict[str, Any]]:
    """JAX's devices of this process: platform, kind, memory in bytes (None where JAX does not say)."""
    import jax

    found = []
    for device in jax.local_devices():
        stats = device.memory_stats() or {} if device.platform != "cpu" else {}
        limit, used = stats.get("bytes_limit"), stats.get("bytes_in_use")
        found.append(
            {
                "id": device.id,
                "platform": device.platform,
                "kind": device.device_kind,
                "memory_bytes": limit,
                "memory_used_bytes": used,
            }
        )
    return found


def nvidia() -> str | None:
    """What the NVIDIA driver says its GPUs are, one line; None without a driver."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return "; ".join(lines) if done.returncode == 0 and lines else None


def extras() -> dict[str, dict[str, str]]:
    """Extra -> package -> version, '' where it is missing."""
    return {extra: {name: _version(name) for name in names} for extra, names in extras_table.EXTRAS.items()}


def mujoco_gl() -> str | None:
    """What is wrong with ``MUJOCO_GL`` where it keeps MuJoCo from being imported, one line; otherwise None."""
    try:
        importlib.import_module("holosoma_jax.mujoco_import")
    except ConfigError as error:
        return str(error)
    return None


def opengl() -> dict[str, str | None]:
    """OpenGL backend -> None if it draws here, otherwise why not."""
    causes = {name: gl.probe(name) for name in opengl_facts.candidates()}
    return {name: cause and textwrap.shorten(cause, 90, placeholder=" ...") for name, cause in causes.items()}


def simulators() -> dict[str, dict[str, Any]]:
    """Simulator -> whether its package is found and there is a bridge to it, where it is from, what nobody has run."""
    import bridges

    return {
        name: {
            "installed": bridges.is_available(name),
            "bridge": name in bridges.SIMULATORS,
            "from": source,
            "not_run": NOT_RUN.get(name, ""),
        }
        for name, source in SIMULATORS.items()
    }


def machine() -> dict[str, Any]:
    """Cores, memory and free disk in bytes (None where the system does not say)."""
    return {
        "cores": facts.usable_cores(),
        "memory_bytes": facts.total_memory(),
        "memory_available_bytes": facts.available_memory(),
        "disk_free_bytes": shutil.disk_usage(Path.cwd()).free,
    }


def smoke() -> dict[str, Any]:
    """Train for three iterations in a process of its own.

    Returns:
      ok; seconds in all; env_steps_per_s of the last iteration (XLA optimises little in this run); or the
      last line of the failure.
    """
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="holosoma-doctor-") as folder:
        command = [sys.executable, "-m", "holosoma_jax.train", *SMOKE, f"--training.output-dir={folder}"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SMOKE_TIMEOUT_S, env=_environment()
            )
            code, log = done.returncode, done.stderr or done.stdout
        except subprocess.TimeoutExpired:
            code, log = 1, f"not over after {SMOKE_TIMEOUT_S:.0f} s"
        seconds = round(time.perf_counter() - began, 1)
        rows = [
            json.loads(line)
            for path in Path(folder).rglob("metrics.jsonl")
            for line in path.read_text().splitlines()
        ]
    if code or not rows:
        return {"ok": False, "seconds": seconds, "error": gl.last_line(log) or f"ended with code {code}"}
    return {"ok": True, "seconds": seconds, "env_steps_per_s": round(rows[-1]["Perf/total_fps"], 1)}


def advice(found: Mapping[str, Any]) -> list[str]:
    """What a person could do about what was found, one sentence each.

    Args:
      found: the other functions' results under their names.
    """
    sentences = []
    if found.get("nvidia") and all(device["platform"] == "cpu" for device in found["devices"]):
        sentences.append(
            "there is a GPU, but JAX does not use it: pip install 'holosoma-jax[cuda12]' (or [cuda13])"
        )
    if not any(cause is None for cause in found["opengl"].values()):
        remedy = " or ".join(
            opengl_facts.REMEDY[name] for name in found["opengl"] if name in opengl_facts.REMEDY
        )
        sentences.append(f"no OpenGL draws here, so there are no videos: {remedy}")
    if found["mujoco_gl"]:
        sentences.append(f"nothing trains or plays here: {found['mujoco_gl']}")
    memory = found["machine"]["memory_available_bytes"]
    if memory is not None and memory < 2e9:
        sentences.append("less than 2 GB of memory is free: use fewer environments (--training.num-envs)")
    if found["machine"]["disk_free_bytes"] < 2e9:
        sentences.append("less than 2 GB of disk is free here: choose another --training.output-dir")
    if found.get("smoke") and not found["smoke"]["ok"]:
        sentences.append(f"the smoke run failed: {found['smoke']['error']}")
    return sentences


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _environment() -> dict[str, str]:
    """For the smoke run; by default XLA optimises little, because most of the run is compiling.

    A ``MUJOCO_GL`` that is a finding of its own is left out, so that the run tells of the rest.
    """
    environ = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"} | facts.child_environment()
    if mujoco_gl():
        del environ[opengl_facts.VARIABLE]
        environ.pop("PYOPENGL_PLATFORM", None)  # MuJoCo sets it while it loads a backend
    return environ
