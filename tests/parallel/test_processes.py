"""Several processes, on one machine and without an accelerator: everything else is as with one each."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from holosoma_jax.config import compose
from holosoma_jax.learn import ppo
from holosoma_jax.parallel import launch
from holosoma_jax.parallel.devices import Devices
from holosoma_jax.runs import checkpoint, saved_steps
from holosoma_jax.runs.lock import locked
from tests.support import small, toy
from tests.support.child import ROOT, arguments, fast_sac_arguments, quickly, toy_training
from tests.support.messages import tells
from tests.support.opened_runs import replace_folder

needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks processes up in /proc")

TWO = {"training.multigpu": True, "training.distributed.num-processes": 2}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, program_cache: str) -> list[dict[str, np.ndarray]]:
    """What the two processes of `tests.support.pair` found out."""
    folder, port = tmp_path_factory.mktemp("pair"), str(launch.free_port())
    (folder / "file").touch()
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.pair", port, str(rank), str(folder)],
            cwd=ROOT,
            env=quickly(program_cache),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(said)
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(2)]


def test_programs_take_and_give_what_is_the_process_own(pair):
    for rank, found in enumerate(pair):
        np.testing.assert_array_equal(found["x"], np.arange(3.0) + 10 * rank)
        np.testing.assert_array_equal(found["total"], 2 * np.arange(3.0) + 10)
        key = jax.random.fold_in(jax.random.key(0), rank)
        np.testing.assert_array_equal(found["drawn"], jax.random.normal(key, (2,)))
        assert (int(found["scalar"]), int(found["own"]), *found["one"]) == (rank, rank + 1, rank)
        np.testing.assert_array_equal(found["numpy"], np.arange(2) * (rank + 1))


def test_processes_learn_what_devices_of_one_process_learn(pair):
    state = small.learner(empirical_normalization=True)
    batch = small.rollout(state)
    devices = Devices(2)
    halves = devices.split(batch._replace(last_value=batch.last_value[None]), axis=1)
    halves = halves._replace(last_value=halves.last_value[:, 0])
    update = devices.jit(partial(ppo.update, axis_name=devices.axis_name))
    together, _ = update(devices.replicate(state), halves, *devices.replicate((jax.random.key(3),)))
    moved = 0.0
    for i, expected in enumerate(jax.tree.leaves(devices.first(together.params))):
        np.testing.assert_array_equal(pair[0][f"parameter{i}"], pair[1][f"parameter{i}"])
        np.testing.assert_allclose(pair[0][f"parameter{i}"], expected, rtol=1e-5, atol=1e-6)
        moved += float(np.abs(expected - jax.tree.leaves(state.params)[i]).sum())
    assert moved > 1e-2


def test_what_the_main_process_says_reaches_all(pair):
    for found in pair:
        assert str(found["told"]) == "rank 0 failed with: no such thing: ü"
        assert int(found["largest"]) == 5


@pytest.mark.slow
@pytest.mark.parametrize("make", [arguments, fast_sac_arguments])
def test_a_run_of_two_processes_resumes_bit_for_bit(tmp_path, program_cache, make):
    half, whole = (2, 4) if make is arguments else (12, 24)
    budget = "algo.config.num-learning-iterations"
    once = run(make(tmp_path / "once", **TWO, **{budget: whole}), program_cache)
    twice = run(make(tmp_path / "twice", **TWO, **{budget: half}), program_cache)
    resumed = ["--training.checkpoint", str(twice), f"--{budget}", str(whole), "logger:console"]
    assert run(resumed, program_cache, twice.parent) == twice
    assert rows(once) == rows(twice)
    assert checkpoint.read_meta(once / "checkpoints" / str(whole)).processes == 2
    np.testing.assert_equal(*(learner(path / "checkpoints" / str(whole)) for path in (once, twice)))
    alone = subprocess.run(
        [sys.executable, "-m", "tests.support.child", *resumed, "--training.multigpu=False"],
        cwd=ROOT, env=quickly(program_cache), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert alone.returncode == 2
    assert tells(alone.stderr, "2 device(s) ... 1 ... --training.multigpu True")


@pytest.mark.slow
@pytest.mark.usefixtures("default_signals")
def test_one_signal_stops_all_of_them_and_the_run_is_saved(tmp_path, program_cache):
    process = started(tmp_path, program_cache)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130, said
    assert "Ctrl-C: stopping" in said
    assert latest(tmp_path) > 0


@pytest.mark.slow
@needs_proc
def test_losing_one_process_ends_all_of_them(tmp_path, program_cache):
    process = started(tmp_path, program_cache)
    victim = member(process.pid, 1)
    os.kill(victim, signal.SIGKILL)
    said = process.communicate(timeout=60)[0]
    assert process.returncode not in (0, 130), said
    assert "error: process " in said
    assert not alive(tmp_path)


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("kind", ["link", "removed", "locked", "file"])
def test_all_of_them_end_and_are_saved_elsewhere_when_their_folder_is_replaced(tmp_path, program_cache, kind):
    mine = run(arguments(tmp_path / "mine"), program_cache)
    process = started(tmp_path / "logs", program_cache)
    (path,) = (tmp_path / "logs" / "toy").glob("[!.]*")
    main = member(process.pid, 0)
    os.kill(main, signal.SIGSTOP)  # it would make the folder again while it is replaced
    own = replace_folder(path, mine, kind)
    with locked(path) if kind == "locked" else contextlib.nullcontext():
        os.kill(main, signal.SIGCONT)
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 1 and f"error: {path} was taken" in said, said
    assert said.count("\nerror: ") == 2, said  # that one, and that process 0 has failed
    found = own or next(other for other in (tmp_path / "logs" / "toy").glob("[!.]*") if other != path)
    step = saved_steps.latest(found / "checkpoints")
    assert step is not None and checkpoint.read_meta(step).processes == 2
    checkpoint.verify(step)
    assert not alive(tmp_path)
    again = [
        "--training.checkpoint",
        str(found),
        f"--algo.config.num-learning-iterations={int(step.name) + 1}",
    ]
    with toy_training(again, program_cache) as resumed:
        said = resumed.communicate(timeout=120)[0]
    assert resumed.returncode == 0 and f"{step.name} of {int(step.name) + 1} iterations are done" in said


@pytest.mark.slow
@needs_proc
def test_a_run_of_two_processes_is_locked(tmp_path, program_cache):
    process = started(tmp_path, program_cache)
    (path,) = (tmp_path / "toy").glob("[!.]*")
    for more in ([], [f"--{key.replace('_', '-')}={value}" for key, value in TWO.items()]):
        with toy_training(["--training.checkpoint", str(path), *more], program_cache) as second:
            said = second.communicate(timeout=120)[0]
        assert second.returncode == 2 and "is being written by process" in said, said
        assert said.count("error: ") == 1
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert latest(tmp_path) > 0


@pytest.mark.slow
@needs_proc
def test_processes_end_with_the_one_that_started_them(tmp_path, program_cache):
    process = started(tmp_path, program_cache)
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while alive(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not alive(tmp_path)
    assert latest(tmp_path) > 0


def run(argv: list[str], program_cache: str, project: Path | None = None) -> Path:
    """The folder of a run of the toy that went well."""
    with toy_training(argv, program_cache) as process:
        said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    return next(
        (project or Path(next(a for a in argv if "output-dir" in a).partition("=")[2]) / "toy").iterdir()
    )


def started(output: Path, program_cache: str) -> subprocess.Popen[str]:
    """A run of two processes without an end, in the middle of it."""
    endless = {"algo.config.num-learning-iterations": 100_000, "algo.config.save-interval": 1000}
    process = toy_training(arguments(output, **TWO, **endless), program_cache)
    for line in process.stdout:
        if line.startswith("iteration 3/"):
            break
    return process


def member(launcher: int, rank: int) -> int:
    """Process number of a run's process."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
        if parent == launcher and f"--training.distributed.process-id={rank}".encode() in command:
            return int(entry.name)
    raise AssertionError(f"no process {rank} below {launcher}")


def alive(output: Path) -> list[str]:
    """Processes that work for a run below `output`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(output).encode() in command:
            found.append(entry.name)
    return found


def latest(output: Path) -> int:
    """Step of the newest checkpoint."""
    found = saved_steps.latest(next((output / "toy").iterdir()) / "checkpoints")
    return int(found.name) if found else 0


def rows(run: Path) -> list[dict[str, float]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.startswith("Perf/")} for line in lines]


def learner(step: Path) -> list[np.ndarray]:
    """The learner in a checkpoint, read by a single process."""
    meta = checkpoint.read_meta(step)
    setup = toy.setup(compose.from_mapping(meta.config))
    fresh = setup.learner.init(jax.random.key(0), setup.learner_spec, setup.cfg.algo.config)
    found = checkpoint.load(step, {"learner": fresh})["learner"].replace(hyper=None)
    return [np.asarray(x) for x in jax.tree.leaves(found)]
