"""Which checkpoints a run has: by their steps, the newest sound one, and the one that a path means."""

from __future__ import annotations

import re
from pathlib import Path

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.runs.meta import FILE as META_FILE
from holosoma_jax.runs.meta import WANTED, DamagedCheckpoint, verify


def steps(folder: Path) -> list[Path]:
    """The complete checkpoints below `folder`, in ascending order of their steps."""
    return [path for path in numbered(folder) if (path / META_FILE).is_file()]


def numbered(folder: Path) -> list[Path]:
    """What has the name of a step below `folder`, in ascending order, whether it is a complete checkpoint or not."""
    named = (path for path in folder.glob("*") if re.fullmatch(r"0|[1-9][0-9]{0,18}", path.name))
    return sorted(named, key=lambda path: int(path.name))


def latest(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step below `folder`, or None; it may be damaged."""
    return next(reversed(steps(folder)), None)


def newest_sound(folder: Path) -> tuple[Path | None, list[DamagedCheckpoint]]:
    """The undamaged checkpoint with the highest step below `folder`, or None, and the damage of the `numbered` above.

    A checkpoint under the name of another step is damaged, too.

    Raises:
      ConfigError: a checkpoint above it is from a newer version.
    """
    damage: list[DamagedCheckpoint] = []
    for path in reversed(numbered(folder)):
        try:
            if not (path / META_FILE).is_file():
                raise DamagedCheckpoint(f"checkpoint {path} is incomplete: {META_FILE} is missing.")
            step = verify(path).step
            if step != int(path.name):
                raise DamagedCheckpoint(f"checkpoint {path} holds step {step}, not that of its name.")
        except DamagedCheckpoint as error:
            damage.append(error)
        else:
            return path, damage
    return None, damage


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint, so that its step can be saved again; returns its new path.

    Raises:
      OSError: it cannot be renamed.
    """
    number, target = 1, path.with_name(f"{path.name}.damaged")
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{number}")
    return path.rename(target)


def is_sound(path: Path) -> bool:
    """Whether checkpoint folder `path` is complete and undamaged, and not from a newer version."""
    try:
        verify(path)
    except ConfigError:
        return False
    return True


def resolve(path: str | Path, key: str = "training.checkpoint") -> Path | None:
    """The checkpoint that a user means by `path`.

    A run directory or its ``checkpoints`` folder means the newest complete one in it, None if there
    is none yet; a ``checkpoints/<step>`` folder means itself.

    Raises:
      ConfigError: `path` is none of these, or may not be read; the message names `key`.
    """
    try:
        return _resolved(Path(path), key)
    except OSError as error:
        raise ConfigError(f"{key}: cannot read {path} ({error.strerror or error}). {WANTED}") from None


def _resolved(path: Path, key: str) -> Path | None:
    if not path.exists():
        raise ConfigError(f"{key}: no such folder: {path}. {WANTED}")
    if not path.is_dir():
        hint = " An ONNX file holds the policy only; it can be evaluated, not resumed." * (
            path.suffix == ".onnx"
        )
        raise ConfigError(f"{key}: {path} is a file.{hint} {WANTED}")
    if (path / META_FILE).is_file() or path.name.isdecimal():
        return path
    if path.name == "checkpoints":
        return latest(path)
    if (path / "checkpoints").is_dir() or (path / "config.yaml").is_file():
        return latest(path / "checkpoints")
    raise ConfigError(f"{key}: {path} is not a run directory and not a checkpoint. {WANTED}")
