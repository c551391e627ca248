"""`python -m holosoma_jax.replay`: a trajectory as numbers and pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from holosoma_jax import motion, robots
from holosoma_jax import replay as command
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.trust import Saved
from holosoma_jax.envs import terrain
from holosoma_jax.evaluation import film
from holosoma_jax.policy import policies
from holosoma_jax.render.recording import METADATA
from holosoma_jax.viewer import replay_session, robot_recording
from tests.support.messages import tells
from tests.support.replay_files import FRAMES, straight_walk


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return straight_walk(tmp_path_factory.mktemp("replay") / "walk.npz")


CLIP_KEY = "command.setup_terms.motion_command.params.motion_config"


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    try:
        code = command.main([str(a) for a in argv])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    return code, *capsys.readouterr()


def test_the_summary_says_what_happened(capsys: pytest.CaptureFixture[str], walk: Path):
    code, out, err = run(capsys, walk, "--pictures=False")
    assert (code, err) == (0, "")
    rows = dict(line.strip().split("  ", 1) for line in out.splitlines() if "  " in line.strip())
    rows = {name: text.strip() for name, text in rows.items()}
    assert rows["robot"] == "g1, 29 joints"
    assert rows["policy"] == "policy.onnx"
    assert rows["frames"] == "25 at 50 Hz, 0.50 s"
    assert rows["path of the root"] == "0.48 m"
    assert rows["speed"] == "mean 1.00, at most 1.00 m/s"
    assert rows["command"] == "+1.20 +0.00 +0.00 (m/s, m/s, rad/s)"
    assert rows["joint limits"] == "kept in every frame"
    assert rows["torque limit reached"] == "never"


def test_a_speed_whose_square_float32_cannot_hold_is_summed_up(walk: Path):
    found = robot_recording.load(str(walk))
    found.recording.arrays["root_lin_vel"][:, 0] = 1e30
    speed = dict(robot_recording.summary(found))["speed"]
    assert float(speed.split()[1].rstrip(",")) == pytest.approx(1e30)


@pytest.mark.parametrize(
    ("clip", "frames"), [(None, "1000 at 50 Hz, 20.00 s"), ("g1_squat", "400 at 50 Hz, 8.00 s")]
)
def test_a_preset_stands_for_its_clip(capsys: pytest.CaptureFixture[str], clip: str | None, frames: str):
    chosen = [f"--{CLIP_KEY}.motion_file", clip] if clip else []
    code, out, err = run(capsys, "exp:g1-29dof-wbt", "--training.num_envs=1", "--pictures=False", *chosen)
    assert (code, err) == (0, "")
    assert "g1, 29 joints" in out and frames in out


@pytest.mark.slow
def test_pictures_lie_beside_the_file_or_one_line_says_why(
    capsys: pytest.CaptureFixture[str], walk: Path, tmp_path: Path
):
    code, out, _ = run(capsys, "--video", walk, "--output", tmp_path / "out")
    assert code == 0
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["walk-frames.png", "walk.mp4"] or "no pictures:" in out


def test_without_opengl_numbers_stay_and_one_line_says_why(
    capsys: pytest.CaptureFixture[str], walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MUJOCO_GL", "off")
    code, out, err = run(capsys, walk, "--output", tmp_path / "out")
    assert (code, err) == (0, "") and "speed" in out
    assert "no pictures: " in out and "MUJOCO_GL" in out
    assert not list((tmp_path / "out").iterdir())


def test_frames_for_a_viewer(walk: Path):
    found = robot_recording.load(str(walk)).recording
    assert found.num_frames == FRAMES and found.dt == pytest.approx(0.02)
    states = [found.frame(t) for t in range(FRAMES)]
    np.testing.assert_allclose([s.root_pos[0, 0] for s in states], 0.02 * np.arange(FRAMES), atol=1e-6)
    bodies = robots.load("g1").num_bodies
    assert states[0].joint_pos.shape == (1, 29) and states[0].body_pos.shape == (1, bodies, 3)
    assert found.ghost(0) is None


class User:
    """A viewer whose user does one thing at each look, and closes it at the end."""

    def __init__(self, *wishes: dict):
        self._wishes, self.shown = list(wishes), []
        self.paused, self.speed, self._steps, self._seek = False, 1.0, 0, None

    @property
    def closed(self) -> bool:
        return len(self.shown) > len(self._wishes)

    def show(self, sim, command=None, *, ghost=None, frame_index=-1) -> None:
        self.shown.append(frame_index)
        if len(self.shown) <= len(self._wishes):
            wish = self._wishes[len(self.shown) - 1]
            self.paused = wish.get("paused", self.paused)
            self._steps, self._seek = wish.get("steps", 0), wish.get("seek")

    def take_steps(self) -> int:
        return self._steps

    def take_seek(self) -> int | None:
        return self._seek


def test_the_user_stops_steps_and_scrubs(walk: Path):
    user = User(
        {},
        {},
        {"paused": True},
        {},
        {"steps": 2},
        {"steps": -1},
        {"seek": 20},
        {"paused": False},
        {"seek": 24},
        {},
    )
    replay_session.play(cast(Any, user), robot_recording.load(str(walk)).recording)
    assert user.shown == [0, 1, 2, 2, 2, 4, 3, 20, 21, 24, 0]


def changed(path: Path, change: Callable[[dict[str, np.ndarray]], object], *, clip: str = "g1_squat") -> Path:
    """A clip of the package, or another npz, after `change` of its arrays."""
    with np.load(motion.shipped().get(clip, clip)) as file:
        arrays = dict(file)
    change(arrays)
    np.savez(path, **arrays)
    return path


def test_a_clip_in_another_joint_order_is_sorted(tmp_path: Path):
    shuffled = np.random.default_rng(0).permutation(29)

    def shuffle(arrays: dict[str, np.ndarray]) -> None:
        arrays["joint_names"] = arrays["joint_names"][shuffled]
        arrays["joint_pos"][:, 7:] = arrays["joint_pos"][:, 7 + shuffled]

    found = robot_recording.load(str(changed(tmp_path / "clip.npz", shuffle))).recording
    want = robot_recording.load("g1_squat").recording
    assert found.joint_names == robots.load("g1").joint_names
    np.testing.assert_array_equal(found.arrays["joint_pos"], want.arrays["joint_pos"])


def heights(of: robot_recording.RobotRecording) -> np.ndarray:
    assert of.ground.heights is not None
    return of.ground.heights


def test_a_clip_stands_on_the_ground_that_it_was_made_on(tmp_path: Path):
    """By the word in its file; where there is none, a flag or a preset's terrain says it; else it is a plane."""
    own = robot_recording.load("g1_walk_slope")
    assert heights(own).max() == pytest.approx(0.16) and heights(own).min() == 0.0
    silent = changed(tmp_path / "clip.npz", lambda arrays: arrays.pop("terrain"), clip="g1_walk_slope")
    assert robot_recording.load(str(silent)).ground.heights is None
    named = robot_recording.load(str(silent), terrain=terrain.of_mesh("slope"))
    np.testing.assert_array_equal(heights(named), heights(own))
    assert robot_recording.load("g1_squat").ground.heights is None


