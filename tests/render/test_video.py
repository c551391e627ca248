from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from bridges.protocol import Ground, SimState
from holosoma_jax import opengl
from holosoma_jax.config.schema import VideoConfig
from holosoma_jax.render import gl, video_job
from holosoma_jax.render.scene import crop_heightfield, crop_to_path
from holosoma_jax.render.video import (
    Drawing,
    EpisodeRecorder,
    Trajectory,
    VideoUnavailable,
    make_job,
    render_video,
)
from tests.support.stick_robot import STICK_MJCF, stick_robot

ROOT = Path(__file__).resolve().parents[2]
SMALL = VideoConfig(width=160, height=90, interval=10, length_s=0.2)


@pytest.fixture(scope="module")
def backend() -> str:
    """A working OpenGL, or skip with the reason; leaves the environment as it was."""
    before = os.environ.get("MUJOCO_GL")
    try:
        return gl.select()
    except gl.GlUnavailable as error:
        pytest.skip(str(error))
    finally:
        if before is None:
            os.environ.pop("MUJOCO_GL", None)


@pytest.fixture
def robot(tmp_path: Path):
    path = tmp_path / "stick.xml"
    path.write_text(STICK_MJCF)
    return stick_robot(path)


def walk(frames: int = 12, yaw: float = 0.0) -> Trajectory:
    """Straight ahead at 1 m/s along the heading `yaw`, legs swinging; dt = 0.02 s."""
    t = 0.02 * np.arange(frames, dtype=np.float32)
    zero = np.zeros_like(t)
    along = np.stack([np.cos(yaw) + zero, np.sin(yaw) + zero, zero], 1)
    return Trajectory(
        root_pos=along * t[:, None] + np.float32([0, 0, 0.9]),
        root_quat=np.tile(np.float32([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]), (frames, 1)),
        joint_pos=np.stack([np.sin(6 * t), -np.sin(6 * t)], 1),
        root_lin_vel=along,
        root_ang_vel=np.stack([zero, zero, zero + 0.5], 1),
        command=np.tile(np.float32([1.0, 0.0, 0.5]), (frames, 1)),
    )


