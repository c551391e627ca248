"""Ctrl-C, SIGTERM and SIGHUP: the first asks the run to stop where it can continue from, the second ends it.

SIGHUP is never the second one. When a terminal is lost, it comes from the shell and again from the kernel, and systemd
sends it right after SIGTERM; no person has asked twice.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
"""SIGHUP comes when a terminal is closed or its ssh connection lost."""
_BY_HAND = (signal.SIGINT, signal.SIGTERM)
"""Those of which a second one ends the process"""


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


def handled() -> list[signal.Signals]:
    """The signals of `NAMES` that this process does not ignore; ``nohup`` lets it ignore SIGHUP."""
    return [number for number in NAMES if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def on_signal(say: Callable[[str], None]) -> Iterator[Stop]:
    """Within the context, the first signal of `NAMES` only sets the flag of the yielded `Stop`.

    After Ctrl-C or SIGTERM, the next of these ends the process at once; checkpoints are complete or absent at any
    moment. Outside the main thread nothing is installed.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = handled()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.signal = signal.Signals(number)
        for each in numbers:
            if each not in _BY_HAND:
                signal.signal(each, signal.SIG_IGN)
            elif number in _BY_HAND:
                signal.signal(each, signal.SIG_DFL)
        text = f"{NAMES[stop.signal]}: stopping after this iteration, then saving. Once more to quit at once."
        try:
            say(text)
        except RuntimeError:  # the signal came while another line was being written
            os.write(1, f"\n{text}\n".encode())

    with _second_signal_ends():
        before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def cleaned_up(clean: Callable[[], None]) -> Iterator[None]:
    """Within the context, SIGTERM and SIGHUP end the process at once, as they do by themselves, but after `clean()`.

    `on_signal` within the context has precedence while it lasts. Outside the main thread nothing is installed.
    """
    by_itself = (signal.SIGTERM, signal.SIGHUP)
    numbers = [number for number in by_itself if signal.getsignal(number) is signal.SIG_DFL]
    if not numbers or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int) -> None:
        if number in numbers:
            try:
                clean()
            finally:
                os._exit(128 + number)

    with _each_signal(end):
        for number in numbers:
            signal.signal(number, lambda number, frame: None)  # or the system would end the process first
        try:
            yield
        finally:
            for number in numbers:
                signal.signal(number, signal.SIG_DFL)


@contextmanager
def _second_signal_ends() -> Iterator[None]:
    """Within the context, a second Ctrl-C or SIGTERM ends the process, even if the first is not handled yet."""
    received: list[int] = []

    def count(number: int) -> None:
        received.extend([number] if number in _BY_HAND else [])
        if len(received) > 1:
            os._exit(128 + number)

    with _each_signal(count):
        yield


@contextmanager
def _each_signal(do: Callable[[int], None]) -> Iterator[None]:
    """Within the context, `do` is called with every signal's number, in a thread and at once.

    Python runs a handler between two of its instructions, so never while XLA compiles, which takes a minute or
    more for large programs; and two signals that arrive by then are handled as one. Python does write every
    signal's number to a pipe at once, and a thread reads it.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def read() -> None:
        while number := os.read(reading, 1)[0]:
            do(number)

    thread = threading.Thread(target=read, name="signals", daemon=True)
    thread.start()
    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        os.write(writing, b"\0")  # no signal has this number
        thread.join()
        os.close(reading)
        os.close(writing)
