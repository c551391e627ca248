"""The worker's side of a remote bridge: one file without imports of the project, for Python 3.8 or newer with NumPy.

The host starts it as ``python worker.py MEMORY REQUEST REPLY SOCKET``, four inherited file descriptors:
shared memory, two signals (an eventfd or the end of a pipe, eight bytes a signal), and a Unix socket for
what is rare, or has no fixed size. A control step goes through shared memory and the signals alone.

1. Both sides send a greeting with `PROTOCOL` over the socket.
2. The host says which file or module holds the backend, where the arrays lie in shared memory, what the
   calls are named and which packages matter; a second message has the settings. The worker loads the backend
   and answers with what that says of itself and with the packages' versions.
3. For each call the host writes the header (`REQUEST_WORDS`) and signals. The worker calls the backend's
   method of that name, writes the status and signals back.
4. When the host shuts the socket, the worker calls the backend's ``close()``, if there is one, and ends.

A backend module has ``create(settings, arrays) -> backend``: `settings` is what the host sent, `arrays` maps
names to NumPy views of shared memory, [E, ...]. ``backend.describe()`` is a dict for JSON. Every call is a
method ``name(flags, message)``; `flags` is an int, `message` None or a dict whose values are NumPy arrays or
JSON values; so is what the method returns.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import mmap
import os
import select
import socket
import struct
import sys
import threading
import time
import traceback
from typing import Any, Dict, List, Tuple  # noqa: UP035  (Python 3.8)

import numpy as np

PROTOCOL = 2
"""Raised when greeting, header, messages or the calls' meaning change."""
HEADER_BYTES = 4096
"""The first page of shared memory: int64 words, see below; arrays begin behind it."""
ALIGNMENT = 64
"""bytes; where JAX takes host memory without copying it"""
CALL, FLAGS, HAS_MESSAGE, STATUS, ANSWERS = range(5)
"""Words of the header: number of the call, its flags, whether a message follows on the socket; then the worker's:
status, and whether it sends a message."""
OK, FAILED = 0, 1
SIGNAL = struct.pack("<Q", 1)
_LENGTHS = struct.Struct("<II")
_PARENT_INTERVAL_S = 2.0

Message = Dict[str, Any]  # noqa: UP006
Layout = List[Tuple[str, str, List[int], int]]  # noqa: UP006
"""name, NumPy type, shape and byte offset of every array in shared memory"""


class MessageError(Exception):
    """What arrived is no message of `pack`."""


def pack(message: Message) -> bytes:
    """A message as bytes: JSON, then the arrays one after the other. No pickle: the two sides may have other NumPys."""
    values, arrays, chunks = {}, [], []
    for name, value in message.items():
        if isinstance(value, np.ndarray):
            array = np.ascontiguousarray(value)
            arrays.append([name, array.dtype.str, list(value.shape)])
            chunks.append(array.tobytes())
        else:
            values[name] = value
    head = json.dumps([values, arrays]).encode()
    body = b"".join(chunks)
    return _LENGTHS.pack(len(head), len(body)) + head + body


def send(connection: socket.socket, message: Message) -> None:
    """Send a message; raises OSError if the other side is gone, or does not read within the socket's time-out."""
    connection.sendall(pack(message))


def receive(connection: socket.socket) -> Message:
    """The next message; raises EOFError if the other side is gone, MessageError if it is no message."""
    head_size, body_size = _LENGTHS.unpack(_read(connection, _LENGTHS.size))
    head = _read(connection, head_size)
    body = _read(connection, body_size)
    try:
        return _unpack(head, body)
    except (ValueError, TypeError, KeyError) as error:  # of JSON, UTF-8, an array's type or its shape
        raise MessageError(f"{type(error).__name__}: {error}") from None


def views(memory: mmap.mmap, layout: Layout) -> dict[str, np.ndarray]:
    """Arrays over shared memory."""
    arrays = {}
    for name, kind, shape, offset in layout:
        dtype, count = np.dtype(kind), int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(memory, dtype, count, offset).reshape(shape)
    return arrays


