"""Worker processes: what arrives, and what is said when one dies, hangs, or is of another version."""

from __future__ import annotations

import ast
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bridges.protocol import SimulatorError
from bridges.remote import child, process
from bridges.remote import worker as wire
from bridges.remote.process import Worker
from bridges.remote.program import Program, StartError
from tests.support import python38
from tests.support.recorded import recorded

PROGRAM = Program(
    title="test",
    backend=str(Path(__file__).with_name("backend.py")),
    calls=("add", "echo", "fail", "die", "flood", "leave", "hang", "missing"),
    arrays={"in": ((3, 5), np.float32), "mask": ((3,), np.bool_), "out": ((3, 5), np.float32)},
    settings={"table": np.arange(6.0).reshape(2, 3), "name": "g1"},
    start_timeout_s=60,
    timeout_s=30,
)
ROWS = np.arange(15, dtype=np.float32).reshape(3, 5)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(PROGRAM)
    yield worker
    worker.close()


def assert_adds(worker: Worker) -> None:
    worker.arrays["in"][...] = ROWS
    worker.call("add", flags=7)
    np.testing.assert_array_equal(worker.arrays["out"], ROWS + 7)


def test_a_call_goes_through_shared_memory(worker: Worker):
    assert_adds(worker)
    assert worker.described["python"] == list(sys.version_info[:2])
    assert worker.described["aligned"] == [0, 0, 0]


