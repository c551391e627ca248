"""Trainings at a terminal that is interrupted or lost: they save, and say how to resume."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from holosoma_jax.runs import saved_steps
from tests.support.child import arguments, proposed, toy_training


def only_run(output: Path) -> Path:
    (run,) = (output / "toy").iterdir()
    return run


@pytest.mark.slow
@pytest.mark.usefixtures("default_signals")
def test_ctrl_c_saves_and_the_printed_command_resumes(tmp_path, program_cache):
    """In a process of its own, interrupted from outside while it iterates."""
    argv = arguments(
        tmp_path, **{"algo.config.num-learning-iterations": 100_000, "algo.config.save-interval": 100_000}
    )
    with toy_training(argv, program_cache) as process:
        for line in process.stdout:
            if line.startswith("iteration 3/"):
                process.send_signal(signal.SIGINT)
                break
        out = process.stdout.read()
    assert process.returncode == 130
    assert re.search("^Ctrl-C: .*iteration.*saving", out, re.MULTILINE)
    again = proposed(out, "Resume")
    (step,) = (only_run(tmp_path) / "checkpoints").iterdir()
    more = ["--algo.config.num-learning-iterations", str(int(step.name) + 1)]
    with toy_training([*again, *more], program_cache) as resumed:
        out = resumed.stdout.read()
    assert resumed.returncode == 0, out
    assert f"{step.name} of {int(step.name) + 1} iterations are done" in out
    assert (step.parent / str(int(step.name) + 1)).is_dir()


@pytest.mark.usefixtures("default_signals")
def test_a_terminal_that_is_lost_costs_nothing(tmp_path, program_cache):
    """Nobody reads what is printed any more, as after `| head -1` or a broken ssh connection; then SIGHUP comes."""
    argv = arguments(
        tmp_path, **{"algo.config.num-learning-iterations": 100_000, "algo.config.save-interval": 100_000}
    )
    with toy_training(argv, program_cache) as process:
        for line in process.stdout:
            if line.startswith("iteration 1/"):
                break
        process.stdout.close()
        metrics = only_run(tmp_path) / "metrics.jsonl"
        while process.poll() is None and metrics.read_text().count("\n") < 20:
            time.sleep(0.05)
        process.send_signal(signal.SIGHUP)
    assert process.returncode == 128 + signal.SIGHUP
    (step,) = saved_steps.steps(only_run(tmp_path) / "checkpoints")
    assert int(step.name) >= 20