def read(path: Path) -> tuple[dict, np.ndarray]:
    """What ffmpeg says of a video, and its frames [T, H, W, 3]."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    line = re.search(r"Video: (\w+).*?, (yuv\w+).*?, (\d+)x(\d+).*?, ([\d.]+) fps", done.stderr.decode())
    assert line is not None, done.stderr.decode()
    width, height = int(line[3]), int(line[4])
    meta = {"codec": line[1], "pixels": line[2], "size": (width, height), "fps": float(line[5])}
    return meta, np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def test_video_of_an_episode(tmp_path: Path, robot, backend):
    path = render_video(tmp_path / "deep" / "a.mp4", walk(), robot, Ground(), 0.02, SMALL)
    meta, frames = read(path)
    assert meta == {"codec": "h264", "pixels": "yuv420p", "size": (160, 90), "fps": 50.0}
    assert frames.shape[0] == 12
    assert frames.std() > 20  # not one colour
    assert np.abs(frames[-1].astype(int) - frames[0]).max() > 50  # it moves
    assert [p.name for p in path.parent.iterdir()] == ["a.mp4"]  # no temporary file left


def test_robot_is_drawn_whole_and_lit(tmp_path: Path, robot, backend):
    """The light trunk and the dark legs lie around the middle column, with margins above and below."""
    _, frames = read(render_video(tmp_path / "a.mp4", walk(1), robot, Ground(), 0.02, VideoConfig()))
    image = frames[0].astype(int)
    spread = image.max(-1) - image.min(-1)
    trunk = (image.min(-1) > 120) & (spread < 25)
    trunk[:110], trunk[290:] = False, False  # the haze at the horizon; the text
    rows, columns = np.nonzero(trunk)
    assert len(rows) > 1000
    assert abs(columns.mean() - 320) < 20 and 120 < rows.mean() < 180
    legs = image[:310, 290:350].max(-1) < 60
    assert 250 < np.nonzero(legs.any(1))[0].max() < 320  # the feet, above the lower edge
    floor = image[300:, 400:].mean((0, 1))
    assert (floor > 50).all() and (floor < 130).all()  # neither night nor glare


def test_arrows_show_command_in_blue_and_velocity_in_green(tmp_path: Path, robot, backend):
    still = walk(1)._replace(command=None, root_lin_vel=None)
    with_arrows = read(render_video(tmp_path / "a.mp4", walk(1), robot, Ground(), 0.02, VideoConfig()))[1][0]
    without = read(render_video(tmp_path / "b.mp4", still, robot, Ground(), 0.02, VideoConfig()))[1][0]
    sky = np.s_[20:110, 150:500]  # above the robot's head
    blue, green = (_share(with_arrows[sky], channel) for channel in (2, 1))
    assert blue > 20 and green > 5
    assert _share(without[sky], 2) == 0 and _share(without[sky], 1) == 0


def _share(image: np.ndarray, channel: int) -> int:
    """Pixels whose `channel` stands out by 90 from the red one, and is the largest."""
    pixels = image.astype(int)
    return int(((pixels[..., channel] - pixels[..., 0] > 90) & (pixels.argmax(-1) == channel)).sum())


def test_height_field_and_non_finite_end(tmp_path: Path, robot, backend):
    heights = np.zeros((200, 400), np.float32)
    heights[::2] = 0.05
    trajectory = walk(8)
    trajectory.root_pos[5] = np.nan
    path = render_video(
        tmp_path / "a.mp4", trajectory, robot, Ground(heights, 0.1, (-10.0, -20.0)), 0.02, SMALL
    )
    assert read(path)[1].shape[0] == 5  # up to the first frame that is no pose


def test_odd_sizes_are_rounded_down(tmp_path: Path, robot, backend):
    cfg = dataclasses.replace(SMALL, width=161, height=91)
    assert read(render_video(tmp_path / "a.mp4", walk(2), robot, Ground(), 0.02, cfg))[0]["size"] == (160, 90)


@pytest.mark.parametrize(
    ("env", "cause"),
    [
        ({"MUJOCO_GL": "off"}, "MUJOCO_GL=off.*unset"),
        ({"MUJOCO_GL": "glfw", "DISPLAY": ""}, r"OpenGL.*\(glfw: .*\).*display"),
        (
            {"IMAGEIO_FFMPEG_EXE": "/nonexistent/ffmpeg"},
            "ffmpeg .*pip install -U imageio",
        ),
    ],
)
def test_no_video_names_cause_and_fix(tmp_path: Path, robot, backend, monkeypatch, env, cause):
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(VideoUnavailable, match=cause):
        render_video(tmp_path / "a.mp4", walk(2), robot, Ground(), 0.02, SMALL)
    assert not (tmp_path / "a.mp4").exists()


def test_ffmpeg_without_x264_falls_back_to_mpeg4(tmp_path: Path):
    import imageio_ffmpeg

    fake = tmp_path / "ffmpeg"
    fake.write_text(
        '#!/bin/sh\ncase "$*" in *libx264*) echo "Unknown encoder" >&2; exit 1;; esac\n'
        f'exec "{imageio_ffmpeg.get_ffmpeg_exe()}" "$@"\n'
    )
    fake.chmod(0o755)
    code = f"""
