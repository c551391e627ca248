"""Runs of the command line on Isaac Lab with Newton on the CPU, and across simulators."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.isaaclab, pytest.mark.slow, pytest.mark.timeout(3600)]
HERE = ["simulator:isaacsim", "--simulator.config.isaacsim.device=cpu"]
QUIET = ["logger:console", "--logger.video.enabled=False", "--training.export-onnx=False"]


@pytest.fixture
def command(python: str, tmp_path: Path):
    """Runs a command in a process of its own, which finds Isaac Lab by the environment."""

    def run(name: str, *argv: object) -> str:
        flags = [*map(str, argv), f"--training.output-dir={tmp_path}"]
        done = subprocess.run(
            [sys.executable, "-m", f"holosoma_jax.{name}", *flags],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"ISAACSIM_PYTHON": python},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def run_folder(project: Path, iterations: int) -> Path:
    """The newest run of a project, whose losses are finite in every iteration."""
    run = max(project.iterdir())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == iterations
    losses = [value for row in rows for name, value in row.items() if name.startswith("Loss/")]
    assert losses and np.isfinite(losses).all()
    return run


def test_the_g1_trains_resumes_and_is_evaluated_in_mujoco(command, tmp_path: Path):
    """64 robots for four iterations on a height field, with every randomisation of the preset."""
    command(
        "train",
        "exp:g1-29dof",
        *HERE,
        *QUIET,
        "--training.num-envs=64",
        "--algo.config.num-learning-iterations=4",
    )
    run = run_folder(tmp_path / "locomotion", 4)
    more = ["--algo.config.num-learning-iterations=5"]
    assert "4 of 5" in command("train", "--training.checkpoint", run, *more)
    evaluation = ["--training.num-envs=2", "--training.max-eval-steps=20", "--logger.video.enabled=False"]
    assert " 5)" in command("eval", "--checkpoint", run, "simulator:mujoco", *evaluation)


def test_a_run_of_mujoco_is_evaluated_here(command, tmp_path: Path):
    small = [
        "--training.num-envs=8",
        "--algo.config.num-learning-iterations=1",
        "--algo.config.num-steps-per-env=8",
    ]
    command("train", "exp:g1-29dof", "simulator:mujoco", *QUIET, *small)
    run = run_folder(tmp_path / "locomotion", 1)
    evaluation = ["--training.num-envs=2", "--training.max-eval-steps=20", "--logger.video.enabled=False"]
    assert " 1)" in command("eval", "--checkpoint", run, *HERE, *evaluation)


def test_whole_body_tracking_trains(command, tmp_path: Path):
    small = ["--training.num-envs=16", "--algo.config.num-learning-iterations=3"]
    command("train", "exp:g1-29dof-wbt", *HERE, *QUIET, *small)
    run_folder(tmp_path / "WholeBodyTracking", 3)
