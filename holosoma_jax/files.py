"""Files that are there whole or not at all, and their names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def expanded(name: str | os.PathLike[str]) -> Path:
    """The path of that name, with the home folder in the place of ~; as it is where there is no such user."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def require_writable(folder: Path) -> None:
    """Make `folder` if need be, and see that files can be written to it: before the work, not after.

    Raises:
      OSError: they cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write to, beside `target` and with its suffix; it takes its place when the block ends.

    Whoever reads `target` meanwhile finds what was there before; so does everybody after the block
    raised. What was written is on the disk before the name changes hands, so that a power cut leaves
    no empty file either.

    Args:
      target: replaced if it exists; its folder is created.

    Raises:
      OSError: the folder cannot be written, or the block wrote nothing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = temporary(target, os.getpid())
    try:
        yield unfinished
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def temporary(target: Path, pid: int) -> Path:
    """What `replacing` yields for `target` in the process `pid`. One that was killed leaves it behind."""
    return target.with_name(f".{target.stem}.{pid}.tmp{target.suffix}")