@pytest.mark.parametrize("word", ["nowhere", "../slope", 3, [0.1, 0.2], ["slope", "slope"], ""])
def test_what_else_a_file_calls_terrain_is_a_plane(tmp_path: Path, word: object):
    odd = changed(tmp_path / "clip.npz", lambda arrays: arrays.update(terrain=np.array(word)))
    assert robot_recording.load(str(odd)).ground.heights is None


def test_a_preset_brings_its_ground(monkeypatch: pytest.MonkeyPatch):
    shown: list[Any] = []
    monkeypatch.setattr(replay_session, "run", lambda *given: shown.append(given))
    slope = ["exp:g1-29dof-wbt", "terrain:terrain-slope", f"--{CLIP_KEY}.motion_file=g1_squat"]
    assert command.main(slope) == command.main(["exp:g1-29dof-wbt"]) == 0
    assert shown[0][1].terrain_term.obj_file_path == "slope" and shown[1][1] is None


@pytest.mark.slow
def test_what_a_tracking_policy_does_is_shown_on_its_ground(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It has a ghost and takes no command; `replay --checkpoint` records on a plane, or on the mesh of its clip."""
    monkeypatch.chdir(tmp_path)
    code, out, err = run(
        capsys, "--checkpoint", "pretrained:g1-29dof-squat", "--length-s=0.1", "--pictures=False"
    )
    assert (code, err) == (0, "") and "5 at 50 Hz" in out and "command" not in out
    source = policies.find("pretrained:g1-29dof-squat")
    slope = ["terrain:terrain-slope", f"--{CLIP_KEY}.motion_file=g1_walk_slope"]
    config = compose.to_mapping(compose.load(slope, base=source.config))
    path = film.record(source._replace(config=Saved(config)), tmp_path / "slope.npz", 0.1)
    found = robot_recording.load(str(path))
    assert heights(found).max() == pytest.approx(0.16) and found.recording.ghost(0) is not None


def test_a_flag_names_the_ground(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    code, _, err = run(capsys, "g1_squat", "--terrain=nowhere.obj")
    assert code == 2 and len(err.strip().splitlines()) == 1 and "nowhere.obj" in err


def test_motion_clips_of_any_format(tmp_path: Path):
    """A shipped clip by its name, and the same as a bare table."""
    shown = robot_recording.load("t1_squat")
    assert shown.robot.name == "t1" and shown.recording.num_frames == 400
    arrays = shown.recording.arrays
    table = np.concatenate([arrays["root_pos"], arrays["root_quat"], arrays["joint_pos"]], 1)
    np.savetxt(tmp_path / "squat.csv", table, delimiter=",")
    again = robot_recording.load(str(tmp_path / "squat.csv"), "t1")
    np.testing.assert_allclose(again.recording.arrays["body_pos"], arrays["body_pos"], atol=1e-5)
    assert again.recording.dt == pytest.approx(1 / 30)  # a bare table states no rate


def test_a_joint_far_outside_its_range_is_shown_and_named(tmp_path: Path):
    def bend(arrays: dict[str, np.ndarray]) -> None:
        arrays["joint_pos"][:5, 7 + 3] = robots.load("g1").joint_upper[3] + 0.7  # the left knee

    found = robot_recording.load(str(changed(tmp_path / "clip.npz", bend)))
    assert tells(
        dict(robot_recording.summary(found))["joint limits"], "left_knee_joint ... 0.700 rad ... 5 frames"
    )


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "which file?"),
        (["nowhere.npz"], "nowhere.npz: no such file."),
        (["exp:g1-29dof"], "exp:g1-29dof: has no motion clip"),
        (["exp:g1-29dof-wbt", "--file=g1_squat"], "got g1_squat as well"),
        (["exp:g1-29dof-wbt", f"--{CLIP_KEY}.motion_dir=clips"], "names the folder clips"),
        (["exp:g1-29dof-wbt", "--vidoe"], "--vidoe"),
        (["--vidoe", "x.npz"], "Did you mean --video?"),
        (["x.npz", "--pictures=maybe"], "--pictures: ... 'maybe' ... true or false"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], argv: list[str], expected: str):
    code, _, err = run(capsys, *argv)
    assert code == 2 and len(err.strip().splitlines()) == 1
    assert tells(err, expected)


def test_another_robot_is_refused(walk: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"'t1' .*--asset"):
        robot_recording.load(str(walk), "t1")

    def rename(arrays: dict[str, np.ndarray]) -> None:
        metadata = json.loads(str(arrays[METADATA]))
        metadata["joint_names"] = [f"j{i}" for i in range(29)]
        arrays[METADATA] = np.array(json.dumps(metadata))

    odd = changed(tmp_path / "odd.npz", rename, clip=str(walk))
    with pytest.raises(ConfigError, match="g1, t1, k1"):
        robot_recording.load(str(odd))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda a: a.update(fps=np.array([0])), "fps is 0"),
        (lambda a: a.update(joint_pos=a["joint_pos"][:, :-1]), "joint_pos has 35 columns"),
    ],
)
def test_a_clip_that_is_wrong_is_one_line(tmp_path: Path, change: Callable, expected: str):
    with pytest.raises(ConfigError, match=expected):
        robot_recording.load(str(changed(tmp_path / "clip.npz", change)))


def test_a_damaged_archive_is_one_line(tmp_path: Path, walk: Path):
    data = bytearray(walk.read_bytes())
    data[data.index(b"PK\x01\x02")] = 0  # the list of its members
    (tmp_path / "walk.npz").write_bytes(data)
    with pytest.raises(ConfigError, match=r"walk\.npz: "):
        robot_recording.load(str(tmp_path / "walk.npz"))
