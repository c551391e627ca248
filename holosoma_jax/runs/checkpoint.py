"""Checkpoints: everything that a run needs to go on as if it had never stopped, in one folder.

``checkpoints/<step>/`` holds one Orbax tree an item (learner, env, physics, ...) and ``meta.json``:
what the run was, the shape of every array, a SHA-256 of every file. The folder is written under
another name and renamed when it is complete, so that a process may die at any moment. Orbax itself
does not notice a changed byte in an array, and reports a missing file by a page of traceback; the
digests are checked first, so that damage is one sentence.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from holosoma_jax import __version__
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.parallel import processes

SCHEMA = 1
"""Layout of the folder; raised when older code could not read it."""
_META = "meta.json"


class SaveError(RuntimeError):
    """A checkpoint could not be written; earlier ones are untouched."""


class BrokenSave(RuntimeError):
    """A process failed in the middle of a save that several write together; it cannot meet the others again."""


@dataclass(frozen=True)
class Meta:
    """What a checkpoint says of itself."""

    step: int
    """learning iterations completed: the next one has this index"""
    robot: str
    simulator: str
    num_envs: int
    """environments in total, as the user asked"""
    seed: int
    elapsed_s: float
    """s of training so far, over all sessions of the run"""
    config: Mapping[str, Any]
    """the resolved config"""
    processes: int = 1
    curriculum: Mapping[str, float] = field(default_factory=dict)
    """what the task's curricula stand at, by name; for a new run that begins with this policy"""
    schema: int = SCHEMA
    version: str = __version__
    arrays: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """item -> path of a leaf -> [shape, dtype]; filled by `save`"""
    files: Mapping[str, str] = field(default_factory=dict)
    """file below the folder -> SHA-256; filled by `save`"""


def save(folder: Path, items: Mapping[str, Any], meta: Meta) -> Path:
    """Write `items` (pytrees of arrays, typed keys allowed) as ``folder/<meta.step>``.

    With several processes all call it, on one file system, with global arrays (`processes.joined`).
    Returns the new folder, or the one that is there already if this step was saved before.

    Raises:
      SaveError: the disk is full or not writable. Nothing that was there is harmed.
      BrokenSave: likewise, of several processes in this one alone, while they were writing. The run must end;
        the others notice that this one has gone.
    """
    final = folder / str(meta.step)
    if final.exists():
        return final
    partial = folder / f".{meta.step}.partial"

    def prepare() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        clean(folder)

    def room() -> None:
        needed = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(items))
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise OSError(errno.ENOSPC, f"{needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free")

    def write() -> None:
        with _orbax(items) as orbax:
            trees = {name: ocp.args.StandardSave(_stored(tree)) for name, tree in items.items()}
            orbax.save(partial.absolute(), args=ocp.args.Composite(**trees))

    def seal() -> None:
        record = asdict(meta) | {
            "arrays": {name: describe(tree) for name, tree in items.items()},
            "files": {str(p.relative_to(partial)): _digest(p) for p in _files(partial)},
        }
        (partial / _META).write_text(json.dumps(record, indent=1))
        os.rename(partial, final)

    def nothing() -> None:
        pass

    main = processes.is_main()
    _attempt(prepare if main else nothing, folder, final)
    if processes.size() == 1:
        _attempt(write, folder, final)
    else:
        _attempt(room, folder, final)  # found out before they write: from there they can go on
        _together(write, final)
    _attempt(seal if main else nothing, folder, final)
    return final


