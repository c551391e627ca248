"""The terminal: a live table with progress and ETA, or one line per iteration where there is no TTY."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

Mode = Literal["auto", "live", "plain", "quiet"]

REWARD, LENGTH, FPS = "Train/mean_reward", "Train/mean_episode_length", "Perf/total_fps"
WINDOW = 20
"""writes over which the time of an iteration is averaged for the ETA"""
MAX_TERMS = 14
"""reward terms shown, the largest first"""
_ROWS = (
    ("mean reward", REWARD, "{:.2f}"),
    ("episode length", LENGTH, "{:.0f} steps"),
    ("samples", "Train/num_samples", "{:,.0f}"),
    ("speed", FPS, "{:,.0f} steps/s"),
    ("collection", "Perf/collection_time", "{:.2f} s"),
    ("learning", "Perf/learning_time", "{:.2f} s"),
    ("learning rate", "Loss/actor_learning_rate", "{:.1e}"),
    ("KL", "Loss/KL", "{:.4f}"),
    ("value loss", "Loss/Value", "{:.4f}"),
    ("surrogate loss", "Loss/Surrogate", "{:.4f}"),
    ("entropy", "Loss/Entropy", "{:.2f}"),
    ("noise std", "Policy/mean_noise_std", "{:.3f}"),
    ("critic loss", "Loss/qf_loss", "{:.4f}"),
    ("actor loss", "Loss/actor_loss", "{:.4f}"),
    ("temperature", "Loss/alpha_value", "{:.2e}"),
    ("policy entropy", "Loss/policy_entropy", "{:.2f}"),
    ("action std", "Loss/action_std", "{:.3f}"),
    ("penalty scale", "Env/penalty_scale", "{:.2f}"),
)


class ConsoleSink:
    """Shows how a run gets on; a sink, with `note` for everything that is not a number."""

    def __init__(
        self,
        total: int,
        completed: int = 0,
        *,
        title: str = "",
        unit: str = "iteration",
        mode: Mode = "auto",
        console: Console | None = None,
        best: float = -math.inf,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Nothing is shown before the first `write`.

        Args:
          total: iterations of the whole run.
          completed: of these, done before this session.
          title: of the table; the run's folder, say.
          unit: what an iteration of this run is called.
          mode: 'live' redraws a table, 'plain' prints a line per write, 'quiet' shows no numbers;
            'auto' is live on a terminal and plain elsewhere.
          console: where to; default: stdout.
          best: highest mean reward before this session.
          clock: seconds.
        """
        self._console = console or Console()
        if mode == "auto":
            mode = "live" if self._console.is_terminal and not self._console.is_dumb_terminal else "plain"
        self._mode, self._total, self._title, self._unit = mode, total, title, unit
        self._clock, self._started, self._step = clock, clock(), completed
        self._best, self._scalars = best, dict[str, float]()
        self._times: deque[tuple[int, float]] = deque(maxlen=WINDOW)
        self._live: Live | None = None

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Show the numbers of iteration `step`."""
        self._step, self._scalars = step, dict(scalars)
        self._times.append((step, self._clock()))
        self._best = max(self._best, _finite(scalars.get(REWARD), -math.inf))
        if self._mode == "plain":
            self._console.print(self._line(), highlight=False, soft_wrap=True, markup=False)
        elif self._mode == "live":
            if self._live is None:
                self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=2)
                self._live.start()
            self._live.refresh()

    def note(self, text: str) -> None:
        """Print a line above the table; in every mode."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def close(self) -> None:
        """Leave the last table on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def eta_s(self) -> float | None:
        """Seconds until iteration `total`, from the latest `WINDOW` writes; None before there are two."""
        if len(self._times) < 2:
            return None
        (first, began), (last, ended) = self._times[0], self._times[-1]
        return (self._total - last) * (ended - began) / max(1, last - first)

    def _line(self) -> str:
        shown = [f"{self._unit} {self._step}/{self._total}"]
        for label, key, form in (
            ("reward", REWARD, "{:.2f}"),
            ("length", LENGTH, "{:.0f}"),
            ("KL", "Loss/KL", "{:.4f}"),
            ("lr", "Loss/actor_learning_rate", "{:.1e}"),
            ("critic loss", "Loss/qf_loss", "{:.3f}"),
            ("alpha", "Loss/alpha_value", "{:.1e}"),
        ):
            if key in self._scalars:
                shown.append(f"{label} {form.format(self._scalars[key])}")
        if math.isfinite(self._best):
            shown.insert(2, f"best {self._best:.2f}")
        if FPS in self._scalars:
            shown.append(f"{self._scalars[FPS]:,.0f} steps/s")
        shown.append(f"ETA {_duration(self.eta_s)}")
        return " | ".join(shown)

    def _table(self) -> RenderableType:
        eta, elapsed = self.eta_s, self._clock() - self._started
        if eta is not None:  # count down between writes
            eta = max(0.0, eta - (self._clock() - self._times[-1][1]))
        head = Table.grid(expand=True, padding=(0, 1))
        head.add_column(no_wrap=True)
        head.add_column(ratio=1)
        head.add_column(justify="right", no_wrap=True)
        head.add_row(
            Text(f"{self._unit} {self._step}/{self._total}", style="bold"),
            ProgressBar(total=max(1, self._total), completed=self._step),
            Text(f"{_duration(elapsed)} elapsed, {_duration(eta)} left"),
        )
        numbers = [
            (name, form.format(self._scalars[key])) for name, key, form in _ROWS if key in self._scalars
        ]
        if math.isfinite(self._best):
            numbers.insert(1, ("best so far", f"{self._best:.2f}"))
        body = Table.grid(expand=True, padding=(0, 2))
        body.add_column(ratio=1)
        body.add_column(ratio=1)
        body.add_row(_pairs("", numbers), _pairs("reward terms", self._terms()))
        title = Text(self._title, style="bold") if self._title else None
        return Panel(Group(head, Text(), body), title=title, border_style="cyan", padding=(1, 2))

    def _terms(self) -> list[tuple[str, str]]:
        prefix = "Episode/rew_"
        terms = [(k.removeprefix(prefix), v) for k, v in self._scalars.items() if k.startswith(prefix)]
        terms.sort(key=lambda item: -abs(_finite(item[1], 0.0)))
        return [(name, f"{value:+.3f}") for name, value in terms[:MAX_TERMS]]


def _pairs(heading: str, rows: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    if heading:
        table.add_row(Text(heading, style="bold not dim"), "")
    for name, value in rows:
        table.add_row(name, value)
    return table


def _finite(value: float | None, otherwise: float) -> float:
    return otherwise if value is None or not math.isfinite(value) else value


def _duration(seconds: float | None) -> str:
    return "..." if seconds is None else str(timedelta(seconds=round(seconds)))
