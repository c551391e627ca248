"""Runs of the command line through the double of IsaacGym in a Python 3.8, and across simulators."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.support.child import call, quickly
from tests.support.isaacgym_python import write

PPO = {
    "training.num-envs": 8,
    "algo.config.num-learning-iterations": 2,
    "algo.config.num-steps-per-env": 8,
    "algo.config.num-learning-epochs": 1,
    "algo.config.actor-hidden": "[32]",
    "algo.config.critic-hidden": "[32]",
}
FAST_SAC = {
    "training.num-envs": 8,
    "algo.config.num-learning-iterations": 16,
    "algo.config.logging-interval": 8,
    "algo.config.buffer-size": 64,
    "algo.config.batch-size": 64,
    "algo.config.actor-hidden-dim": 32,
    "algo.config.critic-hidden-dim": 32,
}


@pytest.fixture
def command(tmp_path: Path, program_cache: str):
    """Runs a command in a process of its own, which finds the double by the environment, as the guide's lines do."""
    return partial(call, environ=quickly(program_cache) | {"ISAACGYM_PYTHON": write(tmp_path, "3.8")})


@pytest.mark.slow
@pytest.mark.parametrize(("exp", "settings"), [("g1-29dof", PPO), ("g1-29dof-fast-sac", FAST_SAC)])
def test_it_trains_resumes_and_walks_in_mujoco(
    command, tmp_path: Path, exp: str, settings: dict[str, object]
):
    flags = [f"--{key}={value}" for key, value in settings.items()]
    own = [
        f"--training.output-dir={tmp_path}",
        "--logger.video.enabled=False",
        "--training.export-onnx=False",
    ]
    where = ["terrain:terrain-locomotion-plane", "--simulator.config.sim.physx.device=cpu"]
    command("train", f"exp:{exp}", "simulator:isaacgym", *where, *flags, *own)
    (run,) = (tmp_path / "locomotion").iterdir()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [value for row in rows for name, value in row.items() if name.startswith("Loss/")]
    assert losses and np.isfinite(losses).all()

    budget = int(str(settings["algo.config.num-learning-iterations"])) + 2
    again = ["--training.checkpoint", run, f"--algo.config.num-learning-iterations={budget}"]
    assert f"{budget - 2} of {budget}" in command("train", *again)
    evaluation = ["--checkpoint", run, "--training.num-envs=2", "--training.max-eval-steps=5", own[1]]
    for simulator in ("mujoco", "isaacgym"):
        assert f" {budget})" in command("eval", *evaluation, f"simulator:{simulator}")
