"""Checkpoints: everything that a run needs to continue as if it had never stopped, in one folder.

``checkpoints/<step>/`` holds one Orbax tree an item (learner, env, physics, ...) and ``meta.json``
(`runs.meta`): what the run was, the shape of every array, a SHA-256 of every file. The folder is written
under another name and renamed when it is complete, so that a process may die at any moment. The digests
are checked before anything is read, so that damage is one sentence.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.parallel import processes
from holosoma_jax.runs import saved_steps, store
from holosoma_jax.runs.meta import DamagedCheckpoint, Leaf, Meta, describe, read_meta, seal, verify
from holosoma_jax.runs.store import Retention, clean

__all__ = [
    "BrokenSave",
    "DamagedCheckpoint",
    "Meta",
    "Retention",
    "SaveError",
    "clean",
    "describe",
    "load",
    "read_meta",
    "require",
    "save",
    "verify",
]

log = logging.getLogger(__name__)


class SaveError(RuntimeError):
    """A checkpoint could not be written; earlier ones are untouched."""


class BrokenSave(RuntimeError):
    """A process failed in the middle of a save that several write together; it cannot meet the others again."""


def save(
    folder: Path,
    items: Mapping[str, Any],
    meta: Meta,
    retention: Retention = Retention(),  # noqa: B008
) -> Path:
    """Write `items` (pytrees of arrays, typed keys allowed) as ``folder/<meta.step>``.

    With several processes all call it, on one file system, with global arrays (`parallel.global_arrays`).
    Older steps that `retention` does not keep are removed once the new one is there. A step of that number
    that is sound already stays; a damaged one is set aside.

    Returns the new folder, or the one that was there.

    Raises:
      SaveError: the disk is full or not writable. Nothing that was there is harmed.
      BrokenSave: likewise, of several processes in this one alone, while they were writing. The run must end;
        the others notice that this one has gone.
    """
    final, token = folder / str(meta.step), ""
    described = replace(meta, arrays={name: describe(tree) for name, tree in items.items()})

    def prepare() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if final.exists() and not saved_steps.is_sound(final):
            saved_steps.set_aside(final)

    def room() -> None:
        needed = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(items))
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise OSError(errno.ENOSPC, f"{needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free")

    def write() -> None:
        try:
            store.write(
                folder,
                meta.step,
                items,
                lambda partial: seal(partial, described),
                token=token,
                retention=retention,
            )
        except OSError as error:
            if not final.exists():
                raise
            log.warning("%s: an old checkpoint could not be removed (%s).", folder, _system_error(error))

    try:
        _attempt(prepare if processes.is_main() else _nothing, final)
        token = processes.from_main(lambda: "" if final.exists() else secrets.token_hex(4))
        if not token:
            return final
        if processes.size() == 1:
            _attempt(write, final)
        else:
            _attempt(room, final)  # found out before they write: from there they can continue
            _together(write, final)
    finally:
        if token and processes.is_main():
            shutil.rmtree(folder / store.partial_name(meta.step, token), ignore_errors=True)
    return final


def _nothing() -> None:
    pass


def _attempt(part: Callable[[], None], final: Path) -> None:
    """Do a part of a save; all processes come back together, with a SaveError if it failed in one."""
    reason, cause = None, None
    try:
        part()
    except (OSError, ValueError) as error:
        reason, cause = _system_error(error), error
        if reason is None:
            raise
    if processes.largest(int(cause is not None)):
        reason = reason or "another process could not"
        raise SaveError(f"could not write checkpoint {final}: {reason}") from cause


def _together(write: Callable[[], None], final: Path) -> None:
    """The part in which Orbax lets the processes meet: one that fails leaves the others in one of its meetings."""
    try:
        write()
    except (OSError, ValueError) as error:
        reason = _system_error(error)
        if reason is None:
            raise
        raise BrokenSave(
            f"process {processes.index()} could not write its part of checkpoint {final}: {reason}. Resume from the "
            "checkpoint before it."
        ) from error


def load(path: Path, templates: Mapping[str, Any]) -> dict[str, Any]:
    """Read the items named in `templates` from checkpoint folder `path`.

    Args:
      path: a ``checkpoints/<step>`` folder (`saved_steps.resolve` finds it).
      templates: item -> pytree of arrays with the structure, shapes and dtypes to expect.

    Raises:
      ConfigError: not a checkpoint, damaged, from a newer version, or of other shapes (names the
        first array that differs).
    """
    meta = verify(path)
    for name, template in templates.items():
        _compare(path, name, meta, template)
    return store.read(path, templates)


def require(
    path: Path,
    meta: Meta,
    *,
    robot: str,
    learner: str | None = None,
    simulator: str | None = None,
    num_envs: int | None = None,
    num_devices: int | None = None,
) -> None:
    """Check that a checkpoint belongs to this robot and, if given, learner, simulator and numbers.

    Raises:
      ConfigError: names both values, and what to pass instead.
    """
    if meta.robot != robot:
        raise ConfigError(
            f"checkpoint {path} is of robot '{meta.robot}', this run is of '{robot}'. "
            f"Leave out exp:, robot: and --robot.asset to continue with '{meta.robot}', or pass another checkpoint."
        )
    algo = meta.config.get("algo")
    saved = algo.get("name", learner) if isinstance(algo, Mapping) else learner
    if learner is not None and saved != learner:
        raise ConfigError(
            f"checkpoint {path} is of learner '{saved}', this run uses '{learner}'. "
            "Leave out exp: and algo: to continue with the run's own, or start without the checkpoint."
        )
    if simulator is not None and meta.simulator != simulator:
        raise ConfigError(
            f"checkpoint {path} holds the physics of simulator '{meta.simulator}', this run uses '{simulator}'. "
            f"Pass simulator:{meta.simulator}{_or_warm(path)}"
        )
    if num_envs is not None and meta.num_envs != num_envs:
        raise ConfigError(
            f"checkpoint {path} holds the state of {meta.num_envs} environments, this run has {num_envs}. "
            f"Pass --training.num-envs {meta.num_envs}{_or_warm(path)}"
        )
    there = meta.processes * meta.devices
    if num_devices is not None and there != num_devices:
        several = f"--training.multigpu True --training.distributed.num-processes {meta.processes} " * (
            meta.processes > 1
        )
        alone = "--training.multigpu False " * (meta.processes == 1)
        raise ConfigError(
            f"checkpoint {path} holds the environments of {there} device(s), this run has {num_devices}. "
            f"Pass {several or alone}--training.devices {meta.devices}{_or_warm(path)}"
        )


def _or_warm(path: Path) -> str:
    return f", or begin a new run with its policy: --training.warm-start {path} instead of --training.checkpoint."


def _compare(path: Path, item: str, meta: Meta, template: Any) -> None:
    """Raise ConfigError for the first leaf of `template` that the checkpoint holds otherwise."""
    if item not in meta.arrays:
        held = ", ".join(meta.arrays)
        raise ConfigError(f"checkpoint {path} holds no '{item}' (it holds {held}); it cannot be resumed.")
    there, here = meta.arrays[item], describe(template)
    fix = "Use the settings in the run's config.yaml"
    fix += ", or start without the checkpoint." if item == "learner" else _or_warm(path)
    for name in [*here, *there]:
        ours, theirs = here.get(name), there.get(name)
        if ours != theirs:
            ours_text, theirs_text = _text(ours), _text(theirs)
            raise ConfigError(
                f"checkpoint {path} does not fit this run: {item} '{name}' is {theirs_text} in the checkpoint and "
                f"{ours_text} in this run. {fix}"
            )


def _text(entry: Leaf | None) -> str:
    return "absent" if entry is None else f"{entry[1]}[{', '.join(map(str, entry[0]))}]"


def _system_error(error: Exception) -> str | None:
    """What the operating system refused, or None if it was not the operating system.

    tensorstore raises ValueError for it, with the error number in the text.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    number = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(number[1])) if number else None
