"""Ctrl-C and SIGTERM: the first asks the run to stop where it can go on from, the second ends it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Stop:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def requested(self) -> bool:
        """True after the first signal."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What shells expect of a process that a signal ended: 128 + its number; 0 without one."""
        return 0 if self.signal is None else 128 + self.signal


@contextmanager
def on_signal(say: Callable[[str], None]) -> Iterator[Stop]:
    """Within the context, SIGINT and SIGTERM only set the flag of the yielded `Stop`.

    After the first, both get their usual effect back, so a second one ends the process at once;
    checkpoints are complete or absent at any moment. Outside the main thread nothing is installed.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        stop.signal = signal.Signals(number)
        for each in NAMES:
            signal.signal(each, signal.SIG_DFL)
        text = f"{NAMES[stop.signal]}: stopping after this iteration, then saving. Once more to quit at once."
        try:
            say(text)
        except RuntimeError:  # the signal came while another line was being written
            os.write(1, f"\n{text}\n".encode())

    before = {number: signal.signal(number, handle) for number in NAMES}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
