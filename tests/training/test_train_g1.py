"""The train command on the G1 and MuJoCo, once through: everything that a user finds afterwards."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax import robots
from holosoma_jax.policy import onnx_policy
from holosoma_jax.runs import checkpoint

ROOT = Path(__file__).resolve().parents[2]


def train(*argv: object) -> str:
    return call("train", *argv)


def call(name: str, *argv: object) -> str:
    """What a command of ours prints."""
    command = [sys.executable, "-m", f"holosoma_jax.{name}", *map(str, argv)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_command_line_to_policy_and_on(tmp_path):
    small = ["--training.num-envs", 16, "--training.output-dir", tmp_path, "--logger.video.length-s", 0.5]
    budget = ["--algo.config.num-learning-iterations", 2, "--algo.config.num-learning-epochs", 1]
    out = train("--config", "configs/exp/g1-29dof.yaml", "simulator:mujoco", *small, *budget)
    (run,) = (tmp_path / "locomotion").iterdir()
    assert (run / "learning_curve.png").stat().st_size > 10_000
    assert list(run.glob("events.out.tfevents*"))
    assert list((run / "videos").glob("final.mp4")) or "no videos" in out
    policy = onnx_policy.load(run / "policies" / "latest.onnx")
    assert policy(np.zeros((1, policy.obs_dim), np.float32)).shape == (1, 29)
    assert policy.metadata["iteration"] == 2

    again = shlex.split(re.search(r"Train on: +python -m holosoma_jax\.train (.+)", out)[1])
    out = train(*again, "--logger.video.enabled=False")
    assert "2 of 4 iterations are done" in out
    assert checkpoint.latest(run / "checkpoints").name == "4"
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]
    assert sorted(p.name for p in (run / "policies").iterdir()) == ["2.onnx", "4.onnx", "latest.onnx"]


@pytest.mark.slow
def test_fast_sac_from_the_command_line_to_an_evaluated_policy(tmp_path):
    small = {
        "training.num-envs": 16,
        "training.output-dir": tmp_path,
        "logger.video.enabled": False,
        "algo.config.num-learning-iterations": 16,
        "algo.config.save-interval": 10,
        "algo.config.logging-interval": 5,
        "algo.config.buffer-size": 64,
        "algo.config.batch-size": 64,
        "algo.config.actor-hidden-dim": 32,
        "algo.config.critic-hidden-dim": 32,
    }
    flags = [f"--{key}={value}" for key, value in small.items()]
    out = train("exp:g1-29dof-fast-sac", "simulator:mujoco", *flags)
    (run,) = (tmp_path / "locomotion").iterdir()
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps] == [5, 10, 15, 16]
    assert np.isfinite(steps[-1]["Loss/qf_loss"])
    assert sorted(p.name for p in (run / "policies").iterdir()) == ["10.onnx", "16.onnx", "latest.onnx"]
    policy = onnx_policy.load(run / "policies" / "latest.onnx")
    action = policy(np.zeros((1, policy.obs_dim), np.float32))
    assert action.shape == (1, 29)
    assert (np.abs(action) <= robots.load("g1").action_reach).all()
    assert policy.metadata["experiment_config"]["algo"]["name"] == "fast_sac"

    out = call("eval", "--checkpoint", run, "--training.num-envs=2", "--training.max-eval-steps=5")
    assert "(step 16)" in out
    again = ["--training.checkpoint", run, "--algo.config.num-learning-iterations=20"]
    assert "16 of 20 steps are done" in train(*again)
    assert checkpoint.latest(run / "checkpoints").name == "20"