def _attempt(part: Callable[[], None], folder: Path, final: Path) -> None:
    """Do a part of a save; all processes come back together, with a SaveError if it failed in one."""
    reason, cause = None, None
    try:
        part()
    except (OSError, ValueError) as error:
        reason, cause = _system_error(error), error
        if reason is None:
            clean(folder)
            raise
    if processes.largest(int(cause is not None)):
        clean(folder)
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
      path: a ``checkpoints/<step>`` folder (`resolve` finds it).
      templates: item -> pytree of arrays with the structure, shapes and dtypes to expect.

    Raises:
      ConfigError: not a checkpoint, damaged, from a newer version, or of other shapes (names the
        first array that differs).
    """
    meta = verify(path)
    for name, template in templates.items():
        _compare(path, name, meta, template)
    with _orbax(templates) as orbax:
        trees = {name: ocp.args.StandardRestore(_stored(tree)) for name, tree in templates.items()}
        found = orbax.restore(path.absolute(), args=ocp.args.Composite(**trees))
    return {name: _refill(template, found[name]) for name, template in templates.items()}


def verify(path: Path) -> Meta:
    """The `Meta` of checkpoint folder `path`, after checking that every file is what was saved.

    Raises:
      ConfigError: not a checkpoint, damaged, or from a newer version.
    """
    meta = read_meta(path)
    for name, digest in meta.files.items():
        file = path / name
        if not file.is_file():
            raise ConfigError(f"checkpoint {path} is incomplete: {name} is missing. {_EARLIER}")
        if _digest(file) != digest:
            raise ConfigError(
                f"checkpoint {path} is damaged: {name} has changed since it was saved. {_EARLIER}"
            )
    return meta


def read_meta(path: Path) -> Meta:
    """The `Meta` of checkpoint folder `path`.

    Raises:
      ConfigError: not a checkpoint, unreadable, or from a newer version.
    """
    file = path / _META
    if not file.is_file():
        raise ConfigError(f"{path} is not a checkpoint: it has no {_META}. {_WANTED}")
    try:
        record = json.loads(file.read_text())
        schema, version = int(record["schema"]), str(record["version"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigError(
            f"checkpoint {path} is damaged: {_META} cannot be read ({error}). {_EARLIER}"
        ) from None
    if schema > SCHEMA:
        raise ConfigError(
            f"checkpoint {path} was written by holosoma_jax {version} (layout {schema}); this is {__version__} "
            f"(up to layout {SCHEMA}). Install holosoma-jax>={version}."
        )
    try:
        return Meta(**record)
    except TypeError as error:
        raise ConfigError(
            f"checkpoint {path} is damaged: {_META} is incomplete ({error}). {_EARLIER}"
        ) from None


def require(
    path: Path,
    meta: Meta,
    *,
    robot: str,
    learner: str | None = None,
    simulator: str | None = None,
    num_envs: int | None = None,
    num_processes: int | None = None,
) -> None:
    """Check that a checkpoint belongs to this robot and, if given, learner, simulator and numbers.

    Raises:
      ConfigError: names both values, and what to pass instead.
    """
    if meta.robot != robot:
        raise ConfigError(
            f"checkpoint {path} is of robot '{meta.robot}', this run is of '{robot}'. "
            f"Leave out exp:, robot: and --robot.asset to go on with '{meta.robot}', or pass another checkpoint."
        )
    saved = meta.config.get("algo", {}).get("name", learner)
    if learner is not None and saved != learner:
        raise ConfigError(
            f"checkpoint {path} is of learner '{saved}', this run uses '{learner}'. "
            "Leave out exp: and algo: to go on with the run's own, or start without the checkpoint."
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
    if num_processes is not None and meta.processes != num_processes:
        several = f"--training.multigpu True --training.distributed.num-processes {meta.processes}"
        raise ConfigError(
            f"checkpoint {path} holds the environments of {meta.processes} process(es), this run has {num_processes}. "
            f"Pass {several if meta.processes > 1 else '--training.multigpu False'}{_or_warm(path)}"
        )


def latest(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step below `folder`, or None."""
    steps = [p for p in folder.glob("*") if p.name.isdigit() and (p / _META).is_file()]
    return max(steps, key=lambda p: int(p.name), default=None)


def resolve(path: str | Path, key: str = "training.checkpoint") -> Path | None:
    """The checkpoint that a user means by `path`.

    A run directory or its ``checkpoints`` folder means the newest complete one in it, None if there
    is none yet; a ``checkpoints/<step>`` folder means itself.

    Raises:
      ConfigError: `path` is none of these; the message names `key`.
    """
    path = Path(path)
    if not path.exists():
        raise ConfigError(f"{key}: no such folder: {path}. {_WANTED}")
    if not path.is_dir():
        hint = " An ONNX file holds the policy only; it can be evaluated, not resumed." * (
            path.suffix == ".onnx"
        )
        raise ConfigError(f"{key}: {path} is a file.{hint} {_WANTED}")
    if (path / _META).is_file() or path.name.isdigit():
        return path
    if path.name == "checkpoints":
        return latest(path)
    if (path / "checkpoints").is_dir() or (path / "config.yaml").is_file():
        return latest(path / "checkpoints")
    raise ConfigError(f"{key}: {path} is not a run directory and not a checkpoint. {_WANTED}")


def clean(folder: Path) -> None:
    """Remove what interrupted saves left below `folder`."""
    for leftover in folder.glob(".*.partial*"):
        shutil.rmtree(leftover, ignore_errors=True)


def describe(tree: Any) -> dict[str, Any]:
    """Path of every leaf -> [shape, dtype], as JSON can hold it."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): [list(x.shape), str(x.dtype)]
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def _or_warm(path: Path) -> str:
    return f", or begin a new run with its policy: --training.warm-start {path} instead of --training.checkpoint."


_WANTED = "Wanted: a run directory (logs/<project>/<run>), or one of its checkpoints/<step> folders."
_EARLIER = "Resume from an earlier step of the run."


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


def _text(entry: Any) -> str:
    return "absent" if entry is None else f"{entry[1]}[{', '.join(map(str, entry[0]))}]"


@contextlib.contextmanager
def _orbax(items: Mapping[str, Any]) -> Iterator[ocp.Checkpointer]:
    """Orbax, silent: it logs the traceback of every error beside raising it.

    After an error it stays so: threads of Orbax's are still at work, and log theirs later.
    """
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.CRITICAL)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler(*items)) as orbax:
        yield orbax
    log.setLevel(level)


def _system_error(error: Exception) -> str | None:
    """What the operating system refused, or None if it was not the operating system.

    tensorstore raises ValueError for it, with the error number in the text.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    number = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(number[1])) if number else None


def _stored(tree: Any) -> Any:
    """`tree` without its empty arrays, which Orbax refuses."""
    return jax.tree.map(lambda x: None if x.size == 0 else x, tree)


def _refill(template: Any, found: Any) -> Any:
    """`found`, with the empty arrays of `template` back in their places."""
    leaves = iter(jax.tree.leaves(found))
    return jax.tree.map(lambda x: x if x.size == 0 else next(leaves), template)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
