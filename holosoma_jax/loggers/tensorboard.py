"""TensorBoard's events, from the writer of records that tensorboardX has."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

_FLUSH = 10.0
"""s between the moments at which events reach the disk"""

log = logging.getLogger(__name__)


class TensorBoardSink:
    """TensorBoard events; values that are not finite are left out.

    A full disk costs events and a warning, not the run. So this uses tensorboardX's format and not its
    `SummaryWriter`: the thread of that one dies of the first error, and once ten events wait for it, `add_scalar`
    waits for ever (tensorboardX 2.6.5, under a limit of 20 kB a file: the training stood still).
    """

    def __init__(self, folder: str | os.PathLike[str], completed: int = 0):
        """Events go to `folder`; TensorBoard hides what older files there hold of later steps.

        Raises:
          OSError: it cannot be written.
        """
        self._folder, self._files, self._flushed = Path(folder), 0, -math.inf
        self._writer: Any = None  # of the file that is written now
        hide = {"session_log": _protocol().SessionLog(status=_protocol().SessionLog.START)}
        self._append([self._event(step=completed + 1, **hide)] if completed else [])

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add one point to each curve."""
        from tensorboardX.summary import scalar

        finite = {key: float(value) for key, value in scalars.items() if math.isfinite(value)}
        try:
            self._append([self._event(step=step, summary=scalar(k, v)) for k, v in finite.items()])
        except OSError as error:
            self.close()  # the file may end in half an event, and readers stop there: start another
            log.warning(
                "%s: TensorBoard events of step %d are lost (%s).", self._folder, step, error.strerror
            )

    def close(self) -> None:
        """Write what is pending."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()
            with contextlib.suppress(OSError):  # somebody may have removed it
                if not os.path.getsize(writer.path):  # nothing fitted, and there may be many such
                    os.unlink(writer.path)

    @staticmethod
    def _event(**fields: Any) -> Any:
        return _protocol().Event(wall_time=time.time(), **fields)

    def _append(self, events: Sequence[Any]) -> None:
        from tensorboardX.record_writer import RecordWriter

        if self._writer is not None and not os.path.exists(self._writer.path):  # removed meanwhile
            self.close()
        if self._writer is None:
            self._files += 1
            name = (
                f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.{self._files}"
            )
            self._writer = RecordWriter(str(self._folder / name))
            events = [self._event(file_version="brain.Event:2"), *events]
        for event in events:
            self._writer.write(event.SerializeToString())
        if time.monotonic() - self._flushed > _FLUSH:
            self._writer.flush()
            self._flushed = time.monotonic()


def _protocol() -> Any:
    return import_module("tensorboardX.proto.event_pb2")  # made at run time, which type checkers do not see
