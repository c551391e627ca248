"""The folder of a run: where everything goes, made once and passed down.

``logs/<project>/<UTC time>-<name>/`` holds ``config.yaml``, ``metrics.jsonl``, ``checkpoints/``,
``policies/``, ``videos/`` and, if something went wrong, ``nonfinite/``. It appears under its name
with the config already in it, so that a run killed at any moment can be resumed.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.runs import origin


@dataclass(frozen=True)
class RunDir:
    """Paths of a run."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """One folder a step."""
        return self.path / "checkpoints"

    @property
    def policies(self) -> Path:
        """ONNX files."""
        return self.path / "policies"

    @property
    def videos(self) -> Path:
        """MP4 files."""
        return self.path / "videos"

    @property
    def nonfinite(self) -> Path:
        """Reports of the guard."""
        return self.path / "nonfinite"

    @property
    def curve(self) -> Path:
        """The learning curve."""
        return self.path / "learning_curve.png"


def of(folder: Path) -> RunDir:
    """The run that `folder` is, or is the ``checkpoints`` of."""
    return RunDir(folder.parent if folder.name == "checkpoints" else folder)


def create(cfg: Config) -> RunDir:
    """A new folder with ``config.yaml`` in it; two runs started in the same second get two folders.

    Raises:
      ConfigError: ``training.output_dir`` cannot be written.
    """
    training = cfg.training
    project = Path(training.output_dir) / training.project
    stem = f"{datetime.now(UTC):%Y%m%d_%H%M%S}-{training.name}"
    try:
        project.mkdir(parents=True, exist_ok=True)
        hidden = project / f".{stem}.{os.getpid()}.tmp"
        hidden.mkdir()
        try:
            compose.save_yaml(cfg, hidden / "config.yaml")
            origin.mark(hidden)
            return RunDir(_claim(hidden, project, stem))
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    except OSError as error:
        raise unwritable(project, error) from None


def unwritable(path: Path, error: OSError) -> ConfigError:
    """The error for a new run that cannot be written at `path`."""
    return ConfigError(
        f"training.output_dir: cannot write to {path} ({error.strerror or error}). "
        "Pass --training.output-dir with a folder that you may write to."
    )


def _claim(hidden: Path, project: Path, stem: str) -> Path:
    """Rename `hidden` to the first free of stem, stem-2, stem-3, ..."""
    number = 1
    while True:
        path = project / (stem if number == 1 else f"{stem}-{number}")
        number += 1
        if path.exists():
            continue
        try:
            return hidden.rename(path)
        except OSError:
            if not path.exists():  # not a race that another run won
                raise
