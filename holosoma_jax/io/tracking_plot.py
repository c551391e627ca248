"""Velocity tracking as a picture: commanded against measured, over time and over all environments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from holosoma_jax.io.curve import GRID, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMMANDED, MEASURED, FELL = "#22303c", "#1f6feb", "#d1633c"
AXES = (("forward", "m/s"), ("left", "m/s"), ("yaw rate", "rad/s"))
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
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    target, time = Path(path), control_dt * (1 + np.arange(len(measured)))
    figure = Figure(figsize=(11.0, 7.6), dpi=110, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    figure.suptitle(_shortened(title), color=INK, fontsize=11, x=0.012, ha="left")
    grid = figure.subplots(3, 2, width_ratios=(2.2, 1.0))
    life = int(alive[:, 0].sum())
    for row, (name, unit) in enumerate(AXES):
        left, right = grid[row]
        _style(left)
        _style(right)
        _over_time(left, time[:life], command[0, row], measured[:life, 0, row], control_dt)
        left.set_xlim(0.0, time[-1])
        if life < len(time):
            left.axvline(time[life - 1], color=FELL, linewidth=1.4, linestyle=":", label="fell")
        left.set_ylabel(f"{name}, {unit}", fontsize=9, color=INK)
        _all_environments(right, command[:, row], measured[:, :, row], alive, control_dt)
        right.set_ylabel(f"measured, {unit}", fontsize=9, color=INK)
    grid[0][0].set_title("First environment", loc="left", fontsize=10.5, fontweight="bold", color=INK)
    grid[0][1].set_title(
        f"All {len(command)} environments", loc="left", fontsize=10.5, fontweight="bold", color=INK
    )
    grid[0][0].legend(fontsize=8.5, frameon=False, labelcolor=INK, ncols=3, loc="upper right")
    handles, labels = grid[0][1].get_legend_handles_labels()
    if labels:
        grid[0][1].legend(handles, labels, fontsize=8.5, labelcolor=INK, edgecolor="none", framealpha=0.8)
    grid[2][0].set_xlabel("s", fontsize=9, color=INK)
    grid[2][1].set_xlabel("commanded", fontsize=9, color=INK)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp.png")
    try:
        figure.savefig(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


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


def _style(axis: Axes) -> None:
    axis.grid(color=GRID, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8.5, colors=INK, length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(GRID)


def _shortened(title: str) -> str:
    """`title` without the beginning of what is wider than the picture: the folders of a long path."""
    return title if len(title) <= TITLE else f"... {title[-(TITLE - 4) :]}"
