"""The train command as a user meets it, with the toy robot for a simulator."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from bridges.protocol import SimulatorError
from holosoma_jax import train
from holosoma_jax.config import compose
from holosoma_jax.runs import checkpoint, saved_steps
from holosoma_jax.runs.lock import Lock
from holosoma_jax.training import run_state, session
from tests.extensions.outside import losses
from tests.support import toy
from tests.support.child import arguments, fast_sac_arguments, proposed
from tests.support.messages import tells
from tests.support.opened_runs import replace_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run of four iterations, for copies of it."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "build", toy.setup)
        assert train.main([str(a) for a in arguments(folder)]) == 0
    return only_run(folder)


@pytest.fixture
def finished(trained: Path, tmp_path: Path) -> Path:
    """The folder of a finished run, to go on in or to damage."""
    return Path(shutil.copytree(trained, tmp_path / "toy" / trained.name))


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the train command in this process; returns exit code, stdout, stderr."""
    monkeypatch.setattr(session, "build", toy.setup)

    def run(*argv: object) -> tuple[int, str, str]:
        try:
            code = train.main([str(a) for a in argv])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def only_run(output: Path) -> Path:
    (run,) = (output / "toy").iterdir()
    return run


def everything(run: Path) -> Any:
    """All that the newest checkpoint of `run` holds, as a session would begin with it."""
    step = saved_steps.latest(run / "checkpoints")
    assert step is not None
    setup = toy.setup(compose.from_mapping(checkpoint.read_meta(step).config))
    return toy.everything(setup, run_state.create_or_restore(setup, step)[1])


