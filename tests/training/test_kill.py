"""A run that is killed at any moment continues as if nothing had happened."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from holosoma_jax.config import compose
from holosoma_jax.runs import checkpoint, saved_steps
from holosoma_jax.training import run_state
from tests.support import toy
from tests.support.child import arguments, fast_sac_arguments, toy_training

STARTING = 5.0
"""s; some of the kills fall into the first this many of a process' life: imports, compiling, loading"""
RUNNING = 0.6
"""s; the others into this many after its first iteration, about half of which it spends saving"""


def kill(argv: list[str], program_cache: str, rng: random.Random) -> str:
    """Start a training, kill it at a random moment, and return what it had said by then."""
    with toy_training(argv, program_cache) as process:
        said = ""
        if rng.random() < 0.3:
            time.sleep(rng.uniform(0.0, STARTING))
        else:
            for line in process.stdout:
                said += line
                if line.startswith(("iteration ", "step ")):
                    break
            time.sleep(rng.uniform(0.0, RUNNING))
        process.kill()
        said += process.stdout.read()
    assert process.returncode == -9, said
    return said


def rows(run: Path) -> list[dict[str, float]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.startswith("Perf/")} for line in lines]


def state(step: Path) -> dict:
    """All that a checkpoint holds, as a session would begin with it."""
    setup = toy.setup(compose.from_mapping(checkpoint.read_meta(step).config))
    return toy.everything(setup, run_state.create_or_restore(setup, step)[1])


def survive(
    kills: int,
    seed: int,
    output: Path,
    program_cache: str,
    make: Callable[..., list[str]] = arguments,
    **settings: object,
) -> int:
    """Kill a run again and again, resume it each time; at the end it is what an undisturbed one is.

    `make` gives the run's command line from its folder and settings. Returns the number of kills after
    which an incomplete save lay around.
    """
    rng = random.Random(seed)
    endless = {"algo.config.num-learning-iterations": 100_000, "algo.config.save-interval": 1} | settings
    argv, run, torn = make(output / "killed", **endless), None, 0
    for _ in range(kills):
        kill(argv, program_cache, rng)
        runs = [p for p in (output / "killed").glob("toy/*") if not p.name.startswith(".")]
        assert len(runs) <= 1
        if runs:
            run = runs[0]
            argv = ["--training.checkpoint", str(run)]
            torn += any((run / "checkpoints").glob(".*"))
            for step in (run / "checkpoints").glob("[0-9]*"):  # whatever has a step's name is whole
                checkpoint.verify(step)
    assert run is not None
    last = saved_steps.latest(run / "checkpoints")
    total = (int(last.name) if last else 0) + 2
    for rest in (
        [*argv, f"--algo.config.num-learning-iterations={total}"],
        make(output / "alone", **endless | {"algo.config.num-learning-iterations": total}),
    ):
        with toy_training(rest, program_cache) as process:
            said = process.stdout.read()
        assert process.returncode == 0, said
    (alone,) = (output / "alone" / "toy").iterdir()
    assert rows(run) == rows(alone)
    assert [row["step"] for row in rows(run)] == list(range(1, total + 1))
    found, expected = (state(each / "checkpoints" / str(total)) for each in (run, alone))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    return torn


@pytest.mark.slow
def test_a_run_survives_thirty_kills(tmp_path, program_cache):
    """Numbers, parameters, environments, physics and keys, bit for bit."""
    torn = survive(30, 2, tmp_path, program_cache)
    assert torn > 0  # at least one kill fell into a save


@pytest.mark.slow
def test_an_off_policy_run_survives_five_kills(tmp_path, program_cache):
    """With its replay buffer."""
    survive(5, 3, tmp_path, program_cache, fast_sac_arguments, **{"algo.config.logging-interval": 1})
