"""Train every preset briefly, and fail where one learns less than it did when its floor was recorded.

    python -m benchmarks.nightly                          all presets; sized for an hour on two quiet cores
    python -m benchmarks.nightly --only g1-29dof-cpu
    python -m benchmarks.nightly --measure --only k1-22dof  trains, and records what was learned as the new floor
    python -m benchmarks.nightly --measure-from g1-29dof-fast-sac-cpu RUN [RUN ...]

Learned is by how much the episodes grew: their mean length over the last fifth of the log, minus that over the first
twentieth, in control steps. The floor is half of the least that was measured, since seeds and processors differ.
benchmarks/nightly.json holds it with the seeds, commit and machine of the measurement. A preset without a floor has to
train without an error, with finite numbers. `--measure-from` reads runs that were trained already, up to the iteration
at which the brief training ends; their config has to be that of the brief training but for seed and budget.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from benchmarks.ship import require_command
from holosoma_jax import runtime
from holosoma_jax.config import compose
from holosoma_jax.loggers.jsonl import read_metrics

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ROOT / "benchmarks/nightly.json"
KEY = "Train/mean_episode_length"
TIMEOUT_S = 1800
SHARE = 0.5
"""of what was measured"""
SMALL_PPO = "simulator:mujoco --training.num-envs 256"
SMALL_SAC = (
    "simulator:mujoco --training.num-envs 64 --algo.config.batch-size 256 --algo.config.num-updates 4 "
    "--algo.config.bf16 False"
)
QUIET = ("logger:console", "--logger.video.enabled", "False", "--training.export-onnx", "False")


def presets() -> list[str]:
    """All presets that train."""
    return sorted(path.stem for path in (ROOT / "configs/exp").glob("*.yaml"))


def brief(preset: str) -> tuple[str, int]:
    """Arguments of `train` but for the budget, and the budget in iterations: some four minutes on two quiet cores.

    CPU presets are as they are; the others get few environments, and FastSAC small batches, too.
    """
    off_policy = "fast-sac" in preset
    if "-cpu" in preset:
        return f"exp:{preset}", 1200 if off_policy else 50
    if off_policy:
        return f"exp:{preset} {SMALL_SAC}", 1200
    return f"exp:{preset} {SMALL_PPO}", 50


def growth(rows: Sequence[dict[str, Any]], iterations: int) -> float:
    """How much longer episodes were at the end than at the beginning, in control steps.

    Lines of the log without a finished episode do not count.

    Raises:
      ValueError: the log ends before iteration `iterations`, or no episode ended.
    """
    used = [row for row in rows if row["step"] <= iterations]
    if not used or used[-1]["step"] < iterations:
        raise ValueError(f"the log ends before iteration {iterations}")
    lengths = np.array([row.get(KEY, np.nan) for row in used], float)
    lengths = lengths[np.isfinite(lengths)]
    if not len(lengths):
        raise ValueError(f"{KEY} is in no line of the log")
    first, last = max(1, len(lengths) // 20), max(1, len(lengths) // 5)
    return float(lengths[-last:].mean() - lengths[:first].mean())


def train(preset: str, folder: Path) -> Path:
    """Train `preset` briefly below `folder`; returns the run.

    Raises:
      ValueError: the training failed; holds the end of what it printed.
    """
    arguments, iterations = brief(preset)
    budget = ("--algo.config.num-learning-iterations", iterations, "--training.output-dir", folder)
    command = [sys.executable, "-m", "holosoma_jax.train", *shlex.split(arguments), *QUIET, *map(str, budget)]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"not done within {TIMEOUT_S} s") from None
    if done.returncode:
        raise ValueError(f"exit code {done.returncode}: {' / '.join(done.stdout.strip().splitlines()[-3:])}")
    (run,) = folder.glob("*/*/")
    return run


def measured(preset: str, runs: Sequence[Path], commit: str | None = None) -> dict[str, Any]:
    """The entry of benchmarks/nightly.json that `runs` of `preset`, trained at `commit`, lead to.

    Raises:
      ConfigError: a run was not trained as `brief` trains.
      ValueError: a run is too short.
    """
    arguments, iterations = brief(preset)
    grown: dict[str, float] = {}
    for run in runs:
        config = compose.to_mapping(compose.load(["--config", str(run / "config.yaml")]))
        seed, budget = config["training"]["seed"], config["algo"]["config"]["num_learning_iterations"]
        as_trained = f"{arguments} --training.seed {seed} --algo.config.num-learning-iterations {budget}"
        require_command(as_trained, config, run)
        grown[str(seed)] = round(growth(read_metrics(run / "metrics.jsonl"), iterations), 2)
    return {
        "arguments": arguments,
        "iterations": iterations,
        "grown": grown,
        "floor": round(SHARE * min(grown.values()), 2),
        **describe(),
        **({} if commit is None else {"commit": commit}),
    }


def check(preset: str, floors: dict[str, Any], measure: bool) -> str | None:
    """Train `preset`; returns what is wrong, None if nothing is. With `measure` its floor is set instead."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = train(preset, Path(folder))
            if measure:
                floors[preset] = measured(preset, [run])
            found = growth(read_metrics(run / "metrics.jsonl"), brief(preset)[1])
        except ValueError as error:
            return str(error)
    floor = floors.get(preset, {}).get("floor")
    wanted = "no floor is recorded" if floor is None else f"floor {floor:.1f}"
    print(
        f"{preset}: episodes grew by {found:.1f} control steps, {wanted}, {time.perf_counter() - began:.0f} s"
    )
    if floor is not None and found < floor:
        return f"episodes grew by {found:.1f} control steps, wanted at least {floor:.1f}"
    return None


def main() -> int:
    """Train all; 1 if one is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=presets(), choices=presets(), metavar="PRESET")
    parser.add_argument("--measure", action="store_true", help="record what is learned as the floor")
    parser.add_argument("--measure-from", nargs="+", metavar=("PRESET", "RUN"), help="record it from runs")
    parser.add_argument("--commit", help="at which those runs were trained; default: this one")
    args = parser.parse_args()
    return runtime.command(lambda: run(args), "interrupted")


def run(args: argparse.Namespace) -> int:
    """Do what the command line says; 1 if a preset is wrong."""
    floors: dict[str, Any] = json.loads(FLOORS.read_text()) if FLOORS.exists() else {}
    wrong: dict[str, str] = {}
    if args.measure_from:
        preset, *runs = args.measure_from
        floors[preset] = measured(preset, list(map(Path, runs)), args.commit)
        print(f"{preset}: {floors[preset]['grown']}, floor {floors[preset]['floor']}")
    for preset in () if args.measure_from else args.only:
        print(f"{preset} ...", file=sys.stderr, flush=True)
        if (problem := check(preset, floors, args.measure)) is not None:
            wrong[preset] = problem
    if args.measure or args.measure_from:
        FLOORS.write_text(json.dumps(dict(sorted(floors.items())), indent=1) + "\n")
    for preset, problem in wrong.items():
        print(f"FAILED {preset}: {problem}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
