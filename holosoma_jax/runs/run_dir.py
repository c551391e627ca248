"""The folder of a run: where everything goes, made once and passed down.

``logs/<project>/<UTC time>-<name>/`` holds ``config.yaml``, ``metrics.jsonl``, ``checkpoints/``,
``policies/``, ``videos/`` and, if something went wrong, ``nonfinite/``. It appears under its name
with the config already in it, so that a run killed at any moment can be resumed.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.files import replacing, require_writable
from holosoma_jax.loggers import wandb_files
from holosoma_jax.runs import checkpoint


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


@dataclass(frozen=True)
class Start:
    """Where a session begins: its folder, and the checkpoint to go on from."""

    run: RunDir
    checkpoint: Path | None
    """None: from the beginning"""
    warm: Path | None = None
    """the checkpoint whose learner a beginning run takes over"""


def begin(cfg: Config) -> Start:
    """The folder that `cfg` asks for.

    Without ``training.checkpoint``: a new one. With a run directory: that one again, from its newest
    checkpoint (from the beginning if there is none yet); nothing is written there until `reopen`.
    With one ``checkpoints/<step>`` folder, or one at Weights & Biases: a new one, which starts there;
    the old run stays as it is. Where there is no checkpoint, ``training.warm_start`` is looked for.

    Raises:
      ConfigError: nothing can be written there, or the checkpoint cannot be found.
    """
    wanted = cfg.training.checkpoint
    if wanted is None:
        warm = _warm(cfg)
        return Start(create(cfg), None, warm)
    if wandb_files.is_uri(wanted):
        wanted = str(wandb_files.fetch(wanted, print))
    found = checkpoint.resolve(wanted)
    if found is not None and found.resolve() == Path(wanted).resolve():
        checkpoint.read_meta(found)
        return Start(create(cfg), found)
    return Start(_run_of(Path(wanted)), found, None if found else _warm(cfg))


def _warm(cfg: Config) -> Path | None:
    """The checkpoint that ``training.warm_start`` means, if it is given."""
    wanted = cfg.training.warm_start
    if wanted is None:
        return None
    path = wandb_files.fetch(wanted, print) if wandb_files.is_uri(wanted) else wanted
    found = checkpoint.resolve(path, "training.warm_start")
    if found is None:
        raise ConfigError(f"training.warm_start: {wanted} has saved no checkpoint yet; name another run.")
    checkpoint.read_meta(found)
    return found


def require(cfg: Config) -> None:
    """See, before anything is built, that `begin` will find what it needs.

    Raises:
      ConfigError: as `begin`; what is at Weights & Biases is not looked at.
    """
    wanted = cfg.training.checkpoint
    if wanted is not None and not wandb_files.is_uri(wanted):
        checkpoint.resolve(wanted)
    if wanted is None:
        if not wandb_files.is_uri(cfg.training.warm_start or ""):
            _warm(cfg)
        project = Path(cfg.training.output_dir) / cfg.training.project
        try:
            require_writable(project)
        except OSError as error:
            raise _unwritable(project, error) from None


def reopen(run: RunDir, cfg: Config) -> None:
    """Prepare `run` for another session: clear interrupted saves, record the settings now in force.

    Raises:
      ConfigError: it cannot be written.
    """
    try:
        checkpoint.clean(run.checkpoints)
        plain = replace(cfg, training=replace(cfg.training, checkpoint=None))
        with replacing(run.config) as hidden:
            compose.save_yaml(plain, hidden)
    except OSError as error:
        if cfg.training.checkpoint is None:
            raise _unwritable(run.path, error) from None
        raise ConfigError(
            f"training.checkpoint: cannot write to {run.path} ({error.strerror or error}). To continue "
            f"elsewhere, pass one of its checkpoints/<step> folders and --training.output-dir."
        ) from None


def saved_config(path: str | Path) -> dict[str, object]:
    """The resolved config of the run or checkpoint at `path` (or ``wandb://...``), as a plain mapping.

    Without the checkpoint that its last session went on from: whoever begins with this config says where.

    Raises:
      ConfigError: there is none.
    """
    if wandb_files.is_uri(path):
        path = wandb_files.fetch(str(path), print)
    found = checkpoint.resolve(path)
    if found is not None:
        config = dict(checkpoint.read_meta(found).config)
        return config | {"training": config["training"] | {"checkpoint": None}}
    run = _run_of(Path(path))
    if not run.config.is_file():
        raise ConfigError(f"{run.path} has no complete checkpoint and no config.yaml; start a new run.")
    return compose.to_mapping(compose.load(["--config", str(run.config)]))


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
            return RunDir(_claim(hidden, project, stem))
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    except OSError as error:
        raise _unwritable(project, error) from None


def _unwritable(path: Path, error: OSError) -> ConfigError:
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


def _run_of(folder: Path) -> RunDir:
    """The run that `folder` is, or is the ``checkpoints`` of."""
    return RunDir(folder.parent if folder.name == "checkpoints" else folder)
