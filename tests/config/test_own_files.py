"""`--import-file FILE.py`: functions, presets and robots of one's own, by FILE:NAME; and each mistake in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holosoma_jax import robots
from holosoma_jax.config import compose, own_files, trust
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.trust import Saved
from holosoma_jax.motion.__main__ import main as motion_main
from holosoma_jax.viewer import robot_recording

FILE = """
from pathlib import Path

with Path(__file__).with_suffix(".count").open("a") as count:
    count.write("x")


def spin(view):
    return view.sim.root_ang_vel[:, 2] ** 2


PRESETS = {
    "exp": {
        "slow-walk": {
            "groups": {"algo": "ppo-locomotion", "robot": "g1-29dof", "simulator": "mujoco",
                       "terrain": "terrain-locomotion-plane", "observation": "g1-29dof-locomotion",
                       "command": "g1-29dof-locomotion", "reward": "%s:still", "termination": "locomotion"},
            "overrides": {"training": {"num_envs": 7}},
        },
        "odd": {"groups": {"robot": print}},
    },
    "reward": {"still": {"terms": {"alive": {"weight": 1}, "spin": {"func": "%s:spin", "weight": -0.5}}}},
    "command": {"slow": {"setup_terms": {"locomotion_command": {"params": {"command_ranges": {
        "lin_vel_x": (0.0, 0.3), "lin_vel_y": (0.0, 0.0), "ang_vel_yaw": (-0.5, 0.5)}}}}}},
}
ROBOTS = {"mine": "bots/g1"}
"""
NAME = "own_file_of_a_test"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A file in a folder that Python does not look into."""
    path = tmp_path / f"{NAME}.py"
    path.write_text(FILE % (NAME, NAME))
    yield path
    for name in [name for name, place in own_files.FILES.items() if tmp_path in place.parents]:
        del own_files.FILES[name], sys.modules[name]


def test_a_robot_of_the_file_is_known_to_commands_without_a_config(file: Path) -> None:
    (file.parent / "bots").mkdir()
    (file.parent / "bots" / "g1").symlink_to(Path(robots.__file__).parent / "g1")
    clip, flags = file.parent / "clips", ["--robot", f"{NAME}:mine", "--import-file", str(file)]
    assert motion_main(["generate", "squat", *flags, "--output", str(clip)]) == 0
    assert motion_main(["inspect", *map(str, clip.iterdir()), *flags]) == 0
    found = robot_recording.load(str(next(clip.iterdir())), f"{NAME}:mine")
    assert found.robot.mjcf == robots.load("g1").mjcf
    with pytest.raises(ConfigError, match="Did you mean 'mine'"):
        robots.load(f"{NAME}:mne")


def test_presets_functions_and_robots_of_a_file(file: Path) -> None:
    (file.parent / "bots").mkdir()
    (file.parent / "bots" / "g1").symlink_to(Path(robots.__file__).parent / "g1")
    cfg = compose.load([f"exp:{NAME}:slow_walk", "--import-file", str(file), f"--robot.asset={NAME}:mine"])
    assert (cfg.exp, cfg.training.num_envs) == (f"{NAME}:slow_walk", 7)
    assert cfg.reward.terms["spin"].func == f"{NAME}:spin" and set(cfg.reward.terms) == {"alive", "spin"}
    assert robots.load(cfg.robot.asset).name == robots.load("g1").name
    assert Path(cfg.robot.asset) == file.parent / "bots" / "g1"
    slow = compose.load(["exp:g1-29dof", f"command:{NAME}:slow", f"--import-file={file}"])
    ranges = slow.command.setup_terms["locomotion_command"].params["command_ranges"]
    assert tuple(ranges["lin_vel_x"]) == (0.0, 0.3)
    assert file.with_suffix(".count").read_text() == "x"  # imported once


def test_an_artifact_that_names_the_file_needs_the_flag(file: Path) -> None:
    saved = compose.to_mapping(
        compose.load(["exp:g1-29dof", f"reward:{NAME}:still", "--import-file", str(file)])
    )
    assert trust.flags(saved) == f"--import-file {file}"
    del own_files.FILES[NAME], sys.modules[NAME]
    with pytest.raises(ConfigError, match=f"{NAME}:spin.*--allow-code {NAME}.*--import-file {NAME}.py"):
        compose.load([], Saved(saved))
    assert NAME not in sys.modules
    again = compose.load([f"--import-file={file}"], Saved(saved))
    assert again.reward.terms["spin"].func == f"{NAME}:spin"


