"""The terminal of a command: log records as lines, and output that nobody reads any more."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

LOGGERS = ("holosoma_jax", "bridges")
"""Parents of all loggers of this package."""


@contextlib.contextmanager
def attached() -> Iterator[None]:
    """Within the context, log records of this package are printed, and a broken standard output is ignored."""
    loggers, handler = [logging.getLogger(name) for name in LOGGERS], _Lines(_print)
    before, streams = [(logger.level, logger.propagate) for logger in loggers], (sys.stdout, sys.stderr)
    sys.stdout, sys.stderr = unbreakable(sys.stdout), unbreakable(sys.stderr)
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        # importing Orbax gives the root logger a handler, which would print every line again
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        sys.stdout, sys.stderr = streams


@contextlib.contextmanager
def messages_to(write: Callable[[str], None], level: int = logging.INFO) -> Iterator[None]:
    """Within the context, `write` gets the log records of this package from `level` on, and nobody else does.

    A live table prints them above itself; of several processes only one may want to be heard.
    """
    handler = _Lines(write)
    handler.setLevel(level)
    with contextlib.ExitStack() as stack:
        for name in LOGGERS:
            stack.enter_context(_handled_by(handler, logging.getLogger(name)))
        yield


@contextlib.contextmanager
def _handled_by(handler: logging.Handler, logger: logging.Logger) -> Iterator[None]:
    """Within the context, `handler` takes the place of the handlers that print."""
    before, others = logger.level, [other for other in logger.handlers if isinstance(other, _Lines)]
    for other in others:
        logger.removeHandler(other)
    logger.addHandler(handler)
    logger.setLevel(min(handler.level, logging.INFO))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        for other in others:
            logger.addHandler(other)


class _Lines(logging.Handler):
    """Writes records: information as it is, the rest with its level."""

    def __init__(self, write: Callable[[str], None]):
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname}: "
        self._write(f"{level}{record.getMessage()}")


def _print(line: str) -> None:
    """On standard output, at once even into a pipe."""
    print(line, flush=True)


def unbreakable(stream: TextIO) -> TextIO:
    """`stream`, but what the operating system does not take is dropped instead of raising OSError.

    ``train ... | head -1`` closes the pipe, a lost ssh connection the terminal, and a log file may fill its
    disk; a training continues in all three cases. A stream that is no file of the operating system (a notebook's)
    is returned as it is.
    """
    try:
        number = stream.fileno()
    except (OSError, AttributeError, ValueError):
        return stream
    stream.flush()
    raw = io.BufferedWriter(_Dropping(number, "w", closefd=False))
    out = io.TextIOWrapper(
        raw, encoding=stream.encoding, errors=stream.errors, line_buffering=stream.isatty()
    )
    out.mode = "w"  # type: ignore[attr-defined]  # as that of sys.stdout, which some libraries read
    return cast(TextIO, out)


class _Dropping(io.FileIO):
    """A file whose writes cannot fail."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data).cast("B"))
