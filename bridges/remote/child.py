"""A worker's process as the host sees it: its signals, its socket, what it prints, and how it ended."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading

from bridges.remote.program import Program, StartError

_LOG = logging.getLogger(__name__)
_KEPT_LINES = 50
_LINE_BYTES = 4096
"""what is longer counts as several lines"""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
"""colours, and characters that move the cursor of a terminal or end its line"""
SLICE_S = 1.0
"""s between two looks at whether a silent worker is alive"""
ENDING_S = 5.0
"""for a process that closed its connection to be gone; a busy machine takes its time"""


class Child:
    """A worker process, its signals and its socket."""

    def __init__(self, program: Program, memory_fd: int):
        try:
            (request_end, self.request), (self.reply, reply_end) = _signal(), _signal()
            self.connection, other = socket.socketpair()
        except OSError as error:  # too many open files
            raise StartError(f"the {program.title} worker cannot be started: {error.strerror}.") from None
        theirs = (memory_fd, request_end, reply_end, other.fileno())
        try:
            self.process = subprocess.Popen(
                [program.python, "-u", program.worker, *map(str, theirs)],
                pass_fds=theirs,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_environment(program),
                start_new_session=True,  # Ctrl-C is for the host, which may want to save first
            )
        except OSError as error:
            self._ours = {self.request, self.reply}
            self._close_ours()
            raise StartError(
                f"the {program.title} worker cannot be started: {program.python}: {error.strerror}; "
                "simulator.config.remote.python names the interpreter."
            ) from None
        finally:
            other.close()
            for fd in {request_end, reply_end} - {self.request, self.reply}:
                os.close(fd)
        self._ours = {self.request, self.reply}
        self.output = Output(self.process, program.title)
        self.poll = select.poll()
        self.poll.register(self.reply, select.POLLIN)
        self.poll.register(self.connection, select.POLLIN)

    def ending(self) -> str:
        """How the process ended, in words; it is waited for briefly."""
        try:
            code = self.process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        if code >= 0:
            return f"ended with code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        why = " (the system sends it when memory runs out)" if -code == signal.SIGKILL else ""
        return f"was killed by {name}{why}"

    def end(self, wait_s: float) -> None:
        """Stop the process, by force if it has not ended after `wait_s`."""
        try:
            self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            # The group: the interpreter may be a script that started another one.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.output.finish()
        self._close_ours()

    def _close_ours(self) -> None:
        self.connection.close()
        for fd in self._ours:
            os.close(fd)
        self._ours = set()


class Output:
    """Reads what the worker prints, so that it never blocks, and keeps the end of it."""

    def __init__(self, process: subprocess.Popen[bytes], title: str):
        self._lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._process, self._title = process, title
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def tail(self) -> str:
        """The last line, as the end of a sentence; '' if there was none."""
        self.finish()
        last = next((line for line in reversed(self._lines) if line), "")
        return f" Its last output: {last[-300:]}" if last else " It printed nothing."

    def finish(self) -> None:
        """Take what is still in the pipe, unless somebody else holds that open."""
        if self._process.poll() is not None:
            self._thread.join(SLICE_S)

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream:
            while raw := stream.readline(_LINE_BYTES):
                line = _CONTROL.sub(" ", raw.decode(errors="replace")).strip()
                self._lines.append(line)
                _LOG.debug("%s worker: %s", self._title, line)


def anonymous_file(size: int) -> int:
    """A descriptor of memory (Linux) or of an unlinked file (macOS): no name, so nothing is left behind."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("holosoma-bridge")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd


def _signal() -> tuple[int, int]:
    """The end to read and the end to write: one eventfd, or a pipe where the system has none."""
    if hasattr(os, "eventfd"):
        fd = os.eventfd(0, os.EFD_CLOEXEC)
        return fd, fd
    return os.pipe()


def _environment(program: Program) -> dict[str, str]:
    environment = dict(os.environ)
    if os.path.abspath(program.python) != os.path.abspath(sys.executable):  # links make a venv: not resolved
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"):  # of this interpreter
            environment.pop(name, None)
    for name, value in program.environment.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    return environment
