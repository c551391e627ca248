"""Where the numbers of a run go: ``metrics.jsonl``, and TensorBoard or another service beside it.

A sink takes one set of scalars per iteration. Step k holds the numbers of the k-th iteration, so a
run that is resumed after k iterations goes on with step k + 1; whatever later steps an interrupted
session had written is dropped, and every file reads as if the run had never stopped.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from holosoma_jax.config import extras
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import LoggerConfig
from holosoma_jax.files import replacing
from holosoma_jax.loggers import wandb_sink

METRICS_FILE = "metrics.jsonl"
_FLUSH = 10.0
"""s between the moments at which TensorBoard's events reach the disk"""


class Sink(Protocol):
    """A place where numbers go."""

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Take in the numbers of iteration `step`."""
        ...

    def close(self) -> None:
        """Nothing follows."""
        ...


@runtime_checkable
class FileSink(Sink, Protocol):
    """A place where files go too."""

    def file(self, path: Path) -> None:
        """Take in a file or a folder of the run."""
        ...


def require(cfg: LoggerConfig) -> None:
    """Check, before anything is built, that the sink of `cfg` is there.

    Raises:
      ConfigError: its extra is not installed, or nobody is logged in.
    """
    package = {"wandb": "wandb", "tensorboard": "tensorboardX"}.get(cfg.type)
    if package is not None:
        extras.require(f"logger:{cfg.type}", package, "Or choose logger:console.")
    if cfg.type == "wandb":
        wandb_sink.require_login(cfg)


def make_sinks(
    cfg: LoggerConfig,
    run_dir: Path,
    *,
    completed: int = 0,
    config: Mapping[str, Any] | None = None,
    project: str = "default_project",
    say: Callable[[str], None] = print,
) -> list[Sink]:
    """The sinks that `cfg` asks for, beside the console (`holosoma_jax.loggers.console`).

    Args:
      cfg: 'disabled' gives none, 'console' the JSON lines only, 'tensorboard' its events too, 'wandb'
        a run there as well (and events where TensorBoard is installed).
      run_dir: folder of the run; exists.
      completed: iterations of the run that are kept; what the files hold of later ones is dropped.
      config: resolved, for services that show it.
      project: at a service, where `cfg` names none.
      say: gets the address of the run at a service.

    Raises:
      ConfigError: the extra that `cfg` needs is not installed, the service cannot be reached, or the
        folder cannot be written.
    """
    require(cfg)
    if cfg.type == "disabled":
        return []
    sinks: list[Sink] = []
    try:
        sinks.append(JsonlSink(run_dir / METRICS_FILE, completed))
        if cfg.type != "console" and extras.is_installed("tensorboardX"):
            sinks.append(TensorBoardSink(run_dir, completed))
        if cfg.type == "wandb":
            service = wandb_sink.WandbSink(
                cfg, run_dir, config or {}, project=project, completed=completed, say=say
            )
            sinks.append(service)
    except (OSError, ConfigError) as error:
        for sink in sinks:
            sink.close()
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{run_dir}: cannot be written ({error.strerror}). Choose another folder."
        ) from None
    return sinks


def share(sinks: Sequence[Sink], path: Path) -> None:
    """Give a new file or folder of the run to the sinks that take files."""
    for sink in sinks:
        if isinstance(sink, FileSink):
            sink.file(path)


class JsonlSink:
    """One JSON object a line: ``{"step": 3, "Train/mean_reward": 1.5, ...}``, flushed at once.

    A value that is not finite becomes null. A full disk costs lines and a warning, not the run.
    """

    def __init__(self, path: str | os.PathLike[str], completed: int = 0):
        """Open `path` for the steps after `completed`; raises OSError where it cannot be written."""
        self.path = Path(path)
        if self.path.exists():
            keep_steps(self.path, completed)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  # closed by `close`
        self._torn = False

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Append one line."""
        values = {key: float(value) for key, value in scalars.items()}
        row = {"step": step} | {key: value if math.isfinite(value) else None for key, value in values.items()}
        try:
            self._file.write(("\n" if self._torn else "") + json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()
            self._torn = False
        except OSError as error:
            self._torn = True  # part of the line may be there: start the next one on a new line
            warnings.warn(
                f"{self.path}: step {step} is lost ({error.strerror}).", RuntimeWarning, stacklevel=2
            )

    def close(self) -> None:
        """Close the file; what a full disk did not take has been said to be lost."""
        with contextlib.suppress(OSError):
            self._file.close()


class TensorBoardSink:
    """TensorBoard events; values that are not finite are left out.

    A full disk costs events and a warning, not the run. So events are written here and not by tensorboardX's
    thread: that one dies of an error, and then lets everybody wait who has another event for it.
    """

    def __init__(self, folder: str | os.PathLike[str], completed: int = 0):
        """Events go to `folder`; TensorBoard hides what older files there hold of later steps.

        Raises:
          OSError: it cannot be written.
        """
        self._folder, self._files, self._flushed = Path(folder), 0, -math.inf
        self._writer: Any = None  # of the file that is written now
        hide = {"session_log": _protocol().SessionLog(status=_protocol().SessionLog.START)}
        self._append([self._event(step=completed + 1, **hide)] if completed else [])

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add one point to each curve."""
        from tensorboardX.summary import scalar

        finite = {key: float(value) for key, value in scalars.items() if math.isfinite(value)}
        try:
            self._append([self._event(step=step, summary=scalar(k, v)) for k, v in finite.items()])
        except OSError as error:
            self.close()  # the file may end in half an event, and readers stop there: start another
            warnings.warn(
                f"{self._folder}: TensorBoard events of step {step} are lost ({error.strerror}).",
                RuntimeWarning,
                stacklevel=2,
            )

    def close(self) -> None:
        """Write what is pending."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()
            with contextlib.suppress(OSError):
                if not os.path.getsize(writer.path):  # nothing fitted, and there may be many such
                    os.unlink(writer.path)

    @staticmethod
    def _event(**fields: Any) -> Any:
        return _protocol().Event(wall_time=time.time(), **fields)

    def _append(self, events: Sequence[Any]) -> None:
        from tensorboardX.record_writer import RecordWriter

        if self._writer is None:
            self._files += 1
            name = (
                f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.{self._files}"
            )
            self._writer = RecordWriter(str(self._folder / name))
            events = [self._event(file_version="brain.Event:2"), *events]
        for event in events:
            self._writer.write(event.SerializeToString())
        if time.monotonic() - self._flushed > _FLUSH:
            self._writer.flush()
            self._flushed = time.monotonic()


def _protocol() -> Any:
    return import_module("tensorboardX.proto.event_pb2")  # made at run time, which type checkers do not see


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of a metrics file in order, null as NaN; lines that were cut short are left out."""
    with open(path, encoding="utf-8", errors="replace") as file:
        rows = [row for _, row in _rows(file)]
    return [{key: math.nan if value is None else value for key, value in row.items()} for row in rows]


def keep_steps(path: Path, completed: int) -> None:
    """Drop the rows of `path` after step `completed`, and lines that were cut short; atomically."""
    text = path.read_text(encoding="utf-8", errors="replace")
    kept = "".join(f"{line}\n" for line, row in _rows(text.splitlines()) if row["step"] <= completed)
    if kept == text:
        return
    with replacing(path) as temporary:
        temporary.write_text(kept, encoding="utf-8")


def _rows(lines: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line that is a whole row, and the row."""
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            yield line.rstrip("\n"), row
