from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax.loggers.jsonl import JsonlSink
from holosoma_jax.training import learning_curve


def write_run(path: Path, iterations: int = 60, **change) -> Path:
    sink, rng = JsonlSink(path), np.random.default_rng(0)
    for i in range(1, iterations + 1):
        row = {
            "Train/mean_reward": 0.3 * i + rng.normal() if i > 3 else math.nan,
            "Train/mean_episode_length": 20.0 + 10 * i,
            "Train/num_samples": 1e5 * i,
            "Episode/rew_tracking_lin_vel": 0.02 * i,
            "Loss/actor_learning_rate": 1e-3 * 0.95**i,
            "Loss/KL": 0.01,
            "Policy/mean_noise_std": 0.8,
            "Perf/total_fps": 1e4,
            "Perf/collection_time": 2.0,
            "Perf/learning_time": 1.0,
        }
        sink.write(i, {k: v for k, v in (row | change).items() if v is not None})
    sink.close()
    return path


def pixels(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def coloured(image: np.ndarray) -> np.ndarray:
    """[H, W] where a curve is."""
    return image.max(-1) - image.min(-1) > 90


def test_six_panels_each_with_a_curve(tmp_path: Path):
    path = learning_curve.draw(write_run(tmp_path / "metrics.jsonl"), tmp_path / "curve.png")
    image = pixels(path)
    height, width = image.shape[:2]
    assert width == 1320 and 700 < height < 800
    for row in range(2):
        for column in range(3):
            part = coloured(image)[
                row * height // 2 : (row + 1) * height // 2, column * width // 3 : (column + 1) * width // 3
            ]
            assert part.sum() > 100, (row, column)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["curve.png", "metrics.jsonl"]


def test_a_rising_curve_rises(tmp_path: Path):
    image = pixels(learning_curve.draw(write_run(tmp_path / "metrics.jsonl"), tmp_path / "curve.png"))
    height, width = image.shape[:2]
    rows, columns = np.nonzero(coloured(image[: height // 2, : width // 3]))
    left, right = rows[columns < np.median(columns)].mean(), rows[columns > np.median(columns)].mean()
    assert left > right + 20  # rows count downwards


@pytest.mark.parametrize("iterations", [1, 2])
def test_the_first_iterations_are_points_in_every_panel(tmp_path: Path, iterations: int):
    run = write_run(tmp_path / "metrics.jsonl", iterations, **{"Train/mean_reward": 1.0})
    image = coloured(pixels(learning_curve.draw(run, tmp_path / "curve.png")))
    height, width = image.shape
    assert all(
        image[
            row * height // 2 : (row + 1) * height // 2, column * width // 3 : (column + 1) * width // 3
        ].sum()
        > 20
        for row in range(2)
        for column in range(3)
    )


def test_numbers_that_are_absent_or_never_finite_do_not_stop_it(tmp_path: Path):
    change = {"Loss/KL": None, "Train/mean_reward": math.nan, "Loss/actor_learning_rate": math.nan}
    assert learning_curve.draw(
        write_run(tmp_path / "metrics.jsonl", 5, **change), tmp_path / "curve.png"
    ).exists()


@pytest.mark.parametrize("text", [None, "", '{"step": 1}\n', "not json\n"])
def test_nothing_to_draw_is_no_error(tmp_path: Path, text: str | None):
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    assert learning_curve.draw(tmp_path / "metrics.jsonl", tmp_path / "curve.png") is None
    assert not (tmp_path / "curve.png").exists()


def test_smoothing_of_a_constant_is_the_constant_and_skips_nan():
    np.testing.assert_allclose(learning_curve.smooth(np.full(5, 3.0), 10.0), 3.0)
    # span 3: alpha 1/2. 1, then (1/4 * 1 + 1/2 * 4) / (3/4) = 3; NaN keeps it
    np.testing.assert_allclose(
        learning_curve.smooth(np.array([np.nan, 1.0, 4.0, np.nan]), 3.0), [np.nan, 1.0, 3.0, 3.0]
    )


def test_headline_adds_up_the_time_between_rows(tmp_path: Path):
    # a million samples at 10,000, another at 20,000, two more at 40,000 a second
    rows = [
        {"step": step, "Perf/total_fps": speed, "Train/num_samples": 1e5 * step}
        for step, speed in ((10, 1e4), (20, 2e4), (40, 4e4))
    ]
    assert (
        learning_curve.headline_text(rows, "run")
        == "run   |   40 iterations   |   4.0 M samples   |   3.3 min"
    )
    assert (
        learning_curve.headline_text(rows[:1], "run", "step")
        == "run   |   10 steps   |   1.0 M samples   |   1.7 min"
    )
    tried = [{"step": 60, "Train/num_samples": 960.0}]
    assert learning_curve.headline_text(tried, "run", "step") == "run   |   60 steps   |   960 samples"


def test_off_policy_losses_have_panels_of_their_own():
    keys = ("Loss/qf_loss", "Loss/alpha_value", "Loss/action_std", "Perf/total_fps", "Train/mean_reward")
    panels = [panel.title for panel in learning_curve.panels_of([dict.fromkeys(keys, 1.0)])]
    assert panels == ["Episode reward", "Critic loss", "Temperature and exploration", "Speed"]
