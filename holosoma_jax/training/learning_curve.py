"""The learning curve of a run as a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from holosoma_jax.loggers.jsonl import read_metrics
from holosoma_jax.render import axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
MAX_POINTS = 1500
SMOOTHING_SHARE = 1 / 30
"""span of the exponential average, as a share of the run"""
FEW = 5
"""curves of fewer numbers show them as points"""


class Line(NamedTuple):
    """One curve."""

    key: str
    label: str
    scale: float = 1.0


class Panel(NamedTuple):
    """One set of axes."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    log: bool = False
    right: Line | None = None
    """drawn against an axis of its own, on the right"""
    from_zero: bool = False


def draw(
    metrics: str | os.PathLike[str],
    target: str | os.PathLike[str],
    title: str | None = None,
    unit: str = "iteration",
) -> Path | None:
    """Draw the curves in the JSON lines `metrics` into the PNG `target`, atomically.

    Args:
      metrics: as `loggers.jsonl.JsonlSink` writes it.
      target: replaced if it exists.
      title: default: the name of the run's folder.
      unit: what an iteration of this run is called.

    Returns:
      `target`, or None where there is nothing to draw: no file, or no number in it yet.
    """
    source, target = Path(metrics), Path(target)
    rows = read_metrics(source) if source.exists() else []
    if not rows:
        return None
    rows = rows[:: -(-len(rows) // MAX_POINTS)] + rows[-1:]  # more would only take longer to draw
    steps = np.array([row["step"] for row in rows], float)
    panels = panels_of(rows)
    if not panels:
        return None
    height = -(-len(panels) // COLUMNS)
    headline = headline_text(rows, title or source.resolve().parent.name, unit)
    figure = axes.sheet(12.0, 3.2 * height + 0.5, headline)
    grid = figure.subplots(height, COLUMNS, squeeze=False).ravel()
    for axis, panel in zip(grid, panels, strict=False):
        axes.style(axis, panel.title, across=unit, up=panel.unit)
        _draw_panel(axis, panel, steps, rows)
    for axis in grid[len(panels) :]:
        axis.set_visible(False)
    return axes.save(figure, target)


def smooth(values: np.ndarray, span: float) -> np.ndarray:
    """Exponential average of [N] values with weight 2 / (span + 1), unbiased at the start; NaN is skipped."""
    alpha = min(1.0, 2.0 / (span + 1.0))
    total = weight = 0.0
    result = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if np.isfinite(value):
            total = (1.0 - alpha) * total + alpha * value
            weight = (1.0 - alpha) * weight + alpha
        if weight > 0.0:
            result[i] = total / weight
    return result


def panels_of(rows: Sequence[dict[str, Any]]) -> list[Panel]:
    """Those of the panels below that have a number to show."""
    keys = {key for row in rows for key in row}
    prefix = "Episode/rew_"
    tracking = tuple(
        Line(key, key.removeprefix(prefix).replace("_", " "))
        for key in sorted(keys)
        if key.startswith(f"{prefix}tracking") or key.startswith(f"{prefix}motion")
    )
    panels = [
        Panel("Episode length", "control steps", (Line("Train/mean_episode_length", ""),), from_zero=True),
        Panel("Episode reward", "sum per episode", (Line("Train/mean_reward", ""),)),
        Panel("Tracking reward", "per second of a full episode", tracking, from_zero=True),
        Panel("Learning rate", "of the actor", (Line("Loss/actor_learning_rate", ""),), log=True),
        Panel(
            "KL and exploration",
            "KL per update",
            (Line("Loss/KL", "KL"),),
            right=Line("Policy/mean_noise_std", "noise std"),
            from_zero=True,
        ),
        Panel("Critic loss", "cross-entropy, sum of all critics", (Line("Loss/qf_loss", ""),)),
        Panel(
            "Temperature and exploration",
            "temperature",
            (Line("Loss/alpha_value", "temperature"),),
            right=Line("Loss/action_std", "action std"),
            from_zero=True,
        ),
        Panel("Speed", "1,000 env steps / s", (Line("Perf/total_fps", "", 1e-3),), from_zero=True),
    ]
    return [
        panel._replace(lines=shown)
        for panel in panels
        if (shown := tuple(line for line in panel.lines if line.key in keys))
    ]


def _draw_panel(axis: Axes, panel: Panel, steps: np.ndarray, rows: Sequence[dict[str, Any]]) -> None:
    for line, colour in zip(panel.lines, axes.COLOURS, strict=False):
        _draw_line(axis, line, colour, steps, rows, smoothed=not panel.log)
    if panel.log:
        axis.set_yscale("log")
    elif panel.from_zero:
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    handles, labels = axis.get_legend_handles_labels()
    if panel.right is not None and any(panel.right.key in row for row in rows):
        other = axis.twinx()
        _draw_line(other, panel.right, axes.COLOURS[1], steps, rows, smoothed=True)
        other.set_ylim(bottom=0.0)
        axes.style_right(other, panel.right.label)
        more_handles, more_labels = other.get_legend_handles_labels()
        handles, labels = handles + more_handles, labels + more_labels
    if any(labels):
        # "best" knows nothing of the right axis; below two lines that start from zero there is room.
        place = "best" if panel.right is None else "lower left"
        axis.legend(handles, labels, loc=place, fontsize=axes.TICKS, frameon=False, labelcolor=axes.INK)


def _draw_line(
    axis: Axes, line: Line, colour: str, steps: np.ndarray, rows: Sequence[dict[str, Any]], *, smoothed: bool
) -> None:
    """The values, faint, under their average; only the values where averages would mislead."""
    values = line.scale * np.array([row.get(line.key, np.nan) for row in rows], float)
    marker = "o" if np.isfinite(values).sum() < FEW else None  # a line needs two neighbours
    if not smoothed:
        axis.plot(steps, values, color=colour, linewidth=1.4, label=line.label, marker=marker, markersize=4)
        return
    axis.plot(steps, values, color=colour, linewidth=0.8, alpha=0.28)
    average = smooth(values, max(1.0, SMOOTHING_SHARE * len(values)))
    axis.plot(steps, average, color=colour, linewidth=1.9, label=line.label, marker=marker, markersize=4)


def headline_text(rows: Sequence[dict[str, Any]], title: str, unit: str = "iteration") -> str:
    """Title, iterations, samples and time of a run, as far as its rows say them."""
    last = rows[-1]
    parts = [title, f"{last['step']:,} {unit}s"]
    samples = last.get("Train/num_samples")
    if samples is not None and np.isfinite(samples):
        parts.append(f"{samples / 1e6:,.1f} M samples" if samples >= 1e5 else f"{samples:,.0f} samples")
    seconds, before = 0.0, 0.0
    for row in rows:  # a row stands for all samples since the row before
        samples, speed = row.get("Train/num_samples", np.nan), row.get("Perf/total_fps", np.nan)
        if np.isfinite(samples) and speed > 0.0:
            seconds += (samples - before) / speed
            before = samples
    if seconds:
        parts.append(f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.1f} min")
    return "   |   ".join(parts)
