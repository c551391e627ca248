"""The train command on the G1 and MuJoCo, once through: everything that a user finds afterwards.

Compiled as for users, resumed runs among them.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from holosoma_jax import robots
from holosoma_jax.policy import onnx_policy
from holosoma_jax.runs import saved_steps
from tests.support.child import as_for_users, call, ended_at, last_row, proposed


@pytest.mark.slow
def test_command_line_to_policy_and_on(tmp_path, program_cache):
    environ = as_for_users(program_cache)
    small = ["--training.num-envs", 16, "--training.output-dir", tmp_path, "--logger.video.length-s", 0.5]
    budget = ["--algo.config.num-learning-iterations", 2, "--algo.config.num-learning-epochs", 1]
    budget += ["--algo.config.save-interval", 1]
    out = call(
        "train", "--config", "configs/exp/g1-29dof.yaml", "simulator:mujoco", *small, *budget, environ=environ
    )
    (run,) = (tmp_path / "locomotion").iterdir()
    assert (run / "learning_curve.png").stat().st_size > 10_000
    assert list(run.glob("events.out.tfevents*"))
    assert list((run / "videos").glob("final.mp4")) or "no videos" in out
    policy = onnx_policy.load(run / "policies" / "latest.onnx")
    assert policy(np.zeros((1, policy.obs_dim), np.float32)).shape == (1, 29)
    assert policy.metadata["iteration"] == 2

    half = ended_at(1, run, tmp_path / "half")
    call("train", "--training.checkpoint", half, "--logger.video.enabled=False", environ=environ)
    assert last_row(half) == last_row(run)

    again = proposed(out, "Train on")
    out = call("train", *again, "--logger.video.enabled=False", environ=environ)
    assert "2 of 4 iterations are done" in out
    assert saved_steps.latest(run / "checkpoints").name == "4"
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]
    assert sorted(p.name for p in (run / "policies").iterdir()) == [
        *("1.onnx", "2.onnx", "3.onnx", "4.onnx", "latest.onnx")
    ]


@pytest.mark.slow
def test_fast_sac_from_the_command_line_to_an_evaluated_policy(tmp_path, program_cache):
    environ = as_for_users(program_cache)
    small = {
        "training.num-envs": 16,
        "training.output-dir": tmp_path,
        "logger.video.enabled": False,
        "algo.config.num-learning-iterations": 16,
        "algo.config.save-interval": 10,
        "algo.config.logging-interval": 5,
        "algo.config.save-buffer": True,
        "algo.config.buffer-size": 64,
        "algo.config.batch-size": 64,
        "algo.config.actor-hidden-dim": 32,
        "algo.config.critic-hidden-dim": 32,
    }
    flags = [f"--{key}={value}" for key, value in small.items()]
    out = call("train", "exp:g1-29dof-fast-sac", "simulator:mujoco", *flags, environ=environ)
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

    parts = ended_at(10, run, tmp_path / "parts")
    call("train", "--training.checkpoint", parts, environ=environ)
    assert last_row(parts) == last_row(run)

    asked = ["--training.num-envs=2", "--training.max-eval-steps=5"]
    out = call("eval", "--checkpoint", run, *asked, environ=environ)
    assert "(step 16)" in out
    again = ["--training.checkpoint", run, "--algo.config.num-learning-iterations=20"]
    assert "16 of 20 steps are done" in call("train", *again, environ=environ)
    assert saved_steps.latest(run / "checkpoints").name == "20"
