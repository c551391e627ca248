"""What an iteration of training takes on more cores and more devices: a model from measured pieces, and its check.

Trains briefly, each time by `holosoma_jax.train` bound to given cores: with half of the environments on one core, all
of them on one, all on two, and all of them in two processes with a core each. The first two give every piece of an
iteration (physics, environment, learning) as a fixed part and one that grows with the environments; the other two are
predicted from these, with the messages between processes counted in the traced program and timed here, and compared.
The model then says what more cores and more devices would give (docs/scaling.md). Linux.

    python -m benchmarks.scaling --out scaling.json
    python -m benchmarks.scaling exp:g1-29dof-fast-sac-cpu --num-envs 128 --iterations 800 --skip 300
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import messages, scaling_model
from benchmarks.machine import describe, report
from holosoma_jax.config import compose
from holosoma_jax.parallel.launch import free_port

CORES = (1, 2, 4, 8, 16, 32, 64, 128)
DEVICES = (1, 2, 4, 8, 16, 32, 64)
ITERATIONS = (0.01, 0.1, 1.0)
"""s of an iteration on one accelerator, for which the waiting on several is worked out"""
NEAR, FAR = scaling_model.Link(20e-6, 200e9), scaling_model.Link(50e-6, 25e9)
"""Assumed, not measured: accelerators of one machine, and machines with 200 Gbit/s between them."""
ENTRY = """\
import os, runpy
os.sched_setaffinity(0, {cores})
runpy.run_module("holosoma_jax.train", None, "__main__")
"""


class Case(NamedTuple):
    """One brief training."""

    share: float
    """of the environments"""
    cores: int
    """of each process"""
    processes: int = 1


CASES = {
    "half of them, one core": Case(0.5, 1),
    "one core": Case(1.0, 1),
    "two cores": Case(1.0, 2),
    "two processes with a core each": Case(1.0, 1, 2),
}


class Training(NamedTuple):
    """What every case trains, and for how long."""

    arguments: Sequence[str]
    num_envs: int
    iterations: int
    skip: int
    """first iterations that do not count: compiling, and robots that all fall together"""


def train(training: Training, case: Case) -> dict[str, float]:
    """Median seconds of an iteration, and of its pieces."""
    algo = compose.load(training.arguments).algo.config
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*training.arguments, f"--training.num-envs={round(training.num_envs * case.share)}"]
        arguments += [f"--training.output-dir={folder}", "--training.export-onnx=False", "logger:console"]
        arguments += ["--logger.video.enabled=False"]
        arguments += [f"--algo.config.num-learning-iterations={training.iterations}"]
        if hasattr(algo, "batch_size"):
            arguments += [f"--algo.config.batch-size={round(algo.batch_size * case.share)}"]
        _run(arguments, case)
        rows = [json.loads(line) for file in Path(folder).rglob("metrics.jsonl") for line in file.open()]
    return median_iteration([row for row in rows if "Perf/total_fps" in row], training.skip)


def median_iteration(rows: Sequence[dict[str, float]], skip: int) -> dict[str, float]:
    """Of a run's log lines, those after `skip`; a line stands for the iterations since the one before."""
    found: dict[str, list[float]] = {name: [] for name in (*scaling_model.PIECES, "all")}
    for before, row in itertools.pairwise(rows):
        count = row["step"] - before["step"]
        if before["step"] < skip:
            continue
        samples = row["Train/num_samples"] - before["Train/num_samples"]
        physics, collection = row["Perf/physics_time"] / count, row["Perf/collection_time"] / count
        found["physics"].append(physics)
        found["environment"].append(collection - physics)
        found["learning"].append(row["Perf/learning_time"] / count)
        found["all"].append(samples / row["Perf/total_fps"] / count)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def _run(arguments: Sequence[str], case: Case) -> None:
    """`train ARGUMENTS` in as many processes and on as many cores as the case says.

    Raises:
      RuntimeError: one of them failed.
    """
    cores, running = sorted(os.sched_getaffinity(0)), []
    if case.processes > 1:
        address = f"--training.distributed.coordinator-address=127.0.0.1:{free_port()}"
        arguments = [*arguments, "--training.multigpu=True", address]
        arguments += [f"--training.distributed.num-processes={case.processes}"]
    for index in range(case.processes):
        own = cores[index * case.cores : (index + 1) * case.cores]
        place = [f"--training.distributed.process-id={index}"] if case.processes > 1 else []
        argv = [sys.executable, "-c", ENTRY.format(cores=set(own)), *arguments, *place]
        running.append(subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    for process in running:
        said, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"a training ended with {process.returncode}: {said[-2000:]}")


def main() -> None:
    """Measure, predict, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-envs", type=int, default=512)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--skip", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out")
    args, arguments = parser.parse_known_args()
    training = Training(arguments or ["exp:g1-29dof"], args.num_envs, args.iterations, args.skip)
    rounds = [{name: train(training, case) for name, case in CASES.items()} for _ in range(args.rounds)]
    measured = {
        name: {key: min(turn[name][key] for turn in rounds) for key in rounds[0][name]} for name in CASES
    }
    sent, link = messages.count(training.arguments), messages.measure_link()
    parts = scaling_model.lines(measured["half of them, one core"], measured["one core"], args.num_envs)
    predicted = {
        "two cores": sum(scaling_model.on_cores(parts, args.num_envs, 2).values()),
        "two processes with a core each": scaling_model.in_processes(parts, args.num_envs, 2, sent, link),
    }
    report(
        {
            **describe(),
            "arguments": list(training.arguments),
            "num_envs": args.num_envs,
            "seconds": measured,
            "lines": {name: part._asdict() for name, part in parts.items()},
            "messages": sent._asdict(),
            "link": link._asdict(),
            "predicted": predicted,
            "measured_over_predicted": {
                name: measured[name]["all"] / seconds for name, seconds in predicted.items()
            },
            "seconds_on_cores": {
                num_envs: {n: sum(scaling_model.on_cores(parts, num_envs, n).values()) for n in CORES}
                for num_envs in (args.num_envs, 8 * args.num_envs, 64 * args.num_envs)
            },
            "share_not_waiting": {
                iteration: {n: scaling_model.efficiency(iteration, sent, NEAR, FAR, n, 8) for n in DEVICES}
                for iteration in ITERATIONS
            },
        },
        args.out,
    )


if __name__ == "__main__":
    main()