def header(memory: mmap.mmap) -> np.ndarray:
    """The header's words, int64."""
    return np.frombuffer(memory, np.int64, HEADER_BYTES // 8)


def greeting() -> Message:
    """What each side says first."""
    return {
        "protocol": PROTOCOL,
        "python": ".".join(map(str, sys.version_info[:3])),
        "numpy": np.__version__,
        "pid": os.getpid(),
    }


def _unpack(head: bytearray, body: bytearray) -> Message:
    values, arrays = json.loads(head.decode())
    if not isinstance(values, dict):
        raise TypeError(f"got a {type(values).__name__}, want an object")
    view, at = memoryview(body), 0
    for name, kind, shape in arrays:
        dtype = np.dtype(kind)
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        values[name] = np.frombuffer(view[at : at + size], dtype).reshape(shape).copy()
        at += size
    return values


def _read(connection: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        count = connection.recv_into(view[done:])
        if count == 0:
            raise EOFError("the other side closed the connection")
        done += count
    return data


def _load(name: str) -> Any:
    """The backend's module, by the path of its file or by its name."""
    if not name.endswith(".py"):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location("holosoma_backend", name)
    if spec is None or spec.loader is None:
        raise ImportError(f"{name}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _versions(packages: list[str]) -> dict[str, str]:
    """Package -> version of those that are installed."""
    from importlib import metadata

    found = {}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _failure(error: BaseException) -> Message:
    frames = traceback.extract_tb(error.__traceback__)
    at = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return {"error": type(error).__name__, "text": str(error), "at": at}


def _watch_parent(parent: int) -> None:
    """End this process once the host's is gone, whatever the main thread is doing."""
    while os.getppid() == parent:
        time.sleep(_PARENT_INTERVAL_S)
    os._exit(1)


def _wait(request: int, connection: socket.socket) -> bool:
    """Whether the host has signalled; False: it is gone."""
    poll = select.poll()
    poll.register(request, select.POLLIN)
    poll.register(connection, select.POLLIN)
    while True:
        events = dict(poll.poll())
        if request in events:
            return len(os.read(request, 8)) == 8
        if not connection.recv(1, socket.MSG_PEEK):
            return False


def _serve(
    backend: Any, calls: list[str], words: np.ndarray, request: int, reply: int, connection: Any
) -> None:
    while _wait(request, connection):
        name = calls[int(words[CALL])]
        message: Message | None = receive(connection) if words[HAS_MESSAGE] else None
        status, answer = OK, None
        try:
            answer = getattr(backend, name)(int(words[FLAGS]), message)
        except Exception as error:
            status, answer = FAILED, _failure(error)
        words[STATUS], words[ANSWERS] = status, answer is not None
        os.write(reply, SIGNAL)
        if answer is not None:  # after the signal: the host reads the socket only once it was told to
            send(connection, answer)


def main(argv: list[str]) -> int:
    """Serve until the host closes or is gone."""
    memory_fd, request, reply, connection_fd = map(int, argv)
    sys.path[:] = [
        path for path in sys.path if os.path.abspath(path) != os.path.dirname(os.path.abspath(__file__))
    ]
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    connection = socket.socket(fileno=connection_fd)
    send(connection, greeting())
    start = receive(connection)
    settings = receive(connection)
    if start.get("protocol") != PROTOCOL:
        return 1  # the host says so, and why
    try:
        memory = mmap.mmap(memory_fd, os.fstat(memory_fd).st_size)
        sys.path[:0] = start["path"]
        backend = _load(start["backend"]).create(settings, views(memory, start["layout"]))
        answer = {"described": backend.describe(), "versions": _versions(start["packages"])}
    except Exception as error:
        traceback.print_exc()
        send(connection, _failure(error))
        return 1
    send(connection, answer)
    _serve(backend, start["calls"], header(memory), request, reply, connection)
    close = getattr(backend, "close", None)
    if close is not None:
        close()
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the host is gone
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # at once: a simulator's own clean-up at exit may hang or crash
