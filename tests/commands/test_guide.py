"""Every command line of holosoma's guide, as docs/migration.md translates it, does what the page says."""

from __future__ import annotations

import itertools
import random
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from holosoma_jax import eval as eval_command
from holosoma_jax import export, replay, robots, train
from holosoma_jax.config import compose, keys
from holosoma_jax.motion import Skeleton, read, write
from holosoma_jax.training import session
from holosoma_jax.viewer import replay_session
from tests.support import isaacgym_python, toy
from tests.support.checkpoints import g1_run  # noqa: F401
from tests.support.wandb_runs import Api, Read

PAGE = Path(__file__).parents[2] / "docs" / "migration.md"
MAIN = {"train": train.main, "eval": eval_command.main, "replay": replay.main, "export": export.main}
TINY = {
    "ppo": {"num-learning-iterations": 1, "num-steps-per-env": 8, "num-mini-batches": 2},
    "fast-sac": {
        "num-learning-iterations": 4, "batch-size": 32, "buffer-size": 8, "learning-starts": 2,
        "num-updates": 1, "policy-frequency": 1, "actor-hidden-dim": 16, "critic-hidden-dim": 16,
        "num-atoms": 11,
    },
}  # fmt: skip
"""Learner -> a budget of a second or two."""


def rows() -> list[list[str]]:
    """The command lines in the right column of the page's tables, as arguments."""
    cells = re.findall(r"^\|.*\| `(python -m holosoma_jax\.\w+ [^`]+)` \|$", PAGE.read_text(), re.M)
    return [shlex.split(cell)[2:] for cell in cells]


ROWS = rows()


def of(command: str, *words: str) -> list[list[str]]:
    """Arguments of the rows of one command that hold one of `words` (any row, without words)."""
    chosen = [row[1:] for row in ROWS if row[0] == f"holosoma_jax.{command}"]
    return [row for row in chosen if not words or any(word in argument for word in words for argument in row)]


def run(capsys: pytest.CaptureFixture[str], command: str, argv: list[str]) -> tuple[int, str, str]:
    try:
        code = MAIN[command](argv)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    return code, *capsys.readouterr()


def test_the_page_covers_the_guide():
    # 15 of the guide's training section, 4 of video and resuming, 4 + 1 of tracking, 5 of evaluation
    assert [len(of(name)) for name in ("train", "eval", "replay", "export")] == [23, 4, 1, 1]


@pytest.mark.parametrize("group", ["exp", "logger", "simulator", "terrain"])
def test_the_page_lists_every_preset(group: str):
    text = PAGE.read_text()
    names = [path.stem for path in (PAGE.parents[1] / "configs" / group).glob("*.yaml")]
    assert names
    assert not [name for name in names if f"`{group}:{name}`" not in text]


def test_the_left_column_says_the_same_where_names_are_the_same():
    text = PAGE.read_text()
    pairs = re.findall(
        r"^\| `(?:train_agent|replay)\.py (exp[^`]+)` \| `python -m holosoma_jax\.(?:train|replay) ([^`]+)` \|$",
        text,
        re.M,
    )
    assert len(pairs) >= 16
    assert all(theirs == ours for theirs, ours in pairs)


@pytest.mark.parametrize("argv", of("train", "simulator:isaac"), ids=" ".join)
def test_isaac_rows_end_with_the_missing_simulator(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, argv: list[str]
):
    monkeypatch.delenv("ISAACGYM_PYTHON", raising=False)
    monkeypatch.setenv("ISAACSIM_PYTHON", "/no/python")
    code, out, err = run(capsys, "train", argv)
    (line,) = err.splitlines()
    name = next(a for a in argv if a.startswith("simulator:"))
    assert (code, out) == (2, "")
    assert line.startswith(f"error: {name}: ")
    assert "simulator:mujoco or simulator:mjwarp" in line  # what there is
    if name == "simulator:isaacgym":
        assert "developer.nvidia.com/isaac-gym" in line and "licence" in line
    else:
        assert "isaaclab==" in line and "./just isaaclab" in line and "licence" in line


@pytest.mark.parametrize("argv", of("train", "-wbt"), ids=" ".join)
def test_tracking_rows_choose_the_task(argv: list[str]):
    config = compose.load([a.replace("FILE.npz", "g1_squat") for a in argv])
    assert config.task == "tracking" and config.logger.type == "wandb"


