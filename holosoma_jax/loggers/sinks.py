"""Where the numbers of a run go: ``metrics.jsonl``, and TensorBoard or another service beside it.

A sink takes one set of scalars per iteration. Step k holds the numbers of the k-th iteration, so a
run that is resumed after k iterations continues with step k + 1; whatever later steps an interrupted
session had written is dropped, and every file reads as if the run had never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from holosoma_jax.config import extras
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import LoggerConfig
from holosoma_jax.loggers import wandb_sink
from holosoma_jax.loggers.jsonl import JsonlSink
from holosoma_jax.loggers.tensorboard import TensorBoardSink

METRICS_FILE = "metrics.jsonl"


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
    restore: Callable[[], bool] | None = None,
) -> list[Sink]:
    """The sinks that `cfg` asks for, beside the console (`holosoma_jax.loggers.console`).

    Args:
      cfg: 'disabled' gives none, 'console' the JSON lines only, 'tensorboard' its events too, 'wandb'
        a run there as well (and events where TensorBoard is installed).
      run_dir: folder of the run; exists.
      completed: iterations of the run that are kept; what the files hold of later ones is dropped.
      config: resolved, for services that show it.
      project: at a service, where `cfg` names none.
      restore: makes the folder again if it was removed meanwhile (`runs.OpenedRun.restore`).

    Raises:
      ConfigError: the extra that `cfg` needs is not installed, the service cannot be reached, or the
        folder cannot be written.
    """
    require(cfg)
    if cfg.type == "disabled":
        return []
    sinks: list[Sink] = []
    try:
        sinks.append(JsonlSink(run_dir / METRICS_FILE, completed, restore))
        if cfg.type != "console" and extras.is_installed("tensorboardX"):
            sinks.append(TensorBoardSink(run_dir, completed))
        if cfg.type == "wandb":
            sinks.append(
                wandb_sink.WandbSink(cfg, run_dir, config or {}, project=project, completed=completed)
            )
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
