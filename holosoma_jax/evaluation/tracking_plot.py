"""Velocity tracking as a picture: commanded against measured, over time and over all environments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from holosoma_jax.render import axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMMANDED, (MEASURED, FELL) = axes.INK, axes.COLOURS[:2]
VELOCITIES = (("forward", "m/s"), ("left", "m/s"), ("yaw rate", "rad/s"))
SETTLED_S = 1.0
"""s after which a step counts for the right column: robots start at rest"""
STRIDE_S = 0.5
"""s of the average over the swaying of the gait: half its period, one step"""
TITLE = 120
"""letters that fit in the line above"""


def draw(
    path: str | os.PathLike[str],
    command: np.ndarray,
    measured: np.ndarray,
    alive: np.ndarray,
    control_dt: float,
    title: str,
) -> Path:
    """Draw a PNG with one row per velocity, atomically.

    Left: the first environment over time until it falls, measured (thin) and averaged over one step
    (thick), beside what was commanded. Right: one dot per environment, its mean from `SETTLED_S` on against its
    command; on the diagonal, tracking is perfect.

    Args:
      path: replaced if it exists; its folder is created.
      command: [E, 3] m/s, m/s, rad/s.
      measured: [T, E, 3] the same, in the base's frame.
      alive: [T, E] bool, whether the step belongs to the environment's first episode.
      control_dt: s.
      title: one line above.
    """
    time = control_dt * (1 + np.arange(len(measured)))
    figure = axes.sheet(11.0, 7.6, _shortened(title))
    grid = figure.subplots(3, 2, width_ratios=(2.2, 1.0))
    life = int(alive[:, 0].sum())
    for row, (name, unit) in enumerate(VELOCITIES):
        left, right = grid[row]
        first, last = row == 0, row == len(VELOCITIES) - 1
        axes.style(
            left,
            "First environment" if first else "",
            across="s" if last else "",
            up=f"{name}, {unit}",
        )
        axes.style(
            right,
            f"All {len(command)} environments" if first else "",
            across="commanded" if last else "",
            up=f"measured, {unit}",
        )
        _over_time(left, time[:life], command[0, row], measured[:life, 0, row], control_dt)
        left.set_xlim(0.0, time[-1])
        if life < len(time):
            left.axvline(time[life - 1], color=FELL, linewidth=1.4, linestyle=":", label="fell")
        _all_environments(right, command[:, row], measured[:, :, row], alive, control_dt)
    words = {"fontsize": axes.TICKS, "labelcolor": axes.INK}
    grid[0][0].legend(**words, frameon=False, ncols=3, loc="upper right")
    handles, labels = grid[0][1].get_legend_handles_labels()
    if labels:
        grid[0][1].legend(handles, labels, **words, edgecolor="none", framealpha=0.8)
    return axes.save(figure, Path(path))


def moving_average(values: np.ndarray, span: int) -> np.ndarray:
    """Centred mean of [T] values over `span` of them, over fewer at both ends."""
    weights = np.ones(min(span, len(values)))
    total = np.convolve(values, weights, "same")
    return total / np.convolve(np.ones(len(values)), weights, "same")


def settled_means(measured: np.ndarray, alive: np.ndarray, control_dt: float) -> np.ndarray:
    """[E] mean of [T, E] over the living steps from `SETTLED_S` on; over all living ones where there are none."""
    late = alive & (control_dt * (1 + np.arange(len(measured))) > SETTLED_S)[:, None]
    used = np.where(late.any(0), late, alive)
    return np.sum(np.where(used, measured, 0.0), 0) / np.maximum(used.sum(0), 1)


def _over_time(axis: Axes, time: np.ndarray, command: float, measured: np.ndarray, control_dt: float) -> None:
    axis.plot(time, measured, color=MEASURED, linewidth=0.8, alpha=0.35)
    average = moving_average(measured, max(1, round(STRIDE_S / control_dt)))
    axis.plot(time, average, color=MEASURED, linewidth=1.9, label="measured")
    axis.axhline(command, color=COMMANDED, linewidth=1.6, linestyle="--", label="commanded")
    low, high = min(command, average.min()), max(command, average.max())
    room = max(0.25, 0.35 * (high - low))
    axis.set_ylim(low - room, high + room)


def _all_environments(
    axis: Axes, command: np.ndarray, measured: np.ndarray, alive: np.ndarray, control_dt: float
) -> None:
    means, survived = settled_means(measured, alive, control_dt), alive[-1]
    for group, colour, label in ((survived, MEASURED, "survived"), (~survived, FELL, "fell")):
        if group.any():
            axis.scatter(
                command[group], means[group], s=14, color=colour, alpha=0.75, linewidth=0, label=label
            )
    both = np.concatenate([command, means])
    low, high = both.min(), both.max()
    room = max(0.15, 0.08 * (high - low))
    ends = (low - room, high + room)
    axis.plot(ends, ends, color=COMMANDED, linewidth=1.0, linestyle="--")
    axis.set_xlim(*ends)
    axis.set_ylim(*ends)


def _shortened(title: str) -> str:
    """`title` without the beginning of what is wider than the picture: the folders of a long path."""
    return title if len(title) <= TITLE else f"... {title[-(TITLE - 4) :]}"
