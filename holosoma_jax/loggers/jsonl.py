"""``metrics.jsonl``: the numbers of a run, one JSON object a line."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from holosoma_jax.files import replacing

log = logging.getLogger(__name__)


class JsonlSink:
    """One JSON object a line: ``{"step": 3, "Train/mean_reward": 1.5, ...}``, flushed at once.

    A value that is not finite becomes null. A full disk costs lines and a warning, not the run; if the file
    is removed meanwhile, the lines until then are gone, and it is begun again. Where it was moved and another
    took its name, the one that was opened is continued.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        completed: int = 0,
        restore: Callable[[], bool] | None = None,
    ):
        """Open `path` for the steps after `completed`.

        Args:
          path: made, or continued.
          completed: iterations whose lines are kept.
          restore: called before the file is begun again; makes its folder, or says that it is another's now.

        Raises:
          OSError: it cannot be written.
        """
        self.path, self._restore = Path(path), restore
        if self.path.exists():
            keep_steps(self.path, completed)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  # closed by `close`
        self._torn = False

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Append one line."""
        values = {key: float(value) for key, value in scalars.items()}
        row = {"step": step} | {key: value if math.isfinite(value) else None for key, value in values.items()}
        try:
            if not self.path.exists():
                self._begin_again(step)
            self._file.write(("\n" if self._torn else "") + json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()
            self._torn = False
        except OSError as error:
            self._torn = True  # part of the line may be there: start the next one on a new line
            log.warning("%s: step %d is lost (%s).", self.path, step, error.strerror)

    def _begin_again(self, step: int) -> None:
        if self._restore is not None and not self._restore():
            return
        log.warning(
            "%s was removed while the run was in progress; it is begun again with step %d.", self.path, step
        )
        self.close()
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  # closed by `close`
        self._torn = False

    def close(self) -> None:
        """Close the file; what a full disk did not take has been said to be lost."""
        with contextlib.suppress(OSError):
            self._file.close()


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of a metrics file in order, null as NaN; lines that were cut short are left out."""
    with open(path, encoding="utf-8", errors="replace") as file:
        rows = [row for _, row in _rows(file)]
    return [{key: math.nan if value is None else value for key, value in row.items()} for row in rows]


def keep_steps(path: Path, completed: int) -> None:
    """Drop the rows of `path` after step `completed`, and lines that were cut short; atomically."""
    text = path.read_text(encoding="utf-8", errors="replace")
    whole_rows = "".join(f"{line}\n" for line, row in _rows(text.splitlines()) if row["step"] <= completed)
    if whole_rows == text:
        return
    with replacing(path) as temporary:
        temporary.write_text(whole_rows, encoding="utf-8")


def _rows(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line that is a whole row, and the row."""
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            yield line.rstrip("\n"), row
