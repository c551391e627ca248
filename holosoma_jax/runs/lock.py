"""One process at a time writes into the folder of a run.

Two processes that resume the same run (a requeued job, a second terminal) would overwrite each other's
checkpoints. The lock is ``flock``: the operating system releases it with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.runs.place import Place

FILE = ".lock"
"""In the run's folder: names the process that holds the lock."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What file systems without locks answer."""

log = logging.getLogger(__name__)


class Lock:
    """The lock of a run's folder, held until `release`."""

    def __init__(self, folder: Path):
        """Take the lock; see `locked` for what this raises."""
        self._file = folder / FILE
        self._handle = _acquire(self._file)
        self.place = Place(folder)

    def renew(self) -> None:
        """Take the lock again where the folder, or the lock's file, was removed and made anew."""
        self.place.close()
        self.place = Place(self._file.parent)
        if self._handle is not None and not _is_file(self._handle, self._file):
            handle = _acquire(self._file)
            os.close(self._handle)
            self._handle = handle

    def is_lost(self) -> bool:
        """Whether the path leads to another folder, or another process has locked it after its lock was removed."""
        if self.place.is_taken:
            return True
        if self._handle is not None and not self.place.is_gone and not _is_file(self._handle, self._file):
            try:
                self.renew()
            except ConfigError:
                return True
            except OSError:
                log.warning("%s was removed and cannot be written again.", self._file)
        return False

    @property
    def moved_to(self) -> Path | None:
        """Where the folder is now, still locked; None if it was removed, or is another process' now."""
        path = self.place.moved_to
        if path is None or self._handle is None or _is_file(self._handle, path / FILE):
            return path
        return None

    def release(self) -> None:
        """Let others have it."""
        self.place.close()
        if self._handle is not None:
            # Removed while it is still held: whoever waits for this inode finds that it lost its name.
            if _is_file(self._handle, self._file):
                self._file.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[Lock]:
    """Within the context, no other process (and no other part of this one) can lock `folder`.

    A file system without locks costs a warning; then nothing is locked.

    Raises:
      ConfigError: another process holds the lock; the message names it and its host.
      OSError: the folder cannot be written.
    """
    lock = Lock(folder)
    try:
        yield lock
    finally:
        lock.release()


def _acquire(file: Path) -> int | None:
    """An open descriptor that holds the lock of `file`; None where there are no locks."""
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(file, flags, 0o644)  # not through a link: what it leads to would be emptied
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held = error.errno in (errno.EWOULDBLOCK, errno.EACCES)
            text = os.read(handle, 4096) if held else b""
            os.close(handle)
            if held:
                raise ConfigError(_refusal(file.parent, text)) from None
            if error.errno not in _NO_LOCKS:
                raise
            log.warning(
                "%s: this file system has no locks (%s). Do not resume the run twice at once.",
                file.parent,
                error.strerror,
            )
            file.unlink(missing_ok=True)
            return None
        if _is_file(handle, file):
            break
        os.close(handle)  # its holder removed it between our opening and locking it
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
    try:
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps(holder).encode())
    except OSError:  # a full disk
        os.close(handle)
        raise
    return handle


def _is_file(handle: int, file: Path) -> bool:
    """Whether `file` is still the file that `handle` has open."""
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _refusal(folder: Path, text: bytes) -> str:
    try:
        holder = json.loads(text)
        who = f"process {holder['pid']} on {holder['host']} (since {holder['since']})"
    except (ValueError, KeyError, TypeError, RecursionError):  # it has just been locked
        who = "another process"
    return (
        f"training.checkpoint: the run {folder} is being written by {who}. Stop that process or wait for it; "
        "to branch off meanwhile, pass one of the run's checkpoints/<step> folders."
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
