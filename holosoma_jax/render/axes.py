"""The style of all plots: one colour of text, one grid, headlines on the left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from holosoma_jax.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GRID = "#22303c", "#d9dfe4"
COLOURS = ("#1f6feb", "#d1633c", "#2da44e", "#8957e5", "#bf8700")
TEXT, TICKS, HEADING = 9.0, 8.5, 10.5
"""points"""


def sheet(width: float, height: float, headline: str) -> Figure:
    """An empty figure of `width` x `height` inches under one line of text."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), dpi=110, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    figure.suptitle(headline, color=INK, fontsize=11, x=0.012, ha="left")
    return figure


def style(axis: Axes, heading: str = "", *, across: str = "", up: str = "") -> None:
    """A grid and a base line instead of a box; `heading` above, `across` and `up` along the axes."""
    axis.grid(color=GRID, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=TICKS, colors=INK, length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(GRID)
    axis.set_title(heading, loc="left", fontsize=HEADING, fontweight="bold", color=INK)
    axis.set_xlabel(across, fontsize=TEXT, color=INK)
    axis.set_ylabel(up, fontsize=TEXT, color=INK)


def style_right(axis: Axes, up: str) -> None:
    """A second axis on the right of a styled one: its numbers and `up`, no lines of its own."""
    axis.tick_params(labelsize=TICKS, colors=INK, length=0)
    axis.set_ylabel(up, fontsize=TEXT, color=INK)
    for spine in axis.spines.values():
        spine.set_visible(False)


def save(figure: Figure, target: Path) -> Path:
    """Write the PNG `target`, atomically, and return it; its folder is created."""
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png")
    return target