import numpy as np, pathlib
from holosoma_jax.render.renderer import encode
frames = (np.full((90, 160, 3), 40 * i, np.uint8) for i in range(5))
print(encode(pathlib.Path({str(tmp_path / "a.mp4")!r}), frames, 160, 90, 50.0))
"""
    env = os.environ | {"IMAGEIO_FFMPEG_EXE": str(fake)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == "mpeg4"
    meta, frames = read(tmp_path / "a.mp4")
    assert meta["codec"] == "mpeg4"
    np.testing.assert_allclose(frames.mean((1, 2, 3)), [0, 40, 80, 120, 160], atol=3)


def sim_of(trajectory: Trajectory, t: int, envs: int = 3, env: int = 1) -> SimState:
    """A simulator state whose environment `env` is frame t and whose others are NaN."""

    def place(row: np.ndarray) -> np.ndarray:
        rows = np.full((envs, *row.shape), np.nan, np.float32)
        rows[env] = row
        return rows

    none = np.zeros((envs, 0, 3), np.float32)
    return SimState(
        *(place(a[t]) for a in trajectory[:2]), place(trajectory.root_lin_vel[t]),
        place(trajectory.root_ang_vel[t]), place(trajectory.joint_pos[t]), place(trajectory.joint_pos[t]),
        none, none, none, none, none,
    )  # fmt: skip


def recorder(tmp_path: Path, robot, cfg: VideoConfig = SMALL, **kw) -> EpisodeRecorder:
    return EpisodeRecorder(cfg, robot, Ground(), tmp_path / "videos", 0.02, env=1, **kw)


def test_recorder_films_one_environment_of_borrowed_arrays(tmp_path: Path, robot, backend):
    warnings: list[str] = []
    rec, trajectory = recorder(tmp_path, robot, warn=warnings.append), walk(30)
    assert rec.due(0) and not rec.due(1)
    rec.add(sim_of(trajectory, 0))  # not recording: ignored
    rec.start("first")
    assert rec.recording and not rec.due(10)
    for t in range(30):
        sim = sim_of(trajectory, t)
        rec.add(sim, np.tile(trajectory.command[t], (3, 1)))
        for array in jax.tree.leaves(sim):
            array.fill(np.nan)  # what a simulator does with what it lent
    assert not rec.recording  # 0.2 s are 10 frames
    assert rec.close() == [tmp_path / "videos" / "first.mp4"] and warnings == []
    assert read(rec.videos[0])[1].shape[0] == 10


def test_short_episode_ends_its_video(tmp_path: Path, robot, backend):
    rec, trajectory = recorder(tmp_path, robot), walk(4)
    rec.start("short")
    for t in range(4):
        rec.add(sim_of(trajectory, t))
    rec.finish()
    assert read(rec.close()[0])[1].shape[0] == 4


def test_failure_is_one_warning_and_the_end_of_videos(tmp_path: Path, robot, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "off")
    warnings: list[str] = []
    rec = recorder(tmp_path, robot, warn=warnings.append)
    rec.draw("a", walk(3))
    assert rec.close() == []
    rec.draw("b", walk(3))
    assert rec.close() == [] and not rec.due(0)
    assert len(warnings) == 1
    assert (
        "no videos: " in warnings[0]
        and "MUJOCO_GL=off" in warnings[0]
        and "--logger.video.enabled" in warnings[0]
    )


@pytest.mark.parametrize("end", ["exec sleep 600", "kill -9 $$"])
def test_a_drawing_process_that_is_killed_leaves_nothing(
    tmp_path: Path, robot, monkeypatch: pytest.MonkeyPatch, end: str
):
    """Whether it hangs or the system kills it: no half video stays beside the others."""
    slow = tmp_path / "python"
    slow.write_text(f'#!/bin/sh\ntouch "$(dirname "$4")/.a.$$.tmp.mp4" && touch begun && {end}\n')
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.chdir(tmp_path)
    drawing = Drawing(make_job(SMALL, robot, Ground(), walk(3), 50.0), tmp_path / "videos" / "a.mp4")
    while not (tmp_path / "begun").exists():
        assert drawing.running
    with pytest.raises(VideoUnavailable, match=r"within 0 s|code -9"):
        drawing.result(timeout_s=0.01 if "sleep" in end else 60)
    assert list((tmp_path / "videos").iterdir()) == []


def test_unwritable_folder_is_a_warning(tmp_path: Path, robot):
    (tmp_path / "videos").write_text("a file where the folder should be")
    rec = recorder(tmp_path, robot)
    with pytest.warns(RuntimeWarning, match="no videos: .*videos"):
        rec.draw("a", walk(3))


def test_disabled_recorder_does_nothing(tmp_path: Path, robot):
    rec = recorder(tmp_path, robot, dataclasses.replace(SMALL, enabled=False))
    assert not rec.due(0)
    rec.draw("a", walk(3))
    assert rec.close() == [] and not (tmp_path / "videos").exists()


def test_job_survives_the_file(tmp_path: Path):
    ground = Ground(np.arange(6, dtype=np.float32).reshape(2, 3), 0.2, (-1.0, 2.0))
    job = video_job.Job(walk(3), tmp_path / "r.xml", ("a", "b"), ground, 160, 90, 50.0, "auto")
    video_job.write_job(tmp_path / "job.npz", job)
    back = video_job.read_job(tmp_path / "job.npz")
    assert back.trajectory.ghost is None
    for ours, theirs in zip(job.trajectory[:-1], back.trajectory[:-1], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(back.ground.heights, ground.heights)
    assert (back.ground.cell, back.ground.corner) == (0.2, (-1.0, 2.0))
    assert (back.mjcf, back.joint_names, back.width, back.fps) == (tmp_path / "r.xml", ("a", "b"), 160, 50.0)
    flat = dataclasses.replace(job, ground=Ground(), trajectory=job.trajectory._replace(command=None))
    video_job.write_job(tmp_path / "flat.npz", flat)
    back = video_job.read_job(tmp_path / "flat.npz")
    assert back.ground.heights is None and back.trajectory.command is None


def test_velocities_are_in_the_heading_frame():
    from holosoma_jax.render.renderer import velocities

    # facing +y and moving along +y in the world: 1 m/s straight ahead
    command, actual = velocities(walk(1, yaw=np.pi / 2), 0)
    np.testing.assert_allclose(actual, [1.0, 0.0, 0.5], atol=1e-6)
    np.testing.assert_allclose(command, [1.0, 0.0, 0.5])


def test_a_crop_keeps_the_heights_where_they_were():
    heights = np.random.default_rng(0).uniform(size=(400, 300)).astype(np.float32)
    ground = Ground(heights, 0.1, (-20.0, -15.0))
    path = np.array([[2.0, 1.0], [3.0, 1.5]], np.float32)
    small = crop_to_path(ground, path, margin=1.0)
    i, j = (round((p - c) / 0.1) for p, c in zip((2.5, 1.2), small.corner, strict=True))
    assert small.heights[i, j] == heights[round((2.5 + 20) / 0.1), round((1.2 + 15) / 0.1)]
    for axis, (low, high) in enumerate(((1.0, 4.0), (0.0, 2.5))):  # the path's rectangle and 1 m around it
        end = small.corner[axis] + 0.1 * (small.heights.shape[axis] - 1)
        assert low - 0.3 <= small.corner[axis] <= low + 1e-6 and high - 1e-6 <= end <= high + 0.3
    assert crop_to_path(Ground(), path).heights is None


def test_a_crop_has_one_shape_also_at_the_rim():
    heights = np.arange(120.0, dtype=np.float32).reshape(12, 10)
    ground = Ground(heights, 0.5, (-3.0, -2.5))
    extent = np.array([1.0, 1.0])
    shapes, corners = set(), []
    for centre in ((0.0, 0.0), (-3.0, 2.0), (1000.0, -1000.0)):
        small = crop_heightfield(ground, np.array(centre), extent)
        shapes.add(small.heights.shape)
        corners.append(small.corner)
        i, j = (round((small.corner[k] - ground.corner[k]) / 0.5) for k in (0, 1))
        np.testing.assert_array_equal(small.heights, heights[i : i + 7, j : j + 7])
    assert shapes == {(7, 7)}
    assert corners[2] == (-0.5, -2.5)  # far outside, what lies nearest
    whole = crop_heightfield(ground, np.zeros(2), np.array([100.0, 100.0]))
    np.testing.assert_array_equal(whole.heights, heights)


def test_mujoco_is_not_imported_before_its_opengl_is_chosen():
    code = "import sys, holosoma_jax.render.renderer, holosoma_jax.render.video\n"
    code += "print(*({'mujoco', 'jax', 'OpenGL', 'glfw'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_gl_choice_respects_the_user_and_is_made_once(monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(
        gl, "probe", lambda backend: asked.append(backend) or (None if backend == "osmesa" else "no")
    )
    monkeypatch.setattr(opengl.platform, "system", lambda: "Linux")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    gl.select.cache_clear()
    try:
        assert gl.select() == "osmesa" and asked == ["osmesa"]  # the user's, and no other
        assert gl.select() == "osmesa" and asked == ["osmesa"]  # not tried again
        monkeypatch.delenv("MUJOCO_GL")
        gl.select.cache_clear()
        assert gl.select() == "osmesa" and asked[1:] == ["egl", "osmesa"]
        assert os.environ["MUJOCO_GL"] == "osmesa"  # for MuJoCo, if it is imported later
        with pytest.raises(gl.GlUnavailable, match=r"\(egl: no\).*apt-get install libegl1"):
            gl.select("egl")  # explicitly asked for: no substitute
    finally:
        gl.select.cache_clear()
        monkeypatch.undo()


def test_hung_driver_is_given_up():
    assert gl.probe("egl", timeout_s=0.01) == "no image after 0 s"