FLAGS = {
    "--training.num-envs": 32,
    "--training.seed": 7,
    "--training.headless": False,
    "--training.checkpoint": "wandb://a/b/c/d.tar",
    "--training.export-onnx": False,
    "--training.torch-deterministic": True,
    "--training.multigpu": True,
    "--training.max-eval-steps": 50,
    "--training.name": "mine",
    "--training.project": "ours",
    "--logger.project": "p",
    "--logger.name": "n",
    "--logger.group": "g",
    "--logger.tags": ("a", "b"),
    "--logger.entity": "e",
    "--logger.mode": "offline",
    "--logger.dir": "elsewhere",
    "--logger.video.enabled": False,
    "--logger.video.interval": 3,
    "--logger.video.width": 320,
    "--logger.video.height": 180,
    "--randomization.ignore_unsupported": True,
    "--algo.config.use-symmetry": False,
    "--algo.config.num-learning-iterations": 5,
}
"""Options of the guide -> a value that is no preset's."""


@pytest.mark.parametrize("exp", ["g1-29dof", "t1-29dof-fast-sac"])
@pytest.mark.parametrize("seed", range(3))
def test_every_flag_of_the_guide_in_any_order_and_spelling(exp: str, seed: int):
    rng = random.Random(seed)
    logger = rng.choice(["wandb", "tensorboard", "console", "disabled"])
    simulator = rng.choice(["isaacgym", "isaacsim", "mjwarp", "mujoco"])
    groups = [[f"exp:{exp}"], [f"simulator:{simulator}"], [f"logger:{logger}"]]
    for flag, value in FLAGS.items():
        text = f"[{','.join(value)}]" if isinstance(value, tuple) else str(value)
        name = rng.choice([flag, flag.replace("-", "_").replace("__", "--", 1)])
        groups.append(rng.choice([[f"{name}={text}"], [name, text]]))
    rng.shuffle(groups)
    config = compose.load([argument for group in groups for argument in group])
    assert (config.simulator.name, config.logger.type) == (simulator, logger)
    for flag, value in FLAGS.items():
        at: object = config
        for part in keys.canonical(tuple(flag[2:].split("."))):
            at = getattr(at, part)
        assert at == value, flag
    before = compose.load([f"exp:{exp}"])
    assert sum(old != new for old, new in compose.diff_from_preset(config).values()) >= len(FLAGS)
    assert before.algo.config.use_symmetry


def test_help(capsys: pytest.CaptureFixture[str]):
    ((*argv,),) = of("train", "--help")
    code, out, err = run(capsys, "train", argv)
    assert (code, err) == (0, "") and "--training.num-envs" in out


def tiny(argv: list[str], output: Path) -> list[str]:
    """The row's arguments with a budget that is spent at once."""
    learner = "fast-sac" if any("fast-sac" in a for a in argv) else "ppo"
    budget = {f"--algo.config.{key}": value for key, value in TINY[learner].items()}
    budget |= {"--training.num-envs": 16, "--training.output-dir": output, "--training.export-onnx": False}
    budget |= {"--logger.video.enabled": False}
    own = ("--training.num-envs", "--logger.video.enabled", "--training.multigpu")  # there is one CPU
    kept = [a for before, a in itertools.pairwise(["", *argv]) if not a.startswith(own) and before not in own]
    return [*kept, *(f"{key}={value}" for key, value in budget.items())]


RUN = [row for row in of("train", "exp:") if not any("isaac" in a or "-wbt" in a for a in row)]


@pytest.mark.slow
@pytest.mark.parametrize("argv", RUN, ids=" ".join)
def test_the_other_rows_train(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]
):
    monkeypatch.setattr(session, "build", toy.setup)  # the simulator is the toy; all else is as typed
    monkeypatch.setenv("WANDB_MODE", "offline")
    code, out, err = run(capsys, "train", tiny(argv, tmp_path))
    assert (code, err) == (0, "")
    assert "python -m holosoma_jax.eval --checkpoint" in out
    assert ("wandb sync" in out) == ("logger:wandb" in argv)
    if "logger:wandb" in argv:
        kept = Read(tmp_path)
        assert kept.config["exp"] == argv[0].removeprefix("exp:")
        assert any("Train/num_samples" in row for row in kept.history)
        assert {"config.yaml"} < kept.files and any(name.startswith("checkpoints/") for name in kept.files)


