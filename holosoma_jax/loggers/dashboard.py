"""The live table of a run, as a rich renderable made from numbers; no state, no terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple, Protocol

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

REWARD, LENGTH, FPS = "Train/mean_reward", "Train/mean_episode_length", "Perf/total_fps"
MAX_TERMS = 14
"""reward terms shown, the largest first"""
WIDE = 112
"""columns from which three blocks stand side by side, two below"""
FRAME = 8
"""lines around the blocks: borders, padding, progress, speed"""
TERM_BAR = 6
"""characters of the largest reward term's bar"""
SPLIT_BAR = 30
"""characters of the bar that shows where the time goes, where there is room for it"""
SPARKS = "▁▂▃▄▅▆▇█"
_EPISODES = (
    ("mean reward", REWARD, "{:.2f}"),
    ("episode length", LENGTH, "{:.0f} steps"),
    ("samples", "Train/num_samples", "{:,.0f}"),
    ("penalty scale", "Env/penalty_scale", "{:.2f}"),
    ("terrain level", "Env/terrain_level", "{:.2f}"),
)
_COLOURS = {"physics": "cyan", "environment": "green", "collection": "cyan", "learning": "magenta"}


class Metric(Protocol):
    """A number of the learner that is shown (`learn.learner.ConsoleMetric`)."""

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def form(self) -> str: ...  # noqa: D102
    @property
    def in_line(self) -> str | None: ...  # noqa: D102


class View(NamedTuple):
    """What is shown."""

    title: str
    unit: str
    """what an iteration is called"""
    step: int
    total: int
    elapsed_s: float
    eta_s: float | None
    best: float
    """-inf where there is none yet"""
    rewards: Sequence[float]
    """the latest mean rewards, oldest first"""
    scalars: Mapping[str, float]
    learner: Sequence[Metric]
    """what is shown of the learner, where it is among the scalars"""
    width: int
    """columns of the terminal"""
    height: int
    """lines of the terminal; what does not fit is left out"""


def render(view: View) -> RenderableType:
    """The table: progress, where the time goes, episodes, learner, reward terms."""
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(no_wrap=True)
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True)
    head.add_row(
        Text(f"{view.unit} {view.step}/{view.total}", style="bold"),
        ProgressBar(
            total=max(1, view.total), completed=view.step, complete_style="cyan", finished_style="green"
        ),
        Text(f"{duration(view.elapsed_s)} elapsed, {duration(view.eta_s)} left"),
    )
    parts: list[RenderableType] = [head]
    split = speed(view.scalars, view.width - 6)
    if split is not None:
        parts.append(split)
    episodes = _rows(_EPISODES, view.scalars)
    if math.isfinite(view.best):
        episodes.insert(1, ("best so far", f"{view.best:.2f}"))
    if len(view.rewards) > 1:
        episodes.append(("trend", Text(sparkline(view.rewards), style="cyan")))
    learner, room = (
        _rows([(m.label, m.key, m.form) for m in view.learner], view.scalars),
        max(3, view.height - FRAME),
    )
    terms = _terms(view.scalars, min(MAX_TERMS, room - 1))
    body = Table.grid(expand=True, padding=(0, 2))
    if view.width >= WIDE:
        blocks = [_block("episodes", episodes), _block("learner", learner[: room - 1]), terms]
        ratios = (6, 6, 7)
    else:
        below = learner[: max(0, room - len(episodes) - 3)]
        both = [_block("episodes", episodes), Text(), _block("learner", below)]
        blocks, ratios = [Group(*both[: 3 if below else 1]), terms], (6, 7)
    for ratio in ratios:
        body.add_column(ratio=ratio)
    body.add_row(*blocks)
    title = Text(view.title, style="bold") if view.title else None
    return Panel(Group(*parts, Text(), body), title=title, border_style="cyan", padding=(1, 2))


def split_of(scalars: Mapping[str, float]) -> dict[str, float]:
    """Seconds of the latest window by what they went into; where physics is not timed, it is collection."""
    collection, learning = scalars.get("Perf/collection_time"), scalars.get("Perf/learning_time")
    physics = scalars.get("Perf/physics_time")
    out: dict[str, float] = {}
    if physics is not None and collection is not None:
        out |= {"physics": physics, "environment": max(0.0, collection - physics)}
    elif collection is not None:
        out["collection"] = collection
    if learning is not None:
        out["learning"] = learning
    return {name: seconds for name, seconds in out.items() if math.isfinite(seconds)}


def speed(scalars: Mapping[str, float], width: int) -> Text | None:
    """One line of at most `width`: steps per second, and how the time splits, as a bar and in percent."""
    parts, rate = split_of(scalars), scalars.get(FPS)
    total = sum(parts.values())
    if rate is None or not math.isfinite(rate):
        return None
    line = Text(f"{rate:,.0f} steps/s", style="bold", no_wrap=True, overflow="crop")
    if total <= 0.0 or len(parts) < 2:
        return line
    words = sum(len(f"  {name} 100%") for name in parts)
    bar = max(0, min(SPLIT_BAR, width - len(line) - words - 2))
    line.append("  " if bar else "")
    ends = [round(bar * sum(list(parts.values())[: i + 1]) / total) for i in range(len(parts))]
    starts = [0, *ends[:-1]]
    for name, start, end in zip(parts, starts, ends, strict=True):
        line.append("━" * (end - start), style=_COLOURS[name])
    for name, seconds in parts.items():
        line.append("  ").append(name, style=_COLOURS[name])
        line.append(f" {seconds / total:.0%}", style="not bold")
    return line


def sparkline(values: Sequence[float]) -> str:
    """Bars from the smallest to the largest of the finite values; a constant is a line of low bars."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, span = min(finite), max(finite) - min(finite)
    top = len(SPARKS) - 1
    return "".join(SPARKS[round(top * (value - low) / span) if span > 0 else 0] for value in finite)


def duration(seconds: float | None) -> str:
    """h:mm:ss, or '...' where it is not known."""
    return "..." if seconds is None else str(timedelta(seconds=round(seconds)))


def _rows(
    wanted: Sequence[tuple[str, str, str]], scalars: Mapping[str, float]
) -> list[tuple[str, RenderableType]]:
    return [(name, form.format(scalars[key])) for name, key, form in wanted if key in scalars]


def _terms(scalars: Mapping[str, float], most: int) -> Table:
    """The `most` largest reward terms by size, each with a bar: green adds, red costs."""
    prefix = "Episode/rew_"
    terms = [(k.removeprefix(prefix), v) for k, v in scalars.items() if k.startswith(prefix)]
    terms = sorted(terms, key=lambda item: -abs(item[1]) if math.isfinite(item[1]) else 0.0)
    largest = max((abs(value) for _, value in terms if math.isfinite(value)), default=0.0)
    shown = terms if len(terms) <= most else terms[: most - 1]
    table = _block("reward terms", [], columns=3)
    for name, value in shown:
        share = abs(value) / largest if math.isfinite(value) and largest > 0 else 0.0
        bar = Text("▪" * max(round(TERM_BAR * share), int(share > 0)), style="green" if value > 0 else "red")
        table.add_row(name, f"{value:+.3f}", bar)
    if not terms:
        table.add_row("no episode has ended yet")
    if len(terms) > len(shown):
        table.add_row(f"and {len(terms) - len(shown)} more")
    return table


def _block(heading: str, rows: Sequence[tuple[str, RenderableType]], columns: int = 2) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for _ in range(columns - 2):
        table.add_column(no_wrap=True)
    table.add_row(Text(heading, style="bold not dim"))
    for name, value in rows:
        table.add_row(name, value)
    return table
