"""Workers that answer what no worker says, and limits of this process: one line each, and nothing left running."""

from __future__ import annotations

import errno
import mmap
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bridges.protocol import SimulatorError
from bridges.remote import child
from bridges.remote import worker as wire
from bridges.remote.process import Worker
from bridges.remote.program import StartError
from tests.remote.test_process import PROGRAM, ROWS, exists

GREETING = "send(connection, greeting())"
PACKED = "return _LENGTHS.pack(len(head), len(body)) + head + body"
DESCRIBED = '{"described": backend.describe(), "versions": _versions(start["packages"])}'
FAILURE = "status, answer = FAILED, _failure(error)"


@pytest.mark.parametrize(
    ("right", "wrong", "cause"),
    [
        (GREETING, "connection.sendall(_LENGTHS.pack(3, 0) + b'{{{')", "JSONDecodeError"),
        (GREETING, "connection.sendall(_LENGTHS.pack(8, 0) + b'[[], []]')", "TypeError"),
        (GREETING, "connection.sendall(_LENGTHS.pack(2, 0) + b'\\xff\\xfe')", "UnicodeDecodeError"),
        (DESCRIBED, "{}", "KeyError: 'described'"),
        (DESCRIBED, '{"described": {}, "versions": 3}', "TypeError"),
    ],
)
def test_a_worker_whose_start_is_garbled(tmp_path: Path, right: str, wrong: str, cause: str):
    with pytest.raises(StartError, match=rf"worker\.py did not answer.*{cause}") as caught:
        Worker(replace(PROGRAM, worker=altered(tmp_path, right, wrong)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("right", "wrong", "call", "cause"),
    [
        (PACKED, PACKED.replace("head + body", "head.replace(b'<f4', b'<q9') + body"), "echo", "TypeError"),
        (
            PACKED,
            PACKED.replace("len(body)", "len(body) // 2").replace("+ body", "+ body[: len(body) // 2]"),
            "echo",
            "ValueError",
        ),
        (FAILURE, "status, answer = FAILED, None", "fail", "without a word"),
        (FAILURE, "status, answer = FAILED, {'error': 3, 'text': None}", "fail", "without a word"),
    ],
)
def test_a_worker_whose_answer_is_garbled(tmp_path: Path, right: str, wrong: str, call: str, cause: str):
    """It is stopped: what it would say next could not be trusted."""
    worker = Worker(replace(PROGRAM, worker=altered(tmp_path, right, wrong)))
    pid = worker.pid
    with pytest.raises(SimulatorError, match=rf"test worker .*'{call}'.*{cause}") as caught:
        worker.call(call, message={"kind": "value", "rows": ROWS})
    assert "\n" not in str(caught.value)
    assert not exists(pid)


def altered(folder: Path, right: str, wrong: str) -> str:
    """Path of a worker's file with one expression replaced."""
    source = Path(wire.__file__).read_text()
    assert source.count(right) == 1
    path = folder / "worker.py"
    path.write_text(source.replace(right, wrong))
    return str(path)


def test_limits_of_this_process_are_one_line(monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    for module, name in ((mmap, "mmap"), (child.socket, "socketpair")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, refuse)
            with pytest.raises(StartError, match=rf"test worker cannot.*{os.strerror(errno.ENOMEM)}"):
                Worker(PROGRAM)
