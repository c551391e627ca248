"""Opening a run: which folder, which checkpoint, and nobody else in it meanwhile."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from holosoma_jax import signals
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.files import replacing
from holosoma_jax.parallel import processes
from holosoma_jax.runs import (
    checkpoint,
    origin,
    policy_only,
    robot_files,
    run_dir,
    saved_steps,
    terrain_file,
)
from holosoma_jax.runs.checkpoint import DamagedCheckpoint
from holosoma_jax.runs.lock import FILE as LOCK_FILE
from holosoma_jax.runs.lock import Lock, locked
from holosoma_jax.runs.run_config import local
from holosoma_jax.runs.run_dir import RunDir

log = logging.getLogger(__name__)

_FROM_THE_START = frozenset({"config.yaml", LOCK_FILE, origin.FILE})


@dataclass(frozen=True)
class OpenedRun:
    """A run that this session may write to."""

    folder: RunDir
    checkpoint: Path | None
    """the checkpoint folder to restore; None: from the beginning"""
    warm_start: Path | None
    """the checkpoint whose learner a beginning run takes over"""
    config: Config
    """the settings in force, as ``config.yaml`` records them: without the checkpoint they began with"""
    lock: Lock | None = field(default=None, compare=False, repr=False)
    """of `folder`; the main process has it"""

    def restore(self) -> bool:
        """Make the folder and its ``config.yaml`` again if somebody removed them while the run continues.

        False, and nothing is written, where the folder of that name is not the run's (`is_lost`).

        Raises:
          OSError: they cannot be written.
        """
        if self.is_lost():
            return False
        if self.folder.config.exists():
            return True
        moved = self.lock.place.moved_to if self.lock is not None else None
        log.warning(
            "%s was removed while the run was in progress; it is made again, without what it held%s.",
            self.folder.path,
            f", which is in {moved} now" if moved not in (None, self.folder.path) else "",
        )
        self.folder.path.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder.config) as hidden:
            compose.save_yaml(self.config, hidden)
        origin.mark(self.folder.path)
        if self.lock is not None:
            with contextlib.suppress(ConfigError):  # another process was faster: from now on, the run is lost
                self.lock.renew()
        return True

    def is_lost(self) -> bool:
        """Whether `folder` has become another folder's path, or another process has locked it; in the main process."""
        return self.lock is not None and self.lock.is_lost()

    def save_elsewhere(self) -> RunDir:
        """Where a run that `is_lost` can be saved: its own folder, wherever that was moved to, or a new one.

        Raises:
          ConfigError: a new one cannot be written.
        """
        assert self.lock is not None
        moved = self.lock.moved_to
        found = RunDir(moved) if moved is not None else run_dir.create(self.config)
        if moved is None:
            with contextlib.suppress(OSError):  # they may have been in the folder that is gone
                robot_files.keep(self.config.robot.asset, found.path)
                terrain_file.keep(self.config.terrain, found.path)
        log.warning(
            "%s is no longer the folder of this run: it was replaced, or another process has locked it. Nothing "
            "more is written there. The training ends, and its state is saved in %s.",
            self.folder.path,
            found.path,
        )
        return found


@contextlib.contextmanager
def open_run(cfg: Config) -> Iterator[OpenedRun]:
    """The run that `cfg` begins or continues, locked while the context lasts.

    Without ``training.checkpoint``: a new folder. With a run directory: that one again, from its newest
    checkpoint (from the beginning if there is none yet). With one ``checkpoints/<step>`` folder, or one
    at Weights & Biases: a new folder, which starts there; the old run stays as it is. Where there is no
    checkpoint, ``training.warm_start`` is looked for. ``config.yaml`` records the settings.

    If the body raises ConfigError (the checkpoint does not fit), a continued run is put back as it was.
    A new folder in which nothing has been left yet is removed on any error.

    With several processes all call it; the main one finds and locks the run, and tells the others.

    Raises:
      ConfigError: nothing can be written there, the checkpoint cannot be found, or another process
        writes into this run.
    """
    with contextlib.ExitStack() as stack:
        locks: list[Lock] = []

        def find() -> str:
            lock, *paths = stack.enter_context(_opened(cfg))
            locks.append(lock)
            return json.dumps([path and str(path) for path in paths])

        folder, *found = json.loads(processes.from_main(find))
        saved, warm = (path and Path(path) for path in found)
        yield OpenedRun(RunDir(Path(folder)), saved, warm, _recorded(cfg), *locks)