@pytest.mark.parametrize("size", [0, 3, 300_000])  # the last is more than a socket takes at once
def test_a_message_comes_back_bit_for_bit(worker: Worker, size: int):
    sent = {
        "a": np.linspace(0, 1, size),
        "b": np.array([[True], [False]]),
        "c": np.array(3.5, np.float32),
        "d": [1, "x"],
    }
    answer = worker.call("echo", message=sent)
    assert answer["d"] == [1, "x"]
    for name in "abc":
        assert answer[name].dtype == sent[name].dtype and answer[name].shape == sent[name].shape
        assert answer[name].tobytes() == sent[name].tobytes()


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what only Linux has."""
    monkeypatch.delattr(os, "eventfd", raising=False)
    monkeypatch.delattr(os, "memfd_create", raising=False)


@pytest.mark.usefixtures("macos")
def test_without_eventfd_and_memfd_pipes_and_files_do(worker: Worker):
    assert_adds(worker)


@pytest.mark.usefixtures("macos")
def test_a_pipe_that_a_dying_worker_closes_is_no_answer(monkeypatch: pytest.MonkeyPatch):
    """The pipe may be seen to be closed before the socket is."""
    children = recorded(monkeypatch, process, "Child")
    worker = Worker(PROGRAM)
    assert_adds(worker)
    children[-1].poll.unregister(children[-1].connection)
    with pytest.raises(SimulatorError, match=r"code 3 .*'leave'"):
        worker.call("leave")


def test_a_refusal_is_raised_here_and_harms_nothing(worker: Worker):
    with pytest.raises(ValueError, match=r"^targets: got nan$"):
        worker.call("fail", message={"kind": "value"})
    assert_adds(worker)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("key", "KeyError in 'fail'"),
        ("memory", "memory .*'fail': MemoryError: no room for 9"),
        ("numpy", r"memory .*'fail': \w*MemoryError: Unable to"),
        ("cuda", "memory .*'fail': RuntimeError: .*9 bytes .*'cuda:0'"),
    ],
)
def test_a_failure_names_call_and_place(worker: Worker, kind: str, words: str):
    with pytest.raises(SimulatorError, match=rf"test worker.*{words}.*backend\.py:\d+") as caught:
        worker.call("fail", message={"kind": kind})
    text = str(caught.value)
    assert "\n" not in text
    assert ("--training.num-envs" in text) == ("out of memory" in text)
    assert_adds(worker)


def test_more_shared_memory_than_there_is():
    """Linux would hand it out all the same, and end a process once it is filled."""
    huge = {"in": ((1 << 45,), np.float32)}
    words = r"test worker needs 140,737\.5 GB of shared memory; \d.* free.*--training\.num-envs"
    with pytest.raises(StartError, match=words) as caught:
        Worker(replace(PROGRAM, arrays=huge))
    assert "\n" not in str(caught.value)


def test_a_worker_says_its_versions():
    worker = Worker(replace(PROGRAM, packages=("pytest", "no-such-package")))
    assert worker.versions == {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pytest": pytest.__version__,
    }
    worker.close()


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
def test_a_killed_worker_is_reported_with_its_last_output(worker: Worker, name: str):
    with pytest.raises(SimulatorError, match=rf"{name}.*'die'.*the last words") as caught:
        worker.call("die", message={"signal": name})
    assert "\n" not in str(caught.value)
    assert ("memory" in str(caught.value)) == (name == "SIGKILL")  # the usual reason for that one
    assert not worker.alive
    with pytest.raises(SimulatorError, match=rf"killed by {name}"):
        worker.call("add")
    worker.start()
    assert_adds(worker)


def test_a_flood_without_an_end_of_line_is_kept_in_part_and_readable(
    worker: Worker, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("DEBUG", child.__name__)
    with pytest.raises(SimulatorError, match=r"code 4 .*'flood'.*50 %") as caught:
        worker.call("flood", flags=20)
    assert str(caught.value).isprintable()
    assert len(caplog.records) > 100 and max(len(r.getMessage()) for r in caplog.records) < 5000


def test_a_worker_that_died_between_two_calls(worker: Worker):
    pid = worker.pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(SimulatorError, match=r"SIGKILL.*'add'"):
        worker.call("add")


def test_a_worker_that_ends_is_reported_with_its_code(worker: Worker):
    with pytest.raises(SimulatorError, match=r"code 3 .*'leave'.*printed nothing"):
        worker.call("leave")


def test_a_hung_worker_is_stopped():
    worker = Worker(replace(PROGRAM, timeout_s=0.5))
    pid = worker.pid
    with pytest.raises(SimulatorError, match=r"'hang' .*\b0\.5 s.*timeout_s.*going in circles"):
        worker.call("hang")
    assert not exists(pid)
    worker.start()
    assert_adds(worker)
    worker.close()


def test_a_hung_worker_behind_a_script_is_stopped_too(tmp_path: Path):
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\n{sys.executable} "$@"\nexit $?\n')
    script.chmod(0o755)
    worker = Worker(replace(PROGRAM, python=str(script), timeout_s=0.5))
    pids = worker.pid, worker.described["pid"]
    assert pids[0] != pids[1]
    with pytest.raises(SimulatorError, match="'hang'"):
        worker.call("hang")
    until = time.monotonic() + 30
    while any(map(exists, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(exists, pids))


def test_started_twice(worker: Worker):
    with pytest.raises(StartError, match=rf"process {worker.pid} "):
        worker.start()
    assert_adds(worker)


@pytest.mark.parametrize(
    ("fail", "words"),
    [
        ("raise", r"RuntimeError .*: no licence .*backend\.py:\d+"),
        ("memory", r"memory.*: MemoryError: *\(in .*--training\.num-envs"),
        ("exit", r"ended with code 127 while it started.*libfoo\.so: cannot open"),
        ("hang", r"not ready after 1 s.*start_timeout_s"),
    ],
)
def test_a_backend_that_does_not_start(fail: str, words: str):
    limit = 1 if fail == "hang" else 60
    with pytest.raises(StartError, match=words) as caught:
        Worker(replace(PROGRAM, settings={**PROGRAM.settings, "fail": fail}, start_timeout_s=limit))
    assert "\n" not in str(caught.value)


def test_an_interpreter_that_is_not_there():
    with pytest.raises(StartError, match=r"/no/python.*No such file.*remote\.python"):
        Worker(replace(PROGRAM, python="/no/python"))


def test_a_program_that_is_no_worker(tmp_path: Path):
    (tmp_path / "worker.py").write_text("raise SystemExit('wrong file')")
    with pytest.raises(StartError, match=r"code 1 .*wrong file"):
        Worker(replace(PROGRAM, worker=str(tmp_path / "worker.py")))


def test_a_worker_of_another_version(tmp_path: Path):
    source = Path(wire.__file__).read_text()
    other = source.replace(f"PROTOCOL = {wire.PROTOCOL}", "PROTOCOL = 99")
    (tmp_path / "worker.py").write_text(other)
    with pytest.raises(StartError, match=rf"protocol 99, .*\b{wire.PROTOCOL}\b"):
        Worker(replace(PROGRAM, worker=str(tmp_path / "worker.py")))


def test_interrupting_a_call_ends_the_worker(worker: Worker, monkeypatch: pytest.MonkeyPatch):
    """Its answer would be taken for that to the next call."""
    pid = worker.pid

    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(wire, "send", interrupted)
        worker.call("echo", message={})
    assert not exists(pid)
    with pytest.raises(SimulatorError, match="interrupted"):
        worker.call("add")


def test_closing_ends_the_process_and_may_be_repeated():
    worker = Worker(PROGRAM)
    pid = worker.pid
    worker.close()
    worker.close()
    assert not exists(pid)
    with pytest.raises(SimulatorError, match="was closed"):
        worker.call("add")


def test_workers_end_with_their_host():
    code = (
        "import os, sys; from tests.remote.test_process import PROGRAM; from bridges.remote.process import Worker;"
        "worker = Worker(PROGRAM); print(worker.pid, flush=True); os._exit(9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    pid = int(done.stdout)
    until = time.monotonic() + 30
    while exists(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not exists(pid)


def test_the_workers_file_is_python_38_without_the_project():
    tree = ast.parse(Path(wire.__file__).read_text(), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
    }
    assert imported - sys.stdlib_module_names == {"numpy"}


def test_it_runs_on_python_38():
    worker = Worker(replace(PROGRAM, python=python38.require()))
    assert worker.described["python"] == [3, 8]
    assert_adds(worker)
    assert worker.call("echo", message={"a": ROWS})["a"].tobytes() == ROWS.tobytes()
    worker.close()


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") if os.path.exists(f"/proc/{pid}/stat") else open(os.devnull) as stat:
        return stat.read().rpartition(")")[2].split()[:1] != ["Z"]  # not merely waited for
