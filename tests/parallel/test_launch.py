"""How the processes of a run are started, meet, and say what went wrong; no process is started here."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from types import SimpleNamespace
from typing import Any, cast

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.parallel import distributed, launch, processes
from holosoma_jax.runs import checkpoint
from tests.support.messages import tells


def test_one_process_per_accelerator():
    assert launch.how_many(None, "gpu", 4) == 4
    assert launch.how_many(2, "gpu", 4) == 2
    assert launch.how_many(3, "cpu", 1) == 3
    assert launch.how_many(None, "gpu", 8, 2) == 4
    with pytest.raises(ConfigError, match=r"training.devices: got 4 .*\b3 .*\b8 .*--training.devices 2"):
        launch.how_many(3, "gpu", 8, 4)
    with pytest.raises(ConfigError, match=r"accelerator.*CPU"):
        launch.how_many(None, "cpu", 4)
    with pytest.raises(ConfigError, match=r"num_processes: got 8.*\b4 devices"):
        launch.how_many(8, "gpu", 4)


def test_each_process_sees_one_device(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert launch.device("gpu", 1) == {"CUDA_VISIBLE_DEVICES": "1"}
    assert launch.device("gpu", 1, 2) == {"CUDA_VISIBLE_DEVICES": "2,3"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-8a")
    assert launch.device("gpu", 1) == {"CUDA_VISIBLE_DEVICES": "GPU-8a"}
    assert launch.device("cpu", 1) == {}


def test_who_starts_processes_and_who_is_one(monkeypatch):
    several = ["exp:g1-29dof", "--training.multigpu", "True"]
    this = ["coordinator-address=host:1", "num-processes=4", "process-id=3"]
    flagged = [*several, *(f"--training.distributed.{flag}" for flag in this)]
    assert not distributed.is_member(compose.load(["exp:g1-29dof"]))
    assert not distributed.is_member(compose.load(several))
    assert distributed.is_member(compose.load(flagged))
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "1")  # a batch script of one task, which starts the others here
    assert not distributed.is_member(compose.load(several))
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert distributed.is_member(compose.load(several))
    assert not distributed.is_member(compose.load(["exp:g1-29dof"]))


def test_a_scheduler_that_shows_one_gpu_to_each_process(monkeypatch):
    """JAX takes the GPU of the process' rank, which is not there if only one is shown."""
    asked = []
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda local_device_ids, **given: asked.append(local_device_ids)
    )
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    for shown in ("0", "0,1,2,3"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
        distributed.join(compose.load(["exp:g1-29dof", "--training.multigpu", "True"]))
    distributed.join(compose.load(["exp:g1-29dof", "--training.multigpu", "True", "--training.devices", "4"]))
    assert asked == [[0], None, [0, 1, 2, 3]]


def test_a_port_that_is_taken_is_one_line():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        flags = [f"coordinator-address=127.0.0.1:{port}", "num-processes=2", "process-id=0"]
        cfg = compose.load(
            ["exp:g1-29dof", "--training.multigpu", *(f"--training.distributed.{f}" for f in flags)]
        )
        with pytest.raises(ConfigError, match=rf"coordinator_address: port {port}\b"):
            distributed.join(cfg)


def test_processes_that_do_not_meet_are_one_line(monkeypatch):
    def never(*given, **named):
        raise RuntimeError("DEADLINE_EXCEEDED: no answer\nmore")

    monkeypatch.setattr(jax.distributed, "initialize", never)
    flags = ["coordinator-address=host:1", "num-processes=2", "process-id=1"]
    cfg = compose.load(
        ["exp:g1-29dof", "--training.multigpu", *(f"--training.distributed.{f}" for f in flags)]
    )
    with pytest.raises(ConfigError, match=r"host:1 \(DEADLINE_EXCEEDED: no answer\)"):
        distributed.join(cfg)


class Ended:
    """A process that has ended."""

    def __init__(self, code: int) -> None:
        self.returncode = code

    def poll(self) -> int:
        return self.returncode


@pytest.mark.parametrize(
    ("codes", "culprit"),
    [
        ([0, 0], None),
        ([130, 143], None),
        ([distributed.LOST, 1, 2], 1),
        ([-signal.SIGABRT, distributed.LOST, -signal.SIGKILL], 2),
        ([distributed.LOST, 0], 0),
        ([2, 1], 1),  # the main process waited for one that had ended before they met
    ],
)
def test_the_process_to_blame_is_not_one_that_lost_another(codes, culprit):
    assert launch.wait_for_children(cast(Any, [Ended(code) for code in codes])) == culprit


def test_of_a_config_that_all_refuse_the_main_process_is_to_blame():
    """It is one line then, which everybody has seen; another process may have ended first."""

    class Later(Ended):
        def poll(self) -> int | None:
            return getattr(self, "seen", None) or setattr(self, "seen", self.returncode)

    assert launch.wait_for_children(cast(Any, [Later(2), Ended(2)])) == 0
    assert launch.wait_for_children(cast(Any, [Later(distributed.LOST), Ended(2)])) == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer\nmore"),
            distributed.LOST,
            "is gone",
        ),
        (
            AssertionError("sync_global_devices name mismatch ('Checkpointer:save')"),
            distributed.LOST,
            "is gone",
        ),
        (RuntimeError("NCCL operation failed: remote process exited"), distributed.LOST, "is gone"),
        (ValueError("a defect"), 1, "Traceback"),
        (ConfigError("no such thing"), 2, "error: no such thing"),
    ],
)
def test_what_a_process_says_when_it_fails(monkeypatch, capsys, error, code, said):
    """One line where another one failed: what went wrong is said there."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    def body() -> int:
        raise error

    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit) as left:
        distributed.guarded(body)
    text = capsys.readouterr().err
    assert left.value.code == code
    assert said in text
    assert (len(text.splitlines()) == 1) == (code != 1)


def test_a_save_of_several_that_fails_in_one(monkeypatch, tmp_path):
    """Before they write they go on together, without the checkpoint; in the middle the run ends in one line."""
    meta = checkpoint.Meta(step=1, robot="", simulator="", num_envs=4, seed=0, elapsed_s=0.0, config={})
    items = {"learner": {"w": np.zeros(1000)}}
    monkeypatch.setattr(processes, "size", lambda: 2)
    monkeypatch.setattr(processes, "largest", lambda number: number)
    monkeypatch.setattr(processes, "from_main", lambda tell: tell())
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: SimpleNamespace(free=7999))
    with pytest.raises(checkpoint.SaveError, match=r"checkpoint.* GB .*needed.* GB .*free"):
        checkpoint.save(tmp_path, items, meta)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: SimpleNamespace(free=8000))

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ocp.CheckpointManager, "save", full)
    with pytest.raises(checkpoint.BrokenSave, match=r"^process 0 .*: No space left on device"):
        checkpoint.save(tmp_path, items, meta)


def test_nobody_waits_for_ever_for_the_others(monkeypatch, capsys):
    """JAX would abort with a stack trace; this is a line, and before that."""
    left = threading.Event()

    def initialize(*given, initialization_timeout, **named):
        assert initialization_timeout > distributed.MEETING
        assert left.wait(60)

    monkeypatch.setattr(distributed, "MEETING", 0.6)
    monkeypatch.setattr(os, "_exit", lambda code: left.set())
    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    flags = ["coordinator-address=host:1", "num-processes=2", "process-id=1"]
    cfg = compose.load(
        ["exp:g1-29dof", "--training.multigpu", *(f"--training.distributed.{f}" for f in flags)]
    )
    distributed.join(cfg)
    (line,) = capsys.readouterr().err.splitlines()
    assert tells(line, "error: training.multigpu: ... host:1 ... 1 s")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["process-id=0"], "process-id: ... '0' ... training.multigpu true"),
        (
            ["process-id=1", "num-processes=1", "coordinator-address=a:1"],
            "process-id: ... '1' ... num_processes ... 1",
        ),
        (["process-id=0", "num-processes=2"], "process-id: ... '0' ... coordinator_address"),
        (["coordinator-address=a:1"], "coordinator-address: ... 'a:1' ... process_id"),
    ],
)
def test_flags_that_do_not_add_up(flags, said):
    multigpu = [] if len(flags) == 1 and "process-id" in flags[0] else ["--training.multigpu"]
    with pytest.raises(ConfigError) as error:
        compose.load(["exp:g1-29dof", *multigpu, *(f"--training.distributed.{flag}" for flag in flags)])
    assert tells(str(error.value), said)