def logged(run: Path) -> list[dict[str, float]]:
    """What a run has logged, without what the clock says."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.startswith("Perf/")} for line in lines]


def assert_same_run(run: Path, other: Path) -> None:
    """Logs and newest checkpoints are the same, bit for bit."""
    assert logged(run) == logged(other)
    jax.tree.map(np.testing.assert_array_equal, everything(run), everything(other))


def test_run_leaves_its_files_and_says_what_to_type_next(command, tmp_path):
    code, out, err = command(*arguments(tmp_path))
    run = only_run(tmp_path)
    assert (code, err) == (0, "")
    assert sorted(p.name for p in run.glob("[!.]*")) == [
        "checkpoints",
        "config.yaml",
        "learning_curve.png",
        "metrics.jsonl",
    ]
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["2", "4"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert compose.load(["--config", str(run / "config.yaml")]).training.num_envs == 16
    assert out.count("Compiling for 16 environments") == 1
    assert len(re.findall(r"^Compiled.* [\d.]+ s\.", out, re.MULTILINE)) == 1
    assert f"python -m holosoma_jax.eval --checkpoint {run}" in out
    more = proposed(out, "Train on")
    assert more == [
        "--training.checkpoint",
        str(run),
        "--algo.config.num-learning-iterations",
        "8",
    ]

    code, out, err = command(*more)
    assert (code, err) == (0, "")
    assert tells(out, f"{run / 'checkpoints' / '4'} ... 4 of 8 iterations")
    assert only_run(tmp_path) == run
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert sorted(int(p.name) for p in (run / "checkpoints").iterdir()) == [2, 4, 6, 8]
    assert compose.load(["--config", str(run / "config.yaml")]).algo.config.num_learning_iterations == 8


@pytest.mark.slow
def test_an_off_policy_run_counts_control_steps(command, tmp_path):
    code, out, err = command(*fast_sac_arguments(tmp_path))
    run = only_run(tmp_path)
    assert (code, err) == (0, "")
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["12", "24"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [4, 8, 12, 16, 20, 24]
    assert (run / "learning_curve.png").exists()
    assert tells(out, "Replay buffer: 0.00 GB ... 16 transitions ... 16 environments")
    assert len(re.findall(r"^Compiled.* [\d.]+ s\.", out, re.MULTILINE)) == 1
    assert re.search(r"^step 24/24 \| reward .* \| critic loss .* \| alpha .* steps/s", out, re.MULTILINE)

    more = proposed(out, "Train on")
    code, out, err = command(*more)
    assert (code, err) == (0, "")
    assert tells(out, f"{run / 'checkpoints' / '24'} ... 24 of 48 steps")
    code, _, err = command(*more, "--algo.config.buffer-size=8")
    assert code == 2
    assert tells(err, "'buffer/data/actor_obs' ... [16, 16, 13] ... checkpoint")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(4, 52, 4))


def test_one_checkpoint_starts_a_run_of_its_own(command, tmp_path):
    command(*arguments(tmp_path))
    run = only_run(tmp_path)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    code, _, _ = command("--training.checkpoint", run / "checkpoints" / "2", "--training.name", "branch")
    assert code == 0
    (branch,) = (p for p in (tmp_path / "toy").iterdir() if p != run)
    assert branch.name.endswith("-branch")
    assert [json.loads(line)["step"] for line in (branch / "metrics.jsonl").read_text().splitlines()] == [
        3,
        4,
    ]
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_a_new_run_begins_with_the_policy_of_another(command, tmp_path):
    command(*arguments(tmp_path))
    run = only_run(tmp_path)
    command(
        "--training.checkpoint", run, "--algo.config.num-learning-iterations", "6"
    )  # which its config says
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    others = "--training.num-envs", "8", "--training.name", "warm"
    code, _, err = command("--training.checkpoint", run, *others)
    assert code == 2 and f"--training.warm-start {run / 'checkpoints' / '6'} instead of" in err
    code, out, err = command("--training.warm-start", run, *others)
    assert (code, err) == (0, "")
    assert f"Beginning with the policy of {run / 'checkpoints' / '6'}." in out
    (warm,) = (p for p in (tmp_path / "toy").iterdir() if p.name.endswith("-warm"))
    rows = [json.loads(line) for line in (warm / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    code, out, _ = command("--training.checkpoint", warm, "--algo.config.num-learning-iterations", "7")
    assert code == 0 and f"Continuing from {warm / 'checkpoints' / '6'}: 6 of 7" in out


def test_finished_run_has_nothing_left_to_do(command, finished):
    code, out, _ = command("--training.checkpoint", finished)
    assert code == 0
    assert tells(out, "Nothing ... all 4 iterations")
    _, out, _ = command("--training.checkpoint", finished, "--algo.config.num-learning-iterations", "1")
    assert "--algo.config.num-learning-iterations 8\n" in out  # more than what is done
    assert sorted(p.name for p in (finished / "checkpoints").iterdir()) == ["2", "4"]


def test_named_preset_wins_over_the_saved_config(command, finished, tmp_path):
    other = [a for a in arguments(tmp_path) if "num-learning-iterations" not in a]
    more = ["--algo.config.num-learning-iterations", "5", "--algo.config.gamma", "0.5"]
    code, out, _ = command(*other, *more, "--training.checkpoint", finished)
    assert code == 0
    assert "4 of 5 iterations are done" in out
    assert compose.load(["--config", str(finished / "config.yaml")]).algo.config.gamma == 0.5


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--training.checkpoint", "RUN", "--training.num-envs=8"], "16 environments, this run has 8"),
        (["--training.checkpoint", "RUN", "--algo.config.actor-hidden=[32]"], "does not fit this run"),
        (["--training.checkpoint", "/nowhere"], "no such folder: /nowhere"),
        (["--training.checkpoint", "RUN/config.yaml"], "is a file"),
        (["--training.multigpu=True", "exp:g1-29dof"], "training.multigpu"),
        (["exp:g1-29dof", "--training.output-dir=RUN/config.yaml"], "training.output_dir: cannot write"),
    ],
)
def test_bad_input_is_one_line_and_harms_nothing(command, finished, tmp_path, extra, said):
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    code, _, err = command(*(a.replace("RUN", str(finished)) for a in extra))
    assert code == 2
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_damaged_checkpoint_is_refused_by_name_and_passed_over_by_its_run(command, finished, trained):
    newest = finished / "checkpoints" / "4"
    victim = max((newest / "learner").rglob("*"), key=lambda p: p.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-100])
    code, _, err = command("--training.checkpoint", newest, "--algo.config.num-learning-iterations", "6")
    assert code == 2
    assert str(newest) in err
    assert err.count("\n") == 1
    code, out, _ = command("--training.checkpoint", finished)
    assert code == 0
    assert "WARNING: " in out and f"Continuing from {finished / 'checkpoints' / '2'}: 2 of 4" in out
    assert saved_steps.newest_sound(finished / "checkpoints") == (newest, [])
    assert_same_run(finished, trained)


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["learner", "last_transition", "replay", "meta.json"])
def test_an_off_policy_run_repeats_what_a_damaged_checkpoint_held(command, tmp_path, harm):
    """From the older checkpoint on, replay buffer and random draws included, bit for bit."""
    assert command(*fast_sac_arguments(tmp_path / "logs"))[0] == 0
    run = only_run(tmp_path / "logs")
    undisturbed = Path(shutil.copytree(run, tmp_path / "undisturbed"))
    part = run / "checkpoints" / "24" / harm
    files = [part] if part.is_file() else [path for path in part.rglob("*") if path.is_file()]
    victim = max(files, key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-10])
    code, out, _ = command("--training.checkpoint", run)
    assert code == 0 and f"Continuing from {run / 'checkpoints' / '12'}: 12 of 24" in out
    assert_same_run(run, undisturbed)


def test_missing_extra_is_one_line(command, tmp_path, monkeypatch):
    def build(cfg):
        raise ModuleNotFoundError("No module named 'mujoco_warp'", name="mujoco_warp")

    monkeypatch.setattr(session, "build", build)
    code, _, err = command(*arguments(tmp_path))
    assert code == 2
    assert tells(err, "error: ... 'warp' ... mujoco_warp ... pip install 'holosoma-jax[warp]'")
    assert err.count("\n") == 1


def test_non_finite_learner_exits_with_the_report_and_the_way_back(command, tmp_path, monkeypatch):
    def goes_wrong(cfg):
        setup = toy.setup(cfg)
        return replace(setup, learner=setup.learner.replace_loss(losses.not_finite, "not_finite"))

    monkeypatch.setattr(session, "build", goes_wrong)
    code, out, err = command(*arguments(tmp_path))
    assert code == 1
    assert re.match(r"error: .*not finite.* iteration \d .*\.npz", err)
    assert err.count("\n") == 1
    assert "Resume:" in out


def test_a_failed_simulator_is_one_line_and_the_run_resumes(command, tmp_path, monkeypatch):
    def fails_late(cfg):
        setup = toy.setup(cfg)
        step, calls = setup.bridge.step, itertools.count()

        def until_it_dies(*args):
            if next(calls) > 26:  # 1 for the first observation, 8 an iteration
                raise SimulatorError("the isaacgym worker was killed by SIGKILL")
            return step(*args)

        monkeypatch.setattr(setup.bridge, "step", until_it_dies)
        return setup

    with monkeypatch.context() as patch:
        patch.setattr(session, "build", fails_late)
        code, out, err = command(*arguments(tmp_path))
    run = only_run(tmp_path)
    assert (code, err.count("\n")) == (1, 1) and tells(err, "error: ... isaacgym ... SIGKILL")
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["2"]
    code, out, err = command(*proposed(out, "Resume"))
    assert (code, err) == (0, "") and "2 of 4 iterations are done" in out


@pytest.mark.parametrize(
    "kind",
    [
        "link",
        "removed",
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in ("folder", "empty", "file", "dangling", "locked")
        ),
    ],
)
def test_a_run_whose_folder_is_replaced_ends_and_is_saved_elsewhere(
    command, trained, tmp_path, monkeypatch, kind
):
    mine, held, own = tmp_path / "mine", [], []
    shutil.copytree(trained, mine)
    (mine / "metrics.jsonl").unlink()  # would be begun again

    def replaced_late(cfg):
        setup = toy.setup(cfg)
        step, calls = setup.bridge.step, itertools.count()

        def until_it_is_replaced(*args):
            if next(calls) == 26:  # 1 for the first observation, 8 an iteration
                (run,) = (tmp_path / "logs" / "toy").iterdir()
                own.append(replace_folder(run, mine, kind))
                if kind == "locked":
                    held.append(Lock(run))
            return step(*args)

        monkeypatch.setattr(setup.bridge, "step", until_it_is_replaced)
        return setup

    with monkeypatch.context() as patch:
        patch.setattr(session, "build", replaced_late)
        code, out, err = command(*arguments(tmp_path / "logs"), "--training.keep-checkpoints=1")
    paths = sorted((tmp_path / "logs" / "toy").iterdir())
    run = min(paths, key=lambda path: len(path.name))
    found = own[0] or next(path for path in paths if path != run)
    assert code == 1 and str(run) in err and err.count("\n") == 1
    assert [p.name for p in (found / "checkpoints").iterdir()] == ["4"] and str(found) in out
    if kind in ("link", "folder", "removed"):
        assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["2", "4"]
        assert not (run / "metrics.jsonl").exists()
    elif kind == "locked":
        assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["2", "4"]
        held[0].release()
    elif kind == "file":
        assert run.read_text() == "mine"
    else:
        assert not run.exists() or not list(run.iterdir())
    if own[0]:
        rows = [json.loads(line)["step"] for line in (found / "metrics.jsonl").read_text().splitlines()]
        assert rows == [1, 2, 3, 4]
    code, out, err = command(*proposed(out, "Resume"), "--algo.config.num-learning-iterations=5")
    assert (code, err) == (0, "") and "4 of 5 iterations are done" in out
