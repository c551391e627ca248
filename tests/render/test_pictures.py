"""Velocity plots and contact sheets: the numbers under them, and that a picture comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holosoma_jax.envs.task import Measure
from holosoma_jax.evaluation import timeline_plot, tracking_plot
from holosoma_jax.evaluation.tracking_plot import moving_average, settled_means
from holosoma_jax.render import contact_sheet


def test_a_moving_average_is_centred_and_uses_what_there_is():
    np.testing.assert_allclose(moving_average(np.array([0.0, 3.0, 6.0, 3.0]), 3), [1.5, 3.0, 4.0, 4.5])
    np.testing.assert_allclose(moving_average(np.full(7, 2.0), 50), np.full(7, 2.0))


def test_means_leave_out_the_start_and_what_follows_a_fall():
    # 0.5 s a step; settled from the step that ends after 1 s on: steps 2, 3, 4
    measured = np.array([[9.0, 5.0], [9.0, 7.0], [1.0, 9.0], [2.0, 9.0], [3.0, 9.0]])
    alive = np.array([[1, 1], [1, 1], [1, 0], [1, 0], [1, 0]], bool)
    np.testing.assert_allclose(settled_means(measured, alive, 0.5), [2.0, 6.0])


@pytest.mark.parametrize("falls", [True, False])
def test_a_plot_is_drawn(tmp_path: Path, falls: bool):
    rng = np.random.default_rng(0)
    alive = np.ones((100, 4), bool)
    alive[60:, 0] = not falls
    path = tmp_path / "deep" / "velocity.png"
    command = rng.uniform(-1, 1, (4, 3))
    measured = command + 0.1 * rng.standard_normal((100, 4, 3))
    assert tracking_plot.draw(path, command, measured, alive, 0.02, "policy") == path
    image = np.asarray(Image.open(path).convert("RGB"))
    assert image.shape[0] > 600 and image.shape[1] > 900
    blue = (image[..., 2] > 200) & (image[..., 0] < 80)
    assert blue.sum() > 500  # the measured curves
    assert [p.name for p in path.parent.iterdir()] == ["velocity.png"]


def test_samples_are_gathered_by_frame():
    frames = np.array([[5, 7], [6, 8], [7, 9]])
    values = np.array([[1.0, 2.0], [3.0, 4.0], [6.0, 8.0]])
    counted = np.array([[True, True], [True, True], [True, False]])  # the second one failed
    found = timeline_plot.over_frames(values, frames, counted)
    np.testing.assert_array_equal(found.frame, [5, 6, 7, 8])
    np.testing.assert_allclose(found.mean, [1.0, 3.0, 4.0, 4.0])
    np.testing.assert_array_equal(found.samples, [1, 1, 2, 1])
    np.testing.assert_allclose([found.low[2], found.high[2]], [2.4, 5.6])  # a tenth in from 2 and 6
    assert not len(timeline_plot.over_frames(values, frames, np.zeros_like(counted)).frame)


@pytest.mark.parametrize("cases", [(), ("squat", "walk")])
def test_errors_over_two_clips_are_drawn(tmp_path: Path, cases: tuple[str, ...]):
    frames = np.arange(100)[:, None] + np.array([0, 100, 0, 100])
    alive = np.ones((100, 4), bool)
    alive[30:, 2:] = False
    values = {
        Measure("body position error", "m"): np.where(frames < 100, 0.05, 0.1),
        Measure("angle", "rad"): 0.001 * frames,
    }
    path = timeline_plot.draw(tmp_path / "deep" / "errors.png", values, frames, alive, cases, 0.02, "policy")
    image = np.asarray(Image.open(path).convert("RGB"))
    assert image.shape[0] > 500 and image.shape[1] > 900
    blue = (image[..., 2] > 200) & (image[..., 0] < 80)
    red = (image[..., 0] > 180) & (image[..., 2] < 90)
    assert blue.sum() > 500 and (red.sum() > 500) == bool(cases)  # a colour for each clip


def test_frames_lie_row_by_row():
    images = [np.full((6, 10, 3), 10 * i, np.uint8) for i in range(6)]
    sheet = contact_sheet.tile(images, columns=4)
    gap = contact_sheet.GAP
    assert sheet.shape == (2 * 6 + gap, 4 * 10 + 3 * gap, 3)
    assert sheet[0, 0, 0] == 0 and sheet[0, 10 + gap, 0] == 10 and sheet[6 + gap, 0, 0] == 40
    assert sheet[0, 10, 0] == contact_sheet.PAPER and sheet[-1, -1, 0] == contact_sheet.PAPER
    with pytest.raises(ValueError, match="finite"):
        contact_sheet.tile([])


@pytest.mark.parametrize(("frames", "every"), [(1, 1), (12, 1), (13, 2), (1000, 84)])
def test_frames_span_the_episode(frames: int, every: int):
    assert contact_sheet.stride(frames) == every
    assert len(range(0, frames, every)) <= contact_sheet.COLUMNS * contact_sheet.ROWS
