"""The train command on MuJoCo Warp, with real robots, terrain and presets; small."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bridges
from holosoma_jax import experiment, train
from holosoma_jax.config import compose

pytest.importorskip("mujoco_warp")

SMALL = [
    "simulator:mjwarp",
    "logger:console",
    "--training.num-envs=16",
    "--training.export-onnx=False",
    "--logger.video.enabled=False",
]


def run(folder: Path, *arguments: str) -> list[dict[str, float]]:
    """The rows of metrics of one run."""
    assert train.main([*arguments, *SMALL, f"--training.output-dir={folder}"]) == 0
    (metrics,) = folder.glob("*/*/metrics.jsonl")
    return [json.loads(line) for line in metrics.read_text().splitlines()]


@pytest.mark.parametrize(
    ("arguments", "physics"),
    [
        ([], False),
        (["--training.deterministic"], True),
        (["--simulator.config.mujoco-warp.deterministic"], True),
        (["--training.deterministic", "--simulator.config.mujoco-warp.deterministic=False"], True),
    ],
)
def test_a_deterministic_run_has_deterministic_physics(monkeypatch, arguments, physics):
    """What the bridge is made from; tests/bridges shows what it does with that."""

    class Made(Exception):
        """Instead of a bridge."""

    def make(cfg, *args, **kwargs):
        raise Made(cfg)

    monkeypatch.setattr(bridges, "make", make)
    cfg = compose.load(["exp:g1-29dof", "simulator:mjwarp", "terrain:terrain-locomotion-plane", *arguments])
    with pytest.raises(Made) as made:
        experiment.build(cfg)
    (given,) = made.value.args
    settings = cfg.simulator.config
    wanted = replace(settings, mujoco_warp=replace(settings.mujoco_warp, deterministic=physics))
    assert given == replace(cfg.simulator, config=wanted)


@pytest.mark.slow
def test_t1_on_the_small_map_of_the_guide(tmp_path, capsys):
    """PPO, mixed terrain, whole iterations as one program, with the preset's networks and epochs."""
    rows = run(
        tmp_path,
        "exp:t1-29dof",
        "--terrain.terrain-term.scale-factor=0.5",
        "--algo.config.num-learning-iterations=2",
        "--algo.config.num-steps-per-env=8",
    )
    assert len(rows) == 2
    assert rows[1]["Train/num_samples"] == 2 * 8 * 16
    assert all(math.isfinite(value) for name, value in rows[1].items() if name.startswith("Loss/"))
    assert rows[1]["Env/nonfinite"] == 0.0
    printed = capsys.readouterr()
    assert "constraint rows (simulator.config.mujoco_warp.njmax_per_env)" in printed.out + printed.err


@pytest.mark.slow
def test_g1_learns_off_policy_in_one_program(tmp_path):
    rows = run(
        tmp_path,
        "exp:g1-29dof-fast-sac-cpu",
        "--algo.config.num-learning-iterations=16",
        "--algo.config.logging-interval=8",
        "--algo.config.save-interval=16",
        "--algo.config.num-updates=2",
        "--algo.config.actor-hidden-dim=32",
        "--algo.config.critic-hidden-dim=32",
        "--algo.config.batch-size=64",
        "--algo.config.buffer-size=32",
        "--algo.config.learning-starts=4",
    )
    assert [row["Train/num_samples"] for row in rows] == [8 * 16, 16 * 16]
    assert np.isfinite([value for name, value in rows[-1].items() if name.startswith("Loss/")]).all()