@contextlib.contextmanager
def _opened(cfg: Config) -> Iterator[tuple[Lock, Path, Path | None, Path | None]]:
    """`open_run` in the main process: lock, folder, checkpoint, warm start."""
    wanted, found = cfg.training.checkpoint, None
    if wanted is not None:
        asked, wanted = wanted, str(local(wanted, "training.checkpoint"))
        found = saved_steps.resolve(wanted)
        if found is not None and _is_policy_alone(found):
            raise ConfigError(
                f"training.checkpoint: {asked} holds a policy alone, so there is nothing to resume. Begin a new run "
                f"with it: --training.warm-start {asked}."
            )
        if found is None or found.resolve() != Path(wanted).resolve():
            run = run_dir.of(Path(wanted))
            with _continued(cfg, run) as (lock, found):
                yield lock, run.path, found, None if found else _warm_start(cfg)
            return
        checkpoint.read_meta(found)
    warm = None if found else _warm_start(cfg)
    with _created(cfg) as (lock, run):
        yield lock, run.path, found, warm


def _is_policy_alone(found: Path) -> bool:
    """Whether checkpoint `found` holds a policy alone; False where it is damaged, which is told where it is read."""
    try:
        return policy_only.is_alone(checkpoint.read_meta(found))
    except DamagedCheckpoint:
        return False


@contextlib.contextmanager
def _created(cfg: Config) -> Iterator[tuple[Lock, RunDir]]:
    """A new run; without it again if the body fails before it leaves anything there."""
    run = run_dir.create(_recorded(cfg))

    def remove_if_empty() -> None:
        if not any(_has_content(path) for path in run.path.iterdir()):
            shutil.rmtree(run.path, ignore_errors=True)

    try:
        with signals.cleaned_up(remove_if_empty), contextlib.ExitStack() as held:
            try:
                lock = held.enter_context(locked(run.path))
                robot_files.keep(cfg.robot.asset, run.path)
                terrain_file.keep(cfg.terrain, run.path)
            except OSError as error:
                raise run_dir.unwritable(run.path, error) from None
            yield lock, run
    except BaseException:
        remove_if_empty()
        raise


@contextlib.contextmanager
def _continued(cfg: Config, run: RunDir) -> Iterator[tuple[Lock, Path | None]]:
    """The run `run` with the settings of `cfg`: its lock, and its newest sound checkpoint.

    Damaged ones above that are set aside. All is put back if the body raises ConfigError.
    """
    origin.require_no_way_out(run.path)
    with contextlib.ExitStack() as held:
        try:
            lock = held.enter_context(locked(run.path))
            undo = held.enter_context(contextlib.ExitStack())
            checkpoint.clean(run.checkpoints)
            found = _sound(run, undo)
            _record(cfg, run, undo)
        except OSError as error:
            raise ConfigError(
                f"training.checkpoint: cannot write to {run.path} ({error.strerror or error}). To continue "
                f"elsewhere, pass one of its checkpoints/<step> folders and --training.output-dir."
            ) from None
        try:
            yield lock, found
        except ConfigError:
            undo.close()
            raise
        finally:
            undo.pop_all()


def _sound(run: RunDir, undo: contextlib.ExitStack) -> Path | None:
    """The newest sound checkpoint of `run`; damaged ones above it are set aside, with a warning."""
    found, damage = saved_steps.newest_sound(run.checkpoints)
    above = saved_steps.numbered(run.checkpoints)[::-1][: len(damage)]
    if damage and found is None:
        raise ConfigError(f"training.checkpoint: no checkpoint of {run.path} is sound. {damage[0]}")
    for path, error in zip(above, damage, strict=True):
        aside = saved_steps.set_aside(path)
        undo.callback(aside.rename, path)
        log.warning("%s Continuing from %s; the damaged one is kept as %s.", error.damage, found, aside)
    return found


def _record(cfg: Config, run: RunDir, undo: contextlib.ExitStack) -> None:
    """Let ``config.yaml`` state the settings now in force."""
    if run.config.exists():
        undo.callback(_replace, run.config, run.config.read_bytes())
    with replacing(run.config) as hidden:
        compose.save_yaml(_recorded(cfg), hidden)


def _replace(path: Path, content: bytes) -> None:
    with replacing(path) as hidden:
        hidden.write_bytes(content)


def _has_content(path: Path) -> bool:
    """Whether `path`, in a run's folder, is more than what every run has from the beginning."""
    if path.is_dir():
        return path.name not in (robot_files.FOLDER, terrain_file.FOLDER)
    return path.name not in _FROM_THE_START and path.stat().st_size > 0


def _recorded(cfg: Config) -> Config:
    """`cfg` without the checkpoint to resume from: whoever continues with this config names another."""
    return replace(cfg, training=replace(cfg.training, checkpoint=None))


def _warm_start(cfg: Config) -> Path | None:
    """The checkpoint that ``training.warm_start`` means, if it is given."""
    wanted = cfg.training.warm_start
    if wanted is None:
        return None
    found = saved_steps.resolve(local(wanted, "training.warm_start"), "training.warm_start")
    if found is None:
        raise ConfigError(f"training.warm_start: {wanted} has saved no checkpoint yet; name another run.")
    checkpoint.read_meta(found)
    return found
