"""The train command with the toy robot in the place of a simulator: `python -m tests.support.child ...`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def arguments(output: Path, **more: object) -> list[str]:
    """A small run on the command line."""
    settings = {
        "training.num-envs": 16,
        "training.output-dir": output,
        "training.project": "toy",
        "training.export-onnx": False,
        "algo.config.num-learning-iterations": 4,
        "algo.config.num-steps-per-env": 8,
        "algo.config.num-learning-epochs": 2,
        "algo.config.num-mini-batches": 2,
        "algo.config.actor-hidden": "[16]",
        "algo.config.critic-hidden": "[16]",
        "algo.config.empirical-normalization": True,
        "algo.config.save-interval": 2,
        "logger.video.enabled": False,
    }
    return ["exp:g1-29dof", "logger:console", *(f"--{k}={v}" for k, v in (settings | more).items())]


def fast_sac_arguments(output: Path, **more: object) -> list[str]:
    """Likewise of FastSAC."""
    settings = {
        "training.num-envs": 16,
        "training.output-dir": output,
        "training.project": "toy",
        "training.export-onnx": False,
        "algo.config.num-learning-iterations": 24,
        "algo.config.num-updates": 2,
        "algo.config.policy-frequency": 2,
        "algo.config.batch-size": 32,
        "algo.config.buffer-size": 16,
        "algo.config.learning-starts": 3,
        "algo.config.actor-hidden-dim": 16,
        "algo.config.critic-hidden-dim": 16,
        "algo.config.num-atoms": 21,
        "algo.config.save-interval": 12,
        "algo.config.logging-interval": 4,
        "algo.config.save-buffer": True,
        "logger.video.enabled": False,
    }
    return ["exp:g1-29dof-fast-sac", "logger:console", *(f"--{k}={v}" for k, v in (settings | more).items())]


def quickly(program_cache: str) -> dict[str, str]:
    """The environment of a process whose programs are compiled in haste, and once for all that share the cache."""
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": program_cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }


def toy_training(argv: Sequence[str], program_cache: str) -> subprocess.Popen[str]:
    """The train command in a process of its own, on programs that are compiled already."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.child", *argv],
        cwd=ROOT,
        env=quickly(program_cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


if __name__ == "__main__":
    from holosoma_jax import train
    from holosoma_jax.training import session
    from tests.support import toy

    session.build = toy.setup
    sys.exit(train.main())
