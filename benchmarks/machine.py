"""What a measurement was made on, and fair turns between the things compared."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class Clock:
    """Wall-clock seconds of a block, and the processor seconds of all threads, kept in `cpu`."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall = 0.0

    def __enter__(self) -> Clock:
        self.began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.perf_counter() - self.began[0]
        self.cpu.append(time.process_time() - self.began[1])


def describe() -> dict[str, object]:
    """Processor, cores, versions and commit, to stand beside every figure."""
    packages = ("jax", "jaxlib", "mujoco", "flax", "optax", "numpy")
    return {
        "machine": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "commit": _commit(),
    }


def limit_cores(count: int) -> None:
    """Let this process use `count` cores, where the platform can do so; to be called before JAX is used.

    JAX makes one thread for each core it may use when its backend starts, and they keep the cores they had then.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def interleave(tasks: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds that each task says it took in each round, in turns so that a busy machine hurts all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            seconds[name].append(task())
    return seconds


def times_as_quick(ours: Sequence[float], peer: Sequence[float]) -> list[float]:
    """How many times longer the peer took than ours, round by round; what `benchmarks.compare` compares."""
    return [theirs / own for own, theirs in zip(ours, peer, strict=True)]


def report(result: Mapping[str, object], out: str | None) -> None:
    """Print `result` as JSON, and write it to the file `out` too if there is one."""
    text = json.dumps(result, indent=1)
    print(text)
    if out:
        Path(out).write_text(text + "\n")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor()


def _commit() -> str:
    try:
        run = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
        return run.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
