"""Weights & Biases: numbers, videos, checkpoints and policies of a run, online or for `wandb sync`.

Curves carry the names of the other sinks, with the iteration as step and as ``global_step``. Files
keep the names they have in the run's folder (``config.yaml``, ``policies/300.onnx``,
``videos/0000100.mp4``), and a checkpoint's folder becomes one file, ``checkpoints/300.tar``; so that
``wandb://ENTITY/PROJECT/RUN/checkpoints/300.tar`` is the checkpoint again (`loggers.wandb_files`).
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import LoggerConfig
from holosoma_jax.loggers.wandb_files import first_line, is_login

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

STATE_FILE = "wandb.json"
"""In the run's folder: which wandb run it is, so that a resumed run continues there."""
VIDEO_KEY = "Training rollout"
INIT_TIMEOUT_S = 60.0


def mode_of(cfg: LoggerConfig) -> str:
    """'online', 'offline' or 'disabled': what the config says, or WANDB_MODE where it says online."""
    return os.environ.get("WANDB_MODE", "online") if cfg.mode == "online" else cfg.mode


def require_login(cfg: LoggerConfig) -> None:
    """Ask for the API key now (on a terminal wandb prompts for it), not when everything is built.

    Raises:
      ConfigError: there is none, or it is not well formed.
    """
    if mode_of(cfg) != "online":
        return
    import wandb

    try:
        wandb.login(verify=False)
    except Exception as error:
        raise _refused(error) from None


class WandbSink:
    """A run at Weights & Biases. Once it has begun, nothing that fails there stops the training."""

    def __init__(
        self,
        cfg: LoggerConfig,
        folder: Path,
        config: Mapping[str, Any],
        *,
        project: str,
        completed: int = 0,
    ):
        """Begin a run, or continue with the one that `folder` belongs to.

        Args:
          cfg: entity, group, tags, mode, ...
          folder: of the run.
          config: the resolved config, shown beside the curves.
          project: where ``cfg.project`` is None.
          completed: iterations that are done; above 0, the wandb run of `folder` is continued.

        Raises:
          ConfigError: no login, no network, or no such entity.
        """
        import wandb

        self.folder, self._broken = folder, False
        self._videos: list[Path] = []
        before = _read_state(folder) if completed else {}
        place = Path(cfg.dir) if cfg.dir else folder / ".wandb"
        mode = mode_of(cfg)
        try:
            place.mkdir(parents=True, exist_ok=True)
            self._run: wandb.Run = wandb.init(
                project=cfg.project or project,
                entity=cfg.entity,
                group=cfg.group,
                tags=list(cfg.tags),
                name=cfg.name or folder.name,
                id=before.get("id"),
                resume="allow" if before and mode == "online" else None,
                config=dict(config),
                dir=str(place),
                mode=mode,  # type: ignore[arg-type]  # WANDB_MODE is any text; wandb checks it
                settings=wandb.Settings(
                    silent=True,  # two lines of ours instead of ten
                    console="off",  # a live table would be uploaded frame by frame
                    init_timeout=INIT_TIMEOUT_S,
                ),
            )
        except OSError as error:
            raise ConfigError(
                f"logger.dir: cannot write to {place} ({error.strerror or error}). Choose another folder."
            ) from None
        except Exception as error:
            raise _refused(error) from None
        if mode == "disabled":  # wandb takes everything and does nothing
            return
        self._attempt("step metric", lambda: self._run.define_metric("*", step_metric="global_step"))
        self._attempt(STATE_FILE, self._write_state)
        self.file(folder / "config.yaml")
        log.info("wandb: %s", self._address())

    @property
    def run_path(self) -> str:
        """'entity/project/run_id' (offline: 'project/run_id')."""
        return self._run.path

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add one point to each curve; values that are not finite are left out."""
        self._videos = []
        row = {key: float(value) for key, value in scalars.items() if math.isfinite(value)}
        self._attempt(f"step {step}", lambda: self._run.log(row | {"global_step": step}, step=step))

    def file(self, path: Path) -> None:
        """Upload what the run's folder now holds under `path`: a file, or a folder as one ``.tar``.

        A video goes beside the curves, at the step that is being logged.
        """
        self._attempt(path.name, lambda: self._show(path) if path.suffix == ".mp4" else self._upload(path))

    def close(self) -> None:
        """Wait until everything is uploaded, or, offline, say how to upload it later."""
        offline, folder = self._run.offline, Path(self._run.dir).parent
        self._attempt("the end of the run", self._run.finish)
        if offline:
            log.info("wandb: upload this run later with: wandb sync %s", folder)

    def _show(self, path: Path) -> None:
        import wandb

        # A step has one value of each key: a second video before the next step would replace the first.
        self._videos.append(path)
        videos = [wandb.Video(str(each), format="mp4") for each in self._videos]
        self._run.log({VIDEO_KEY: videos if len(videos) > 1 else videos[0]}, commit=False)

    def _upload(self, path: Path) -> None:
        name = path.relative_to(self.folder)
        if path.is_dir():
            name = name.with_name(f"{name.name}.tar")
        inside = Path(self._run.dir) / name
        inside.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            with tarfile.open(inside, "w") as archive:
                archive.add(path, arcname=path.name)
        else:
            shutil.copyfile(path, inside)
        self._run.save(str(inside), base_path=self._run.dir, policy="now")

    def _write_state(self) -> None:
        run = self._run
        state = {"id": run.id, "path": run.path, "url": None if run.offline else run.url}
        (self.folder / STATE_FILE).write_text(json.dumps(state) + "\n")

    def _address(self) -> str:
        return str(Path(self._run.dir).parent) if self._run.offline else str(self._run.url)

    def _attempt(self, what: str, act: Callable[[], object]) -> None:
        """Do it; a failure is one warning for the whole run, since the next calls fail the same way."""
        try:
            act()
        except Exception as error:
            if not self._broken:
                self._broken = True
                log.warning(
                    "wandb: %s was not taken (%s). The run continues; other sinks are complete.",
                    what,
                    first_line(error),
                )


def run_path(folder: Path) -> str | None:
    """'entity/project/run_id' of the wandb run that the run in `folder` is logged to.

    None where there is none, or where an offline run does not know its entity yet.
    """
    path = str(_read_state(folder).get("path", ""))
    return path if path.count("/") == 2 else None


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state = json.loads((folder / STATE_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _refused(error: Exception) -> ConfigError:
    """The error for a run that cannot begin, with what to do about it."""
    cause = first_line(error)
    login = is_login(cause) or any(code in cause for code in ("401", "403", "permission"))
    fix = (
        "Log in with `wandb login` or set WANDB_API_KEY" if login else "Check the network and --logger.entity"
    )
    return ConfigError(f"logger:wandb: {cause}. {fix}; or use --logger.mode offline, or logger:tensorboard.")
