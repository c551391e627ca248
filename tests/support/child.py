"""Commands in processes of their own; `python -m tests.support.child ...` is `train` with the toy for a simulator."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HASTE = "--xla_cpu_use_fusion_emitters=false"
"""Emitters of fused loops that compile in half the time."""


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


def sharing(program_cache: str) -> dict[str, str]:
    """The environment of a process whose programs are compiled once for all that share the cache."""
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": program_cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def quickly(program_cache: str) -> dict[str, str]:
    """Likewise, and they are compiled with few optimisations."""
    return sharing(program_cache) | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def as_for_users(program_cache: str) -> dict[str, str]:
    """Likewise, and they are compiled as for users, however those of the tests' own process are."""
    flags = os.environ["XLA_FLAGS"].replace(HASTE, "")
    return sharing(program_cache) | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0", "XLA_FLAGS": flags}


def ended_at(step: int, run: Path, folder: Path) -> Path:
    """A copy of a run in `folder`, as it was when it had saved `step`, without policies."""
    copy = Path(
        shutil.copytree(run, folder / run.name, ignore=shutil.ignore_patterns("policies", "exported", "eval"))
    )
    for later in (path for path in (copy / "checkpoints").iterdir() if int(path.name) > step):
        shutil.rmtree(later)
    rows = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join(row for row in rows if json.loads(row)["step"] <= step))
    return copy


def last_row(run: Path) -> dict[str, float]:
    """The last line of a run's metrics, without what the clock says."""
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    return {k: v for k, v in last.items() if not k.startswith("Perf/") and k != "time"}


def call(name: str, *argv: object, environ: Mapping[str, str]) -> str:
    """What the command `name` of ours prints, which has to succeed, in a process of its own."""
    command = [sys.executable, "-m", f"holosoma_jax.{name}", *map(str, argv)]
    done = subprocess.run(command, cwd=ROOT, env=dict(environ), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def proposed(out: str, label: str) -> list[str]:
    """The arguments of the train command that the output of a run proposes behind `label`."""
    found = re.search(rf"^ *{label}: +python -m holosoma_jax\.train (.+)", out, re.MULTILINE)
    assert found is not None, out
    return shlex.split(found[1])


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