def test_the_file_itself_may_lie_inside_of_the_artifact(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(file.parent)  # as where the run's folder is the working directory
    saved = compose.to_mapping(
        compose.load(["exp:g1-29dof", f"reward:{NAME}:still", "--import-file", str(file)])
    )
    again = compose.load([f"--import-file={file}"], Saved(saved, file.parent))
    assert again.reward.terms["spin"].func == f"{NAME}:spin"
    del own_files.FILES[NAME], sys.modules[NAME]
    with pytest.raises(ConfigError, match="inside of"):
        compose.load([f"--allow-code={NAME}"], Saved(saved, file.parent))


def test_values_in_the_file_are_not_altered(file: Path) -> None:
    for _ in range(2):
        compose.load([f"exp:{NAME}:slow-walk", "--import-file", str(file), "--reward.terms.spin.weight=-9"])
    assert sys.modules[NAME].PRESETS["reward"]["still"]["terms"]["spin"]["weight"] == -0.5


@pytest.mark.parametrize(
    "argv, named",
    [
        (["exp:{}:sloww-walk"], "slow-walk"),
        (["exp:g1-29dof", "termination:{}:still"], "termination"),
        (["exp:g1-29dof", "--robot.asset={}:mne"], "mine"),
        (["exp:{}:odd"], "PRESETS: exp: odd"),
        (["exp:{}:spin"], "no 'spin' under 'exp'"),
        (["exp:g1-29dof", "reward:{}:spin"], "no 'spin' under 'reward'"),
        (["exp:g1-29dof", "reward:other_file:still"], "--import-file PATH/other_file.py"),
        (["exp:g1-29dof", "--reward.terms.alive.func={}:spinn"], "spin"),
    ],
)
def test_a_wrong_name_is_one_line(file: Path, argv: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as raised:
        compose.load([*(text.format(NAME) for text in argv), "--import-file", str(file)])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "name, text, named",
    [
        ("none.py", None, "no such file"),
        ("folder.py", "", "folder"),
        ("walk.yaml", "a: 1", r"\.py"),
        ("my-walk.py", "", "letters"),
        ("json.py", "", "another module 'json'"),
        ("holosoma_jax.py", "", "another module"),
        ("broken_file.py", "x = 1\ndef f(:\n", "line 2: SyntaxError"),
        ("raising_file.py", "x = 1\n\ny = x / 0\n", "line 3: ZeroDivisionError"),
        ("leaving_file.py", "import sys\nsys.exit(3)\n", "line 2: SystemExit"),
        ("asking_file.py", "import no_such_module_here\n", "line 1: ModuleNotFoundError"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line(
    tmp_path: Path, name: str, text: str | None, named: str
) -> None:
    path = tmp_path / name
    if name == "folder.py":
        path.mkdir()
    elif text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=named) as raised:
        compose.load(["exp:g1-29dof", "--import-file", str(path)])
    assert name in str(raised.value) and "\n" not in str(raised.value)
    assert path.stem not in own_files.FILES


@pytest.mark.parametrize(
    "presets, named",
    [
        ("[1]", "PRESETS"),
        ("{'exp': 1}", "PRESETS: exp"),
        ("{'exp': {'walk': None}}", "PRESETS: exp: walk: got null"),
        ("{'exp': {'walk': 3}}", "PRESETS: exp: walk: got 3"),
        ("{'exp': {3: {}}}", "PRESETS: exp: .*got 3"),
    ],
)
def test_presets_have_to_be_a_table(file: Path, presets: str, named: str) -> None:
    file.write_text(f"PRESETS = {presets}\n")
    with pytest.raises(ConfigError, match=f"{NAME}.py: {named}"):
        compose.load([f"exp:{NAME}:walk", "--import-file", str(file)])


def test_the_flag_needs_a_file() -> None:
    with pytest.raises(ConfigError, match="--import-file"):
        compose.load(["exp:g1-29dof", "--import-file"])
