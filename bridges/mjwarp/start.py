"""Starting MuJoCo Warp: which device, which kind of CUDA graph, and what the user is told meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import warp as wp

from holosoma_jax.config.errors import ConfigError

_MODES = {
    "auto": wp.JaxCallableGraphMode.WARP_STAGED,
    "staged": wp.JaxCallableGraphMode.WARP_STAGED,
    "staged_ex": wp.JaxCallableGraphMode.WARP_STAGED_EX,
    "addresses": wp.JaxCallableGraphMode.WARP,
    "off": wp.JaxCallableGraphMode.NONE,
}
"""Setting -> mode. XLA's own graphs (`JaxCallableGraphMode.JAX`) are none: MuJoCo Warp allocates memory and loops
in its graph, and a graph with either cannot become part of another."""


def print_line(line: str) -> None:
    """One line of the main process; on standard error, as a command's output may be read by a program."""
    if jax.process_index() == 0:
        print(line, file=sys.stderr, flush=True)


def devices(count: int) -> tuple[wp.Device, ...]:
    """The Warp devices of the first `count` that JAX computes on in this process.

    With several processes that need not be the machine's first GPU: a scheduler may show all of them to every
    process, and JAX takes one each. Warp finds it by its number on this machine (`local_hardware_id`).

    Raises:
      ConfigError: JAX has a GPU that Warp cannot use.
    """
    wp.config.log_level = wp.LOG_WARNING  # no line per kernel module; `describe` says what matters
    wp.init()
    return tuple(map(_device, jax.local_devices()[:count]))


def _device(ours: Any) -> wp.Device:
    try:
        return wp.device_from_jax(ours)
    except (RuntimeError, IndexError, ValueError) as error:
        raise ConfigError(
            f"simulator:mjwarp: JAX computes on {ours}, which Warp {wp.__version__} cannot use ({error}). Update the "
            "NVIDIA driver, or run on the processor: JAX_PLATFORMS=cpu."
        ) from error


def graph_mode(device: wp.Device, setting: str) -> tuple[wp.JaxCallableGraphMode, bool, str]:
    """How to record a control step on `device`.

    Returns:
      The mode; whether the solver's loop may end as soon as every environment has converged; and one line
      for the user that says whether there are graphs, and why not.
    """
    if not device.is_cuda:
        return wp.JaxCallableGraphMode.NONE, True, "CUDA graphs: off, the physics runs on the processor."
    if setting == "off":
        return _MODES[setting], True, "CUDA graphs: off, as simulator.config.mujoco_warp.cuda_graph says."
    if not wp.is_mempool_enabled(device):
        return (
            wp.JaxCallableGraphMode.NONE,
            True,
            (
                f"CUDA graphs: off, {device.name} has no memory pools (a driver older than CUDA 12, or a virtual GPU)."
            ),
        )
    mode, loops = _MODES[setting], wp.is_conditional_graph_supported()
    note = "" if loops else "; the solver always runs all its iterations: loops in graphs need CUDA 12.4"
    return mode, loops, f"CUDA graphs: on ({mode.name.lower()}){note}."


def describe(device: wp.Device, graphs: str, *, deterministic: bool = False) -> str:
    """One line about what the physics runs on, and another if it cannot be as `deterministic` as was asked."""
    where = device.name
    if device.is_cuda:  # what JAX has not taken
        where += f", {device.free_memory / 1e9:.1f} of {device.total_memory / 1e9:.1f} GB free"
    said = f"MuJoCo Warp on {where} (Warp {wp.__version__}). {graphs}"
    if deterministic and device.is_cuda:
        said += (
            "\nEqual runs will differ in rounding once robots touch something: sums are kept in order, contacts are "
            "not, which MuJoCo Warp cannot do on a GPU yet."
        )
    return said


@contextmanager
def room(num_envs: int) -> Iterator[None]:
    """Let what does not fit into the GPU's memory be a line that says what to change.

    Raises:
      ConfigError: Warp could not allocate something.
    """
    try:
        yield
    except RuntimeError as error:
        if "Failed to allocate" not in str(error):
            raise
        raise ConfigError(
            f"simulator:mjwarp: {num_envs} environments do not fit here ({str(error).splitlines()[0]}). Use fewer "
            "(--training.num-envs), or smaller buffers (--simulator.config.mujoco-warp.nconmax-per-env, njmax-per-env)."
        ) from error


@contextmanager
def kernels_being_loaded() -> Iterator[None]:
    """Say that kernels are loaded, and how long it took; a silent minute reads as a hang."""
    print_line("Loading physics kernels (building them, the first time, takes a minute or two) ...")
    began, before = time.perf_counter(), _kept()
    yield
    seconds, built = time.perf_counter() - began, len(_kept() - before)
    where = f"{built} modules built and kept in {wp.config.kernel_cache_dir}" if built else "from the cache"
    print_line(f"Physics kernels are ready after {seconds:.1f} s ({where}).")


def _kept() -> set[str]:
    """Modules in Warp's cache."""
    folder = Path(wp.config.kernel_cache_dir or "")
    return {entry.name for entry in folder.glob("wp_*")}
