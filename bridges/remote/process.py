"""The host's side of a remote bridge: starts the worker, calls it, and says in one line what became of it."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from bridges.protocol import SimulatorError
from bridges.remote import failures
from bridges.remote import worker as wire
from bridges.remote.child import SLICE_S, Child, anonymous_file
from bridges.remote.program import Program, StartError
from holosoma_jax import machine

_CLOSE_S = 10.0
"""s that a worker has to end by itself"""


class Worker:
    """One worker process and the memory shared with it.

    `arrays` stay the same when the worker is started anew. One thread at a time may call.
    """

    def __init__(self, program: Program):
        self.program = program
        self.described: Mapping[str, Any]
        """what the backend said of itself"""
        self.versions: Mapping[str, str]
        """of the worker's Python, NumPy, and those of the program's packages that are installed there"""
        self._layout, size = _lay_out(program.arrays)
        free = machine.available_memory()
        if free is not None and size > free:  # the system hands it out, and kills who fills it
            raise StartError(
                f"{self._name} needs {size / 1e9:,.1f} GB of shared memory; {free / 1e9:,.1f} GB are free. "
                f"{failures.FEWER}"
            )
        try:
            self._memory_fd = anonymous_file(size)
            self._memory = mmap.mmap(self._memory_fd, size)
        except OSError as error:  # a limit of this process or of the system
            raise StartError(
                f"{self._name} cannot have {size / 1e9:,.1f} GB of shared memory: {error.strerror}. {failures.FEWER}"
            ) from None
        self.arrays: dict[str, np.ndarray] = wire.views(self._memory, self._layout)
        """name -> view of shared memory, each at a 64-byte boundary"""
        self._words = wire.header(self._memory)
        self._running: Child | None = None
        self._cause = "was not started"
        self.start()

    @property
    def alive(self) -> bool:
        """Whether there is a worker to call."""
        return self._running is not None

    @property
    def pid(self) -> int:
        """The worker's process; 0: there is none."""
        return self._running.process.pid if self._running else 0

    def block(self, names: Sequence[str]) -> tuple[np.ndarray, tuple[int, ...]]:
        """The float32 memory from the first to the last of these arrays, flat, and where in it each one starts.

        names: arrays that follow each other in memory.
        """
        offsets = {name: offset for name, _, _, offset in self._layout}
        first, last = offsets[names[0]], offsets[names[-1]] + self.arrays[names[-1]].nbytes
        flat = np.frombuffer(self._memory, np.float32, (last - first) // 4, first)
        return flat, tuple((offsets[name] - first) // 4 for name in names)

    def start(self) -> None:
        """Start a worker, as at first.

        Raises:
          StartError: it runs already, or its interpreter, its protocol or its backend is not as wanted.
        """
        if self._running is not None:
            pid = self._running.process.pid
            raise StartError(f"{self._name} was started twice: process {pid} is running. Close it first.")
        self._running = Child(self.program, self._memory_fd)
        try:
            self._greet(self._running)
        except BaseException:
            self._end()
            raise

    def call(self, name: str, flags: int = 0, message: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Have the worker do `name`; returns once it has, with what it answered.

        Raises:
          SimulatorError: it died, does not answer, or failed in a way that is not the caller's fault.
          ValueError: the backend refused what it was given.
          UnsupportedRandomization, CapacityError: as the bridges' protocol has them.
        """
        running, words = self._running, self._words
        if running is None:
            raise SimulatorError(f"{self._name} {self._cause}. Its state is gone: call init.")
        words[wire.CALL] = self.program.calls.index(name)
        words[wire.FLAGS], words[wire.HAS_MESSAGE] = flags, message is not None
        deadline = time.monotonic() + self.program.timeout_s
        try:
            os.write(running.request, wire.SIGNAL)
            if message is not None:
                wire.send(running.connection, dict(message))
            self._wait(running, name, deadline)
            answer = wire.receive(running.connection) if words[wire.ANSWERS] else {}
        except TimeoutError:
            self._give_up(
                f"did not answer '{name}' within {self.program.timeout_s:g} s and was stopped; "
                "simulator.config.remote.timeout_s sets that limit"
            )
        except (OSError, EOFError):
            self._give_up(f"{running.ending()} during '{name}'")
        except wire.MessageError as error:
            self._give_up(f"answered '{name}' with what is no message ({error})")
        except BaseException:  # Ctrl-C: the answer would be taken for that to the next call
            self._end()
            self._cause = f"was stopped, as '{name}' was interrupted"
            raise
        if words[wire.STATUS] != wire.OK:
            if not failures.is_failure(answer):
                self._give_up(f"failed in '{name}' without a word why")
            raise failures.exception(self._name, name, answer)
        return answer

    def close(self) -> None:
        """End the worker; its state is gone. Closing twice is allowed."""
        running = self._running
        if running is None:
            return
        with contextlib.suppress(OSError):
            running.connection.shutdown(socket.SHUT_RDWR)  # the worker ends when nobody is there
        self._end(wait_s=_CLOSE_S)
        self._cause = "was closed"

    @property
    def _name(self) -> str:
        return f"the {self.program.title} worker"

    def _greet(self, running: Child) -> None:
        """Exchange greetings, send the settings, and take what the backend says of itself."""
        program = self.program
        running.connection.settimeout(program.start_timeout_s)
        try:
            found = wire.receive(running.connection)
            wire.send(
                running.connection,
                {
                    **wire.greeting(),
                    "backend": program.backend,
                    "layout": self._layout,
                    "calls": list(program.calls),
                    "path": list(program.path),
                    "packages": list(program.packages),
                },
            )
            wire.send(running.connection, dict(program.settings))
            if found.get("protocol") != wire.PROTOCOL:
                raise StartError(
                    f"{self._name}'s file {program.worker} speaks protocol {found.get('protocol')}, this package "
                    f"{wire.PROTOCOL}. Use the worker of the same version."
                )
            answer = wire.receive(running.connection)
        except TimeoutError:
            raise StartError(
                f"{self._name} was not ready after {program.start_timeout_s:g} s and was stopped; "
                f"simulator.config.remote.start_timeout_s sets that limit.{running.output.tail()}"
            ) from None
        except (OSError, EOFError):
            raise StartError(
                f"{self._name} {running.ending()} while it started with {program.python}.{running.output.tail()}"
            ) from None
        except wire.MessageError as error:
            raise StartError(self._no_worker(str(error), running)) from None
        if failures.is_failure(answer):
            raise StartError(failures.line(self._name, answer, "while it started"))
        try:
            self.described = answer["described"]
            self.versions = {name: found[name] for name in ("python", "numpy")} | answer["versions"]
        except (KeyError, TypeError) as error:
            raise StartError(self._no_worker(f"{type(error).__name__}: {error}", running)) from None
        running.connection.settimeout(program.timeout_s)

    def _no_worker(self, cause: str, running: Child) -> str:
        """One line about a program that is started as worker and answers otherwise."""
        return (
            f"{self._name}'s file {self.program.worker} did not answer as one of this version does ({cause}); "
            f"simulator.config.remote.python is {self.program.python}.{running.output.tail()}"
        )

    def _wait(self, running: Child, name: str, deadline: float) -> None:
        """Return once the worker has signalled; raises TimeoutError or EOFError."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            events = dict(running.poll.poll(1e3 * min(left, SLICE_S)))
            if running.reply in events:
                if len(os.read(running.reply, 8)) == 8:
                    return
                raise EOFError  # a pipe whose other end is closed reads as nothing
            if events or running.process.poll() is not None:  # the socket is read only after a signal
                raise EOFError

    def _give_up(self, cause: str) -> NoReturn:
        running = self._running
        assert running is not None
        self._end()
        self._cause = cause
        raise SimulatorError(f"{self._name} {cause}.{running.output.tail()}") from None

    def _end(self, wait_s: float = 0.0) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.end(wait_s)


def _lay_out(arrays: Mapping[str, tuple[tuple[int, ...], type]]) -> tuple[wire.Layout, int]:
    """Where each array lies behind the header, and the size of it all."""
    layout, at = [], wire.HEADER_BYTES
    for name, (shape, kind) in arrays.items():
        dtype = np.dtype(kind)
        layout.append((name, dtype.str, list(shape), at))
        at += -(-math.prod(shape) * dtype.itemsize // wire.ALIGNMENT) * wire.ALIGNMENT
    return layout, at
