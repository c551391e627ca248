"""The benchmark that trains until a robot walks: when it looks, when it ends, what it reports."""

from __future__ import annotations

import pytest

from benchmarks import time_to_walk

SMALL = [
    "--training.num-envs=8",
    "--algo.config.buffer-size=16",
    "--algo.config.batch-size=8",
    "--algo.config.learning-starts=2",
    "--algo.config.logging-interval=2",
    "--algo.config.actor-hidden-dim=16",
    "--algo.config.critic-hidden-dim=16",
    "--simulator.config.sim.max-episode-length-s=0.1",
]


def test_intervals_are_counted_in_samples() -> None:
    cfg = time_to_walk.configured("g1-29dof-cpu", 3, 50_000, 1_000_000, [])
    each = 512 * cfg.algo.config.num_steps_per_env
    assert cfg.algo.config.save_interval == round(50_000 / each)
    assert cfg.algo.config.num_learning_iterations == 1_000_000 // each
    assert cfg.training.seed == 3
    cfg = time_to_walk.configured(
        "g1-29dof-fast-sac-cpu", 1, 64_000, 1_000_000, ["--algo.config.num-updates", "8"]
    )
    assert (cfg.algo.config.save_interval, cfg.algo.config.num_updates) == (500, 8)


def test_the_summary_is_of_the_seeds_that_walked() -> None:
    runs = [
        {
            "seed": seed,
            "walks": walks,
            "samples": samples,
            "processor_s": 2.0 * samples,
            "wall_s": float(samples),
        }
        for seed, walks, samples in ((1, True, 100), (2, False, 900), (3, True, 300), (4, True, 200))
    ]
    found = time_to_walk.summary(runs, 900)
    assert found["samples"] == {"median": 200.0, "range": [100.0, 300.0]}
    assert found["processor_s"]["median"] == 400.0
    assert "900" in found["missed"] and "2" in found["missed"]
    assert "missed" not in time_to_walk.summary(runs[:1], 900)


@pytest.mark.slow
@pytest.mark.parametrize(("error", "looks"), [(100.0, [32]), (0.0, [32, 64, 96])], ids=["reached", "missed"])
def test_training_ends_at_the_goal_or_at_the_limit(
    error: float, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LINEAR", "YAW"):
        monkeypatch.setattr(time_to_walk, name, error)
    monkeypatch.setattr(time_to_walk, "SURVIVAL", 0.0)
    monkeypatch.setattr(time_to_walk, "ENVS", 4)
    found = time_to_walk.time_to_walk(time_to_walk.configured(time_to_walk.PRESET, 1, 32, 96, SMALL))
    assert [look["samples"] for look in found["looks"]] == looks
    assert (found["walks"], found["samples"]) == (error > 0.0, looks[-1])
    spent = [look["wall_s"] for look in found["looks"]]
    assert spent == sorted(spent) and spent[0] > 0.0
