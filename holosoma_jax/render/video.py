"""Videos of episodes, recorded in the loop and drawn in a process of their own.

Drawing needs an OpenGL that MuJoCo chooses when it is imported, may take longer than the episode,
and a broken driver ends the process it runs in. So the loop only copies one environment's pose per
control step; a child process draws and encodes, at low priority, while training continues. Whatever
fails there becomes one warning with the cause and the fix.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bridges.protocol import Array, Ground, Pose, SimState
from holosoma_jax import files, machine
from holosoma_jax.config.schema import VideoConfig
from holosoma_jax.render import contact_sheet, video_job
from holosoma_jax.render.gl import last_line
from holosoma_jax.render.video_job import Job, Trajectory, VideoUnavailable, write_job

if TYPE_CHECKING:
    from holosoma_jax.robots.robot import Robot

__all__ = [
    "Drawing",
    "EpisodeRecorder",
    "Trajectory",
    "VideoUnavailable",
    "render_sheet",
    "render_video",
]

SHEET_FRAME = (480, 360)
"""pixels of one frame of a contact sheet, wide and high"""
TIMEOUT_S = 600.0
"""s after which a drawing process is taken for hung"""


class Drawing:
    """A video being drawn in the background."""

    def __init__(self, job: Job, path: str | os.PathLike[str]):
        """Start to draw `job` into `path`; raises OSError where nothing can be written."""
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(prefix="holosoma-video-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        job_file = folder / "job.npz"
        write_job(job_file, job)
        self._log = folder / "log"
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "holosoma_jax.render.renderer", job_file, self.path.resolve()],
                env=machine.child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C stops the training, not the video of it
            )

    @property
    def running(self) -> bool:
        """Whether the process still draws."""
        return self._process.poll() is None

    def result(self, timeout_s: float = TIMEOUT_S) -> Path:
        """Wait for the video; raises VideoUnavailable with the cause if there is none."""
        late = False
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # with the encoder that it started
            late = True
        code = self._process.wait()
        files.temporary(self.path, self._process.pid).unlink(missing_ok=True)  # of one that was killed
        cause = last_line(self._log.read_text(errors="replace")) if self._log.exists() else ""
        self._folder.cleanup()
        if late:
            raise VideoUnavailable(f"{self.path.name} was not drawn within {timeout_s:.0f} s")
        if code == 0 and self.path.exists():
            return self.path
        raise VideoUnavailable(cause or f"the drawing process ended with code {code}")


class EpisodeRecorder:
    """Records episodes of one environment and has them drawn, one at a time; never raises.

    In the loop::

        recorder = EpisodeRecorder(cfg.logger.video, robot, ground, run_dir / "videos", control_dt)
        if recorder.due(iteration):
            recorder.start(f"{iteration:07d}")
        ...after each control step:  recorder.add(sim, command)
        ...when its episode ends:    recorder.finish()
        ...at the end of the run:    recorder.close()
    """

    def __init__(
        self,
        cfg: VideoConfig,
        robot: Robot,
        ground: Ground,
        folder: Path,
        control_dt: float,
        *,
        env: int = 0,
        warn: Callable[[str], None] | None = None,
    ):
        """Nothing is started yet.

        Args:
          cfg: size, length, interval, OpenGL.
          robot: whose model is drawn.
          ground: what it stands on.
          folder: receives ``<name>.mp4``.
          control_dt: s between two `add`s; the video plays in real time.
          env: index of the environment that is recorded.
          warn: receives the one line that says why there are no videos; default: `warnings.warn`.
        """
        self._cfg, self._robot, self._ground = cfg, robot, ground
        self._folder, self._env, self._fps = folder, env, 1.0 / control_dt
        self._limit = max(1, round(cfg.length_s / control_dt))
        self._warn = warn or (lambda text: warnings.warn(text, RuntimeWarning, stacklevel=3))
        self._enabled = cfg.enabled
        self._name: str | None = None
        self._frames: list[Trajectory] = []
        self._drawing: Drawing | None = None
        self.videos: list[Path] = []
        """finished videos, oldest first"""

    @property
    def recording(self) -> bool:
        """Whether `add` keeps frames."""
        return self._name is not None

    def due(self, iteration: int) -> bool:
        """Whether to start a video now: its turn, and neither recording nor drawing another."""
        if self.recording or iteration % self._cfg.interval or (self._drawing and self._drawing.running):
            return False
        self._collect()  # a failed drawing ends the recording of more
        return self._enabled

    def start(self, name: str) -> None:
        """Begin to record ``<name>.mp4``, from the next `add` on."""
        self._name, self._frames = name, []

    def add(self, sim: SimState, command: Array | None = None, ghost: SimState | Pose | None = None) -> None:
        """Keep one frame; ends the recording when it is ``length_s`` long.

        Args:
          sim: arrays [E, ...], copied here, so they may be borrowed.
          command: [E, >= 3] v_x, v_y, yaw rate, if the task has them.
          ghost: a second pose [E, ...] of the robot, drawn transparent; in all frames or in none.
        """
        if self._name is None:
            return
        self._frames.append(video_job.frame_of(sim, self._env, command, ghost))
        if len(self._frames) >= self._limit:
            self.finish()

    def finish(self) -> None:
        """End the recording and start to draw it in the background."""
        name, frames = self._name, self._frames
        self._name, self._frames = None, []
        if name is not None and frames:
            self.draw(name, video_job.stack(frames))

    def draw(self, name: str, trajectory: Trajectory) -> None:
        """Draw ``<name>.mp4`` in the background from a trajectory recorded elsewhere."""
        if not self._enabled:
            return
        self._collect()
        job = make_job(self._cfg, self._robot, self._ground, trajectory, self._fps)
        try:
            self._drawing = Drawing(job, self._folder / f"{name}.mp4")
        except OSError as error:
            self._give_up(error)

    def close(self) -> list[Path]:
        """Draw what is recorded, wait for it, and return all videos."""
        self.finish()
        self._collect()
        return self.videos

    def _collect(self) -> None:
        drawing, self._drawing = self._drawing, None
        if drawing is not None:
            try:
                self.videos.append(drawing.result())
            except VideoUnavailable as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._enabled = False
        self._warn(f"no videos: {error}. Silence this with --logger.video.enabled False.")


def render_video(
    path: str | os.PathLike[str],
    trajectory: Trajectory,
    robot: Robot,
    ground: Ground,
    control_dt: float,
    cfg: VideoConfig | None = None,
) -> Path:
    """Draw `trajectory` into the mp4 `path` and wait for it (evaluation, notebooks).

    Raises:
      VideoUnavailable: with the cause and the fix.
    """
    return _drawn(path, make_job(cfg or VideoConfig(), robot, ground, trajectory, 1.0 / control_dt))


def render_sheet(
    path: str | os.PathLike[str],
    trajectory: Trajectory,
    robot: Robot,
    ground: Ground,
    control_dt: float,
    cfg: VideoConfig | None = None,
) -> Path:
    """Draw frames of `trajectory`, evenly spaced, as one PNG `path` and wait for it.

    Raises:
      VideoUnavailable: with the cause and the fix.
    """
    stride = contact_sheet.stride(len(trajectory.root_pos))
    size = replace(cfg or VideoConfig(), width=SHEET_FRAME[0], height=SHEET_FRAME[1])
    return _drawn(path, make_job(size, robot, ground, trajectory.every(stride), 1.0 / (stride * control_dt)))


def make_job(cfg: VideoConfig, robot: Robot, ground: Ground, trajectory: Trajectory, fps: float) -> Job:
    """The job that draws `trajectory`; sizes are rounded down to even numbers, as H.264 needs them."""
    width, height = (max(2, size - size % 2) for size in (cfg.width, cfg.height))
    drawn, own = (robot.visual_mjcf, robot.mjcf) if robot.visual_mjcf else (robot.mjcf, None)
    box = None if robot.object is None else robot.object.size
    return Job(trajectory, drawn, robot.joint_names, ground, width, height, fps, cfg.backend, own, box)


def _drawn(path: str | os.PathLike[str], job: Job) -> Path:
    try:
        return Drawing(job, path).result()
    except OSError as error:
        raise VideoUnavailable(str(error)) from error
