"""Errors over the frames of what is played, such as a motion clip, as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from holosoma_jax.envs.task import Measure
from holosoma_jax.evaluation.tracking_plot import TITLE
from holosoma_jax.render import axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPREAD = (10.0, 90.0)
"""percentiles over environments that the band covers"""


class OverFrames(NamedTuple):
    """A measure at each frame that was played, in the order of the frames."""

    frame: np.ndarray
    """[F] int"""
    mean: np.ndarray
    """[F] over the samples at the frame"""
    low: np.ndarray
    """[F] lower percentile of `SPREAD`"""
    high: np.ndarray
    """[F] upper one"""
    samples: np.ndarray
    """[F] int, how many"""


def over_frames(values: np.ndarray, frames: np.ndarray, counted: np.ndarray) -> OverFrames:
    """Samples by frame.

    Args:
      values: [T, E].
      frames: [T, E] int, which frame each sample is of.
      counted: [T, E] bool, samples that count.
    """
    values, frames = values[counted], frames[counted]
    order = np.argsort(frames, kind="stable")
    frame, first, count = np.unique(frames[order], return_index=True, return_counts=True)
    parts = np.split(values[order].astype(np.float64), first[1:]) if len(frame) else []
    low, high = np.array([np.percentile(part, SPREAD) for part in parts]).reshape(-1, 2).T
    return OverFrames(frame, np.array([part.mean() for part in parts]), low, high, count)


def draw(
    path: str | os.PathLike[str],
    values: Mapping[Measure, np.ndarray],
    frames: np.ndarray,
    alive: np.ndarray,
    cases: Sequence[str],
    control_dt: float,
    title: str,
) -> Path:
    """Draw a PNG with a row for each measure, atomically; below, how many environments still play.

    A line is the mean over the environments that have not failed, its band the middle four fifths of them. Cases
    (clips) lie one behind the other, each in its colour.

    Args:
      path: replaced if it exists; its folder is created.
      values: measure -> [T, E].
      frames: [T, E] int, which frame each control step played.
      alive: [T, E] bool, whether the step belongs to the environment's first episode.
      cases: environment e played case e mod n; none: all the same.
      control_dt: s a frame.
      title: one line above.
    """
    shown = title if len(title) <= TITLE else f"... {title[-(TITLE - 4) :]}"
    figure = axes.sheet(11.0, 1.9 * (len(values) + 1) + 0.5, shown)
    grid = figure.subplots(len(values) + 1, 1, sharex=True)
    env = np.arange(frames.shape[1])
    groups = [(name, env % len(cases) == i) for i, name in enumerate(cases)] or [("", env >= 0)]
    for row, (measure, value) in enumerate(values.items()):
        axes.style(grid[row], measure.label, up=measure.unit)
        for place, (name, mine) in enumerate(groups):
            found = over_frames(value[:, mine], frames[:, mine], alive[:, mine])
            _line(grid[row], control_dt * found.frame, found, axes.COLOURS[place % len(axes.COLOURS)], name)
        grid[row].set_ylim(bottom=0.0)
    axes.style(grid[-1], "Environments that have not failed", across="s of the clip", up="share")
    for place, (_, mine) in enumerate(groups):
        found = over_frames(np.ones(frames[:, mine].shape), frames[:, mine], alive[:, mine])
        share = found.samples / max(1, found.samples.max(initial=1))
        grid[-1].plot(control_dt * found.frame, share, color=axes.COLOURS[place % len(axes.COLOURS)])
    grid[-1].set_ylim(0.0, 1.05)
    if 1 < len(cases) <= len(axes.COLOURS):
        grid[0].legend(fontsize=axes.TICKS, labelcolor=axes.INK, frameon=False, ncols=len(cases))
    return axes.save(figure, Path(path))


def _line(axis: Axes, time: np.ndarray, found: OverFrames, colour: str, label: str) -> None:
    axis.fill_between(time, found.low, found.high, color=colour, alpha=0.2, linewidth=0)
    axis.plot(time, found.mean, color=colour, linewidth=1.6, label=label)
