"""``meta.json``: what a checkpoint says of itself, and the digests that show damage.

Orbax itself does not notice a changed byte in an array, and reports a missing file by a page of traceback.
``meta.json`` lists the SHA-256 of every file of the checkpoint, and holds one of its own contents. A file
that it does not list is refused, so that nothing can be hidden in a checkpoint.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import jax
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from holosoma_jax import __version__
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.types import NonNegativeInt, PositiveInt

FILE = "meta.json"
SCHEMA = 2
"""Layout of the folder; raised when older code could not read it. 2: ``meta.json`` has a digest of its own."""
WANTED = "Wanted: a run directory (logs/<project>/<run>), or one of its checkpoints/<step> folders."
_LARGEST = 2**26
"""bytes of a ``meta.json``; one of a run is some 100 kB"""

Leaf = tuple[tuple[int, ...], str]
"""shape and dtype of an array"""


class DamagedCheckpoint(ConfigError):
    """A checkpoint is not what was saved."""

    def __init__(self, damage: str, advice: str = "Resume from an earlier step of the run."):
        """damage: what is wrong, a sentence; advice: what to do about it, another."""
        super().__init__(f"{damage} {advice}")
        self.damage = damage


@dataclass(frozen=True)
class Meta:
    """What a checkpoint says of itself."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")

    step: NonNegativeInt
    """learning iterations completed: the next one has this index"""
    robot: str
    simulator: str
    num_envs: PositiveInt
    """environments in total, as the user asked"""
    seed: NonNegativeInt
    elapsed_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """s of training so far, over all sessions of the run"""
    config: Mapping[str, Any]
    """the resolved config"""
    processes: PositiveInt = 1
    devices: PositiveInt = 1
    """of each process"""
    curriculum: Mapping[str, Annotated[float, Field(allow_inf_nan=False)]] = field(default_factory=dict)
    """what the task's curricula stand at, by name; for a new run that begins with this policy"""
    robot_record: Mapping[str, Any] = field(default_factory=dict)
    """gains, limits, masses and model of the robot, as `robots.record` gives them"""
    schema: PositiveInt = SCHEMA
    version: str = __version__
    arrays: Mapping[str, Mapping[str, Leaf]] = field(default_factory=dict)
    """item -> path of a leaf -> shape and dtype; filled by `checkpoint.save`"""
    files: Mapping[str, str] = field(default_factory=dict)
    """file below the folder -> SHA-256; filled by `seal`"""


def seal(folder: Path, meta: Meta) -> None:
    """Write ``meta.json`` into `folder`, with the digest of every file there; all of it reaches the disk.

    Raises:
      OSError: it cannot be written.
    """
    digests = {name: _digest(folder / name, sync=True) for name in sorted(_files(folder))}
    # Through JSON once, so that what is digested is what will be read back.
    record = json.loads(json.dumps(asdict(replace(meta, files=digests))))
    with (folder / FILE).open("w") as file:
        json.dump({"digest": digest_of(record), **record}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    for directory in (*(p for p in folder.rglob("*") if p.is_dir()), folder):
        sync_directory(directory)


def sync_directory(folder: Path) -> None:
    """Let the names in `folder` reach the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_meta(path: Path) -> Meta:
    """The `Meta` of checkpoint folder `path`, which holds the files that are listed there and no others.

    Raises:
      ConfigError: not a checkpoint, or from another version.
      DamagedCheckpoint: ``meta.json`` is not what was saved, or files are missing or were added.
    """
    file = path / FILE
    if not file.is_file():
        raise ConfigError(f"{path} is not a checkpoint: it has no {FILE}. {WANTED}")
    meta = _parsed(path, _record(path, file))
    found = set(_files(path))
    if missing := sorted(meta.files.keys() - found):
        raise DamagedCheckpoint(f"checkpoint {path} is incomplete: {missing[0]} is missing.")
    if added := sorted(found - meta.files.keys()):
        raise DamagedCheckpoint(
            f"checkpoint {path} holds a file that its {FILE} does not list: {added[0]}.",
            "Remove the file if you put it there; do not use the checkpoint if somebody else did.",
        )
    return meta


def verify(path: Path) -> Meta:
    """`read_meta`, after checking that every byte is what was saved.

    Raises:
      ConfigError: as `read_meta`; DamagedCheckpoint names the first file that has changed, too.
    """
    meta = read_meta(path)
    for name, digest in meta.files.items():
        try:
            same = _digest(path / name) == digest
        except OSError as error:
            reason = error.strerror or error
            raise DamagedCheckpoint(f"checkpoint {path} cannot be read: {name} ({reason}).") from None
        if not same:
            raise DamagedCheckpoint(f"checkpoint {path} is damaged: {name} has changed since it was saved.")
    return meta


def describe(tree: Any) -> dict[str, Leaf]:
    """Path of every leaf -> shape and dtype."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (tuple(x.shape), str(x.dtype))
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def _record(path: Path, file: Path) -> dict[str, Any]:
    """The contents of ``meta.json``, whose digest holds."""
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST} bytes")
        record = json.loads(file.read_bytes())
        if not isinstance(record, dict):
            raise ValueError(f"wanted a mapping, got {type(record).__name__}")
    except (ValueError, OSError) as error:
        raise _damaged(path, f"cannot be read ({error})") from None
    except RecursionError:
        raise _damaged(path, "cannot be read (brackets in brackets, too deep)") from None
    schema, version = record.get("schema"), record.get("version")
    if type(schema) is not int:
        raise _damaged(path, f"states no layout (schema: {schema!r:.40})")
    if schema > SCHEMA:
        raise ConfigError(
            f"checkpoint {path} was written by holosoma_jax {version!s:.40} (layout {schema}); this is "
            f"{__version__} (layout {SCHEMA}). Install holosoma-jax>={version!s:.40}."
        )
    if schema < SCHEMA:  # its arrays are other ones, too, and it has no digest
        raise ConfigError(
            f"checkpoint {path} was written by an earlier holosoma_jax (layout {schema}, this one reads {SCHEMA}). "
            "Continue with that version, or evaluate the policy it exported (policies/latest.onnx of the run)."
        )
    digest = record.pop("digest", None)
    if digest != digest_of(record):
        raise _damaged(path, "has changed since it was saved")
    return record


def _parsed(path: Path, record: Mapping[str, Any]) -> Meta:
    try:
        return TypeAdapter(Meta).validate_json(json.dumps(record))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"{where}: {first['msg']}, got {first['input']!r:.80}") from None


def _damaged(path: Path, what: str) -> DamagedCheckpoint:
    return DamagedCheckpoint(f"checkpoint {path} is damaged: {FILE} {what}.")


def _files(folder: Path) -> Iterator[str]:
    """Names of everything below `folder` but directories and its ``meta.json``."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name != FILE and (path.is_symlink() or not path.is_dir()):
            yield name


def _digest(file: Path, *, sync: bool = False) -> str:
    # Without waiting: a pipe has no end, and neither has a device.
    with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        if sync:
            os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(record: Mapping[str, Any]) -> str:
    """SHA-256 of the contents, whatever their order and white space."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
