"""Learning curves of several seeds as one picture: the median of the seeds, and the range they span."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from holosoma_jax.loggers.jsonl import read_metrics
from holosoma_jax.render import axes
from holosoma_jax.training.learning_curve import SMOOTHING_SHARE, smooth

SAMPLES = "Train/num_samples"
PANELS = {"Train/mean_episode_length": "Episode length, control steps", "Train/mean_reward": "Episode reward"}
POINTS = 300


class Band(NamedTuple):
    """The curves of one measure over seeds, on common samples [POINTS]."""

    samples: np.ndarray
    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray


def band(runs: Sequence[Path], key: str) -> Band | None:
    """Range and median over `runs` up to where the shortest ends; None where one of them lacks `key`.

    Args:
      runs: folders with ``metrics.jsonl``.
      key: of its lines.
    """
    curves = []
    for run in runs:
        rows = [
            r for r in read_metrics(run / "metrics.jsonl") if SAMPLES in r and np.isfinite(r.get(key, np.nan))
        ]
        if not rows:
            return None
        values = np.array([row[key] for row in rows], float)
        curves.append(
            (np.array([row[SAMPLES] for row in rows], float), smooth(values, SMOOTHING_SHARE * len(rows)))
        )
    samples = np.linspace(max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves), POINTS)
    table = np.stack([np.interp(samples, x, y) for x, y in curves])
    return Band(samples, table.min(0), np.median(table, 0), table.max(0))


def draw(groups: Mapping[str, Sequence[Path]], target: Path) -> Path:
    """Draw a PNG with a panel for each of `PANELS`, and in it a band for each group of runs.

    Args:
      groups: label -> folders of runs that differ in the seed.
      target: replaced if it exists.
    """
    figure = axes.sheet(11.0, 3.9, "Median and range over seeds")
    for axis, (key, heading) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        axes.style(axis, heading, across="million samples")
        for (label, runs), colour in zip(groups.items(), axes.COLOURS, strict=False):
            found = band(runs, key)
            if found is None:
                continue
            x = found.samples / 1e6
            axis.fill_between(x, found.low, found.high, color=colour, alpha=0.2, linewidth=0)
            seeds = f"{label} ({len(runs)} seed{'s' * (len(runs) != 1)})"
            axis.plot(x, found.middle, color=colour, linewidth=1.9, label=seeds)
        if axis.get_legend_handles_labels()[1]:
            axis.legend(fontsize=axes.TICKS, frameon=False, labelcolor=axes.INK)
    return axes.save(figure, target)
