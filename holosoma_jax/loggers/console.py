"""The terminal: a live table with progress and ETA, or one line per iteration where there is no TTY."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from rich.console import Console, RenderableType
from rich.live import Live

from holosoma_jax.loggers import dashboard
from holosoma_jax.loggers.dashboard import FPS, LENGTH, REWARD, Metric, View, duration

Mode = Literal["auto", "live", "plain", "quiet"]

WINDOW = 20
"""writes over which the time of an iteration is averaged for the ETA"""
TREND = 16
"""writes whose mean rewards are shown as a trend"""


class ConsoleSink:
    """Shows how a run gets on; a sink, with `note` for everything that is not a number."""

    def __init__(
        self,
        total: int,
        completed: int = 0,
        *,
        title: str = "",
        unit: str = "iteration",
        learner: Sequence[Metric] = (),
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
          learner: what is shown of the learner.
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
        self._learner = learner
        self._clock, self._started, self._step = clock, clock(), completed
        self._best, self._scalars = best, dict[str, float]()
        self._times: deque[tuple[int, float]] = deque(maxlen=WINDOW)
        self._rewards: deque[float] = deque(maxlen=TREND)
        self._live: Live | None = None

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Show the numbers of iteration `step`."""
        self._step, self._scalars = step, dict(scalars)
        self._times.append((step, self._clock()))
        reward = _finite(scalars.get(REWARD), -math.inf)
        self._best = max(self._best, reward)
        if math.isfinite(reward):
            self._rewards.append(reward)
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

    def stopping(self, text: str) -> None:
        """`note`, where the next signal may end the process: the cursor that the table hides comes back."""
        self.note(text)
        if self._live is not None:
            self._console.show_cursor(True)

    def close(self) -> None:
        """Leave the last table on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def summary(self) -> str:
        """One line for the end: how far, how long, how good."""
        took = duration(self._clock() - self._started)
        best = f", best mean reward {self._best:.2f}" if math.isfinite(self._best) else ""
        return f"{self._unit.capitalize()} {self._step} of {self._total} after {took}{best}."

    @property
    def eta_s(self) -> float | None:
        """Seconds until iteration `total`, from the latest `WINDOW` writes; None before there are two."""
        if len(self._times) < 2:
            return None
        (first, began), (last, ended) = self._times[0], self._times[-1]
        return (self._total - last) * (ended - began) / max(1, last - first)

    def _line(self) -> str:
        shown = [f"{self._unit} {self._step}/{self._total}"]
        metrics = [("reward", REWARD, "{:.2f}"), ("length", LENGTH, "{:.0f}")]
        metrics += [(m.in_line, m.key, m.form) for m in self._learner if m.in_line is not None]
        for label, key, form in metrics:
            if key in self._scalars:
                shown.append(f"{label} {form.format(self._scalars[key])}")
        if math.isfinite(self._best):
            shown.insert(2, f"best {self._best:.2f}")
        if FPS in self._scalars:
            shown.append(f"{self._scalars[FPS]:,.0f} steps/s{self._split()}")
        shown.append(f"ETA {duration(self.eta_s)}")
        return " | ".join(shown)

    def _split(self) -> str:
        """' (physics 55%, environment 26%, learning 19%)', or '' where it is not known."""
        parts = dashboard.split_of(self._scalars)
        total = sum(parts.values())
        if len(parts) < 2 or total <= 0.0:
            return ""
        return f" ({', '.join(f'{name} {seconds / total:.0%}' for name, seconds in parts.items())})"

    def _table(self) -> RenderableType:
        eta, elapsed = self.eta_s, self._clock() - self._started
        if eta is not None:  # count down between writes
            eta = max(0.0, eta - (self._clock() - self._times[-1][1]))
        return dashboard.render(
            View(
                title=self._title,
                unit=self._unit,
                step=self._step,
                total=self._total,
                elapsed_s=elapsed,
                eta_s=eta,
                best=self._best,
                rewards=list(self._rewards),
                scalars=self._scalars,
                learner=self._learner,
                width=self._console.width,
                height=self._console.height,
            )
        )


def _finite(value: float | None, otherwise: float) -> float:
    return otherwise if value is None or not math.isfinite(value) else value
