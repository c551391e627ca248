"""The benchmark of MuJoCo Warp: what it asks for, and what it makes of a measurement that fails."""

from __future__ import annotations

import json
import signal
import subprocess
from types import SimpleNamespace

import pytest

from benchmarks import gpu, machine
from holosoma_jax import runtime


def test_what_does_not_fit_ends_no_other_measurement(monkeypatch, tmp_path):
    asked = []

    def run(command, **kwargs):
        asked.append(command)
        size = next(word for word in command if word.startswith("--num-envs="))
        found = json.dumps({"num_envs": size, "accelerator": {"kind": "fast"}})
        return SimpleNamespace(returncode=-9 if size.endswith("=64") else 0, stdout=f"noise\n{found}\n")

    monkeypatch.setattr(machine, "describe", dict)
    monkeypatch.setattr(runtime, "prepare", lambda: None)
    monkeypatch.setattr(subprocess, "run", run)
    out = tmp_path / "gpu.json"
    words = "gpu --no-start --presets g1-29dof terrain:terrain-locomotion-plane --num-envs 64 32 --out"
    monkeypatch.setattr("sys.argv", [*words.split(), str(out)])
    assert gpu.main() == 1
    assert json.loads(out.read_text()) == {
        "benchmark": "gpu",
        "runs": [{"preset": "g1-29dof", "num_envs": 64, "exit_code": -9}, {"num_envs": "--num-envs=32"}],
        "accelerator": {"kind": "fast"},
    }
    assert all("terrain:terrain-locomotion-plane" in command for command in asked)


def test_a_curve_is_what_a_run_logged_until_it_was_stopped(monkeypatch, tmp_path):
    rows = [{"step": i, "Train/mean_reward": 0.1 * i, "Loss/KL": 0.0} for i in range(1, 1001)]
    metrics = tmp_path / "g1-29dof" / "20260101_000000-g1-29dof" / "metrics.jsonl"
    sent = []

    class Run:
        """The train command, which never ends by itself."""

        def __init__(self, command, **kwargs):
            metrics.parent.mkdir(parents=True, exist_ok=True)
            metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))

        def wait(self, timeout=None):
            if timeout is not None:
                raise subprocess.TimeoutExpired("train", timeout)
            return 130 if sent else -9

        def send_signal(self, number):
            sent.append(number)

    monkeypatch.setattr(subprocess, "Popen", Run)
    found = gpu.training("g1-29dof", 64, 1.0, str(tmp_path), [])
    assert sent == [signal.SIGINT]
    steps = [row["step"] for row in found["curve"]]
    assert (steps[0], steps[-1], len(steps)) == (1, 1000, 201)
    assert set(found["curve"][0]) == {"step", "Train/mean_reward"}
    assert found["folder"] == str(metrics.parent)
    rows.clear()
    assert gpu.training("g1-29dof", 64, 1.0, str(tmp_path), []) == {
        "preset": "g1-29dof",
        "num_envs": 64,
        "exit_code": 130,
    }


@pytest.mark.parametrize(
    ("preset", "overrides", "steps"),
    [
        ("g1-29dof", [], 1),
        ("g1-29dof-fast-sac", [], 12),
        ("g1-29dof-fast-sac", ["--algo.config.learning-starts=3"], 5),
    ],
)
def test_the_start_is_measured_up_to_an_update(preset, overrides, steps):
    assert f"--algo.config.num-learning-iterations={steps}" in gpu.until_first_update(preset, overrides)
