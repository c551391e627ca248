"""Two hundred mistakes at the command line: one clear line, exit code 2, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from holosoma_jax import doctor, export, replay, train
from holosoma_jax import eval as eval_command
from holosoma_jax.training import session
from tests.support.mistakes import Mistake, draw

ROOT = Path(__file__).parents[2]
SEED = 11
MISTAKES = [*draw("g1-29dof", 120, SEED), *draw("g1-29dof-fast-sac", 80, SEED)]


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake that is not noticed must not start a training of days."""

    def run(cfg: object) -> int:
        raise AssertionError("this command line was taken for right")

    monkeypatch.setattr(session, "run", run)


def refused(capsys: pytest.CaptureFixture[str], main, argv: list[str]) -> str:
    """The line that the command refuses `argv` with."""
    try:
        code = main(argv)
    except SystemExit as stopped:
        code = stopped.code
    out, err = capsys.readouterr()
    assert code == 2, argv
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, (argv, out, err)
    assert "Traceback" not in err and len(err) < 1200, err
    return err.removeprefix("error: ").strip()


@pytest.mark.parametrize("chunk", range(10))
def test_each_mistake_is_one_clear_line(capsys: pytest.CaptureFixture[str], chunk: int):
    for mistake in MISTAKES[chunk::10]:
        line = refused(capsys, train.main, list(mistake.argv))
        assert mistake.hint in line or mistake.hint.replace("-", "_") in line, (mistake, line)


def test_the_mistakes_are_many_and_different():
    assert len(MISTAKES) == 200 and len({mistake.argv for mistake in MISTAKES}) > 190
    kinds = Counter(mistake.kind for mistake in MISTAKES)
    assert len(kinds) == 6 and min(kinds.values()) > 30


@pytest.mark.parametrize(
    ("main", "argv"),
    [
        (eval_command.main, ["--chekpoint=x"]),
        (eval_command.main, ["--checkpoint=x", "--velocity=[1,2]"]),
        (eval_command.main, ["--checkpoint=x", "--video=maybe"]),
        (eval_command.main, ["--checkpoint=nowhere", "simulator:mujoco"]),
        (eval_command.main, ["--checkpoint=wandb://me", "simulator:mujoco"]),
        (export.main, ["--checkpoint=x", "--batch=-1"]),
        (export.main, ["checkpoint=x"]),
        (replay.main, ["--asset=g2", "x.npz"]),
        (replay.main, ["x.npz", "y.npz"]),
        (doctor.main, ["--json=3"]),
        (doctor.main, ["doctor"]),
        (train.main, ["--training.checkpoint=nowhere"]),
        (train.main, ["--training.checkpoint=wandb://me/project"]),
    ],
)
def test_the_other_commands(capsys: pytest.CaptureFixture[str], main, argv: list[str]):
    refused(capsys, main, argv)


@pytest.mark.parametrize(
    ("main", "argv", "expected"),
    [
        (train.main, ["--checkpoint", "logs/a"], "Did you mean --training.checkpoint?"),
        (train.main, ["--resume", "logs/a"], "Did you mean --training.checkpoint?"),
        (train.main, ["exp:g1-29dof", "simulator=mujoco"], "Did you mean simulator:mujoco?"),
        (train.main, ["exp:g1-29dof", "logs/a"], "as in --checkpoint logs/a"),
        (eval_command.main, ["--checkpoint=x", "--velocity", "0.5", "0"], "--velocity: got '0.5 0'"),
        (replay.main, ["x.npz", "--headless=False"], "Did you mean --training.headless?"),
        (replay.main, ["nowhere"], "nowhere: no such file."),
        (replay.main, ["--file", "nowhere"], "nowhere: no such file."),
    ],
)
def test_what_people_type_out_of_habit(
    capsys: pytest.CaptureFixture[str], main, argv: list[str], expected: str
):
    assert expected in refused(capsys, main, argv)


def in_a_process(command: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """The finished process."""
    return subprocess.run(
        [sys.executable, "-m", f"holosoma_jax.{command}", *argv],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


ONE_OF_A_KIND = {mistake.kind: mistake for mistake in reversed(MISTAKES)}


@pytest.mark.parametrize("mistake", ONE_OF_A_KIND.values(), ids=list(ONE_OF_A_KIND))
def test_from_the_shell(mistake: Mistake):
    done = in_a_process("train", *mistake.argv)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("command", ["train", "eval", "replay", "export", "doctor"])
def test_help(command: str):
    done = in_a_process(command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"Usage: python -m holosoma_jax.{command} ")