@pytest.mark.slow
@pytest.mark.parametrize("argv", of("train", "-wbt"), ids=" ".join)
def test_tracking_rows_train(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]
):
    """On MuJoCo, with a file of holosoma's layout where the guide names one."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    skeleton = Skeleton(robots.load("g1"))
    clip = write(tmp_path / "FILE.npz", read("g1_squat", skeleton), skeleton)
    code, out, err = run(
        capsys, "train", tiny([a.replace("FILE.npz", str(clip)) for a in argv], tmp_path / "logs")
    )
    assert (code, err) == (0, "")
    assert "python -m holosoma_jax.eval --checkpoint" in out


def test_the_replay_row_shows_the_presets_clip(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """In a viewer that is closed after three frames."""
    shown: list[int] = []
    viewer = SimpleNamespace(
        closed=False,
        paused=False,
        speed=100.0,
        take_steps=lambda: 0,
        take_seek=lambda: None,
        close=lambda: None,
    )

    def show(*_: object, frame_index: int, **__: object) -> None:
        shown.append(frame_index)
        viewer.closed = len(shown) == 3

    viewer.show = show
    monkeypatch.setattr(replay_session, "open_viewer", lambda *_, **__: viewer)
    ((*argv,),) = of("replay")
    code, out, err = run(capsys, "replay", argv)
    assert (code, err, shown) == (0, "", [0, 1, 2])
    assert "1000 at 50 Hz" in out  # g1_dance


@pytest.mark.slow
@pytest.mark.parametrize("argv", of("train", "simulator:isaacgym"), ids=" ".join)
def test_isaacgym_rows_train_where_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]
):
    """In a Python 3.8 with the double of IsaacGym, on its CPU pipeline; all else is as typed."""
    monkeypatch.setenv("ISAACGYM_PYTHON", isaacgym_python.write(tmp_path, "3.8"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    on_cpu = "--simulator.config.sim.physx.device=cpu"
    code, out, err = run(capsys, "train", [*tiny(argv, tmp_path / "logs"), on_cpu])
    assert code == 0, err
    assert "python -m holosoma_jax.eval --checkpoint" in out


def place(argv: list[str], run_folder: Path) -> list[str]:
    """RUN by a folder, and the address by one that the stand-in knows."""
    known = [a.replace("ENTITY/PROJECT/RUN", "me/walks/abc123") for a in argv]
    return [re.sub(r"(^|=)RUN$", rf"\g<1>{run_folder}", a) for a in known]


@pytest.fixture
def wandb_has_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, g1_run: Path) -> None:  # noqa: F811
    """The run's checkpoint 7 as ``checkpoints/100.tar`` of a run at Weights & Biases."""
    import io
    import tarfile

    wandb = pytest.importorskip("wandb")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(g1_run / "checkpoints" / "7", arcname="100")
    api = Api({"checkpoints/100.tar": archive.getvalue()})
    monkeypatch.setattr(wandb, "Api", lambda **_: api)
    monkeypatch.setenv("HOLOSOMA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("wandb_has_the_run")
@pytest.mark.parametrize("argv", of("eval"), ids=" ".join)
def test_evaluation_rows_score(
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    g1_run: Path,  # noqa: F811
):
    small = [a for a in place(argv, g1_run) if not a.startswith("--training.num-envs")]
    small += ["--training.num-envs=2", "--training.max-eval-steps=5", "--pictures=False"]
    code, out, err = run(capsys, "eval", small)
    assert code == 0, err
    assert "survival" in out
    assert ("exported" in out) == any("export_onnx" in a for a in argv)


@pytest.mark.slow
def test_export_rows_export(capsys: pytest.CaptureFixture[str], g1_run: Path):  # noqa: F811
    (argv,) = of("export")
    code, out, _ = run(capsys, "export", place(argv, g1_run))
    assert code == 0 and "written to" in out


@pytest.mark.usefixtures("wandb_has_the_run")
def test_resuming_from_wandb_finds_the_checkpoint(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.delenv("ISAACGYM_PYTHON", raising=False)
    ((*argv,),) = of("train", "--training.checkpoint")
    code, out, err = run(capsys, "train", place(argv, tmp_path))
    # It is found, and belongs to a simulator that is not here.
    assert code == 2 and "Downloading checkpoints/100.tar of me/walks/abc123" in out
    assert "simulator:isaacgym: " in err and "ISAACGYM_PYTHON" in err
