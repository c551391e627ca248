"""Whether a run's path still leads to the run's folder.

While a training runs for days, somebody may move its folder away, and make another one or a link of that name. What is
written to the path afterwards would mix with another run; its checkpoints of the same steps, and the removal of old
ones, could harm both.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path


class Place:
    """The folder that a run writes to, held open so that the system gives its number to no other folder."""

    def __init__(self, path: Path):
        """Remember the folder that `path` leads to.

        Raises:
          OSError: there is none.
        """
        self._path = path
        self._handle: int | None = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._folder = os.fstat(self._handle)

    @property
    def is_taken(self) -> bool:
        """Whether the path leads to something else now; False where it leads nowhere, or cannot be looked at."""
        try:
            return not os.path.samestat(self._folder, self._path.stat())
        except FileNotFoundError:
            return self._path.is_symlink()
        except OSError as error:
            return error.errno in (errno.ENOTDIR, errno.ELOOP)

    @property
    def is_gone(self) -> bool:
        """Whether nothing has the path's name any more."""
        return not os.path.lexists(self._path)

    @property
    def moved_to(self) -> Path | None:
        """Where the folder is now; None if it was removed, or where the system does not say."""
        with contextlib.suppress(OSError):
            path = Path(os.readlink(f"/proc/self/fd/{self._handle}"))
            if os.path.samestat(self._folder, path.stat()):
                return path
        return None

    def close(self) -> None:
        """Let go of the folder."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
