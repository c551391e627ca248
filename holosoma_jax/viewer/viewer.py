"""A live view of one environment, in a process of its own.

Drawing must not cost the run its speed, and a broken driver must not end it. So the run sends one environment's
pose up to 30 times a second, never waits for it to be shown, and poses that come faster than they can be shown
are dropped.
"""

from __future__ import annotations

import json
import math
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bridges.protocol import Array, Pose, SimState
from holosoma_jax import machine
from holosoma_jax.render.gl import last_line
from holosoma_jax.viewer.controls import Command
from holosoma_jax.viewer.messages import Frame, ViewerJob, pack, write_job

if TYPE_CHECKING:
    pass

FRAMES_PER_S = 30.0
"""Poses sent, at most"""
START_S = 90.0
"""s within which the viewer has to appear"""
NO_POSE = (np.full(3, np.nan, np.float32), np.full(4, np.nan, np.float32))


class ViewerUnavailable(RuntimeError):
    """No viewer works here; the message says why and what to do."""


class Viewer:
    """An open viewer; `opening.open_viewer` makes one. Once it is open, nothing here raises or waits."""

    def __init__(self, job: ViewerJob):
        """Start the process and wait until it can be seen.

        Raises:
          ViewerUnavailable: with the cause.
        """
        self._interval, self._due, self._env = 1.0 / FRAMES_PER_S, 0.0, 0
        self._command: Command | None = job.command if job.limits is not None else None
        self._paused, self._speed, self._steps = False, job.playback.speeds[-1], 0
        self._seek: int | None = None
        self._rope: float | None = None
        python = _python(job.kind)
        self._folder = tempfile.TemporaryDirectory(prefix="holosoma-viewer-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "log"
        try:
            self.process = self._start(python, job)
        except BaseException:
            self._folder.cleanup()
            raise
        self._newest: bytes | None = None
        self._news, self._open, self._over = threading.Condition(), threading.Event(), threading.Event()
        self._error, self.url = "", ""
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._listen, self._send)
        ]
        for thread in self._threads:
            thread.start()
        if not self._open.wait(START_S):
            self._error = f"it did not appear within {START_S:.0f} s"
        if self._over.is_set() or not self._open.is_set():
            self.close()
            raise ViewerUnavailable(self._error or "its process ended")

    def _start(self, python: str, job: ViewerJob) -> subprocess.Popen[bytes]:
        file = self._log.with_name("job.npz")
        write_job(file, job)
        with open(self._log, "wb") as log:
            return subprocess.Popen(
                [python, "-m", "holosoma_jax.viewer.process", file],
                env=machine.child_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C stops the run, which then closes its viewer
            )

    @property
    def closed(self) -> bool:
        """Whether the user has closed it (or it has ended by itself)."""
        return self._over.is_set()

    @property
    def command(self) -> Command | None:
        """The user's velocity command; None in a viewer whose user only watches."""
        return self._command

    @property
    def env(self) -> int:
        """Index of the environment that the user looks at."""
        return self._env

    @property
    def paused(self) -> bool:
        """Whether the user has stopped the clock."""
        return self._paused and not self.closed

    @property
    def speed(self) -> float:
        """Of real time, as the user wants it; infinite for a training that nobody slows down."""
        return self._speed

    def take_steps(self) -> int:
        """Steps that the user has asked for since the last call: on, or back where there are frames (negative)."""
        with self._news:
            steps, self._steps = self._steps, 0
        return steps

    def take_seek(self) -> int | None:
        """The frame, of a recording or a task's timeline, chosen since the last call; None: none."""
        with self._news:
            seek, self._seek = self._seek, None
        return seek

    def take_rope(self) -> float | None:
        """Rest length in m that the user has given the gantry's rope since the last call; infinite: let go."""
        with self._news:
            rope, self._rope = self._rope, None
        return rope

    def show(
        self,
        sim: SimState,
        command: Array | None = None,
        *,
        ghost: SimState | Pose | None = None,
        frame_index: int = -1,
    ) -> None:
        """Show the environment that the user has selected, if it is time for a frame.

        Args:
          sim: arrays [E, ...], copied here, so they may be borrowed.
          command: [E, >= 3] v_x, v_y m/s, yaw rate rad/s, if the task has them.
          ghost: a second pose [E, ...] of the robot, drawn transparent: the motion to be tracked, say.
          frame_index: of the frame, in a recording or a task's timeline.
        """
        now = time.monotonic()
        if now < self._due or self.closed:
            return
        self._due = now + self._interval
        e = self._env
        joint_pos = np.asarray(sim.joint_pos[e])
        frame = Frame(
            env=e,
            frame_index=frame_index,
            root_pos=np.asarray(sim.root_pos[e]),
            root_quat=np.asarray(sim.root_quat[e]),
            root_lin_vel=np.asarray(sim.root_lin_vel[e]),
            root_ang_vel=np.asarray(sim.root_ang_vel[e]),
            command=NO_POSE[0] if command is None else np.asarray(command[e])[:3],
            ghost_root_pos=NO_POSE[0] if ghost is None else np.asarray(ghost.root_pos[e]),
            ghost_root_quat=NO_POSE[1] if ghost is None else np.asarray(ghost.root_quat[e]),
            joint_pos=joint_pos,
            ghost_joint_pos=np.zeros_like(joint_pos) if ghost is None else np.asarray(ghost.joint_pos[e]),
            **_boxes(sim, ghost, e),
        )
        with self._news:
            self._newest = pack(frame)
            self._news.notify()

    def close(self) -> None:
        """End it, within some seconds even if it hangs; does nothing the second time."""
        self._over.set()
        with self._news:
            self._news.notify()
        try:
            self.process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for thread in self._threads:
            thread.join(5.0)
        self._folder.cleanup()

    def _send(self) -> None:
        """Write the newest frame, as fast as the viewer takes them; at the end, close the pipe.

        No other thread may close it: that waits for a write, which a viewer that hangs never takes.
        """
        pipe = self.process.stdin
        assert pipe is not None
        with suppress(OSError), pipe:  # an error: the viewer has ended
            while True:
                with self._news:
                    self._news.wait_for(lambda: self._newest is not None or self.closed)
                    frame, self._newest = self._newest, None
                if frame is None:
                    return
                pipe.write(frame)
                pipe.flush()

    def _listen(self) -> None:
        """Take in the viewer's messages, until it ends."""
        for message in self._messages():
            if "ready" in message:
                self.url = message["ready"]
                self._open.set()
            elif "error" in message:
                self._error = message["error"]
            elif "env" in message:
                self._env, self._due = int(message["env"]), 0.0
            elif "command" in message:
                x, y, yaw = message["command"]
                self._command = (x, y, yaw)
            elif "paused" in message:
                self._paused, self._due = bool(message["paused"]), 0.0
            elif "speed" in message:
                self._speed = float(message["speed"])
            elif "step" in message:
                with self._news:
                    self._steps += int(message["step"])
            elif "rope" in message:
                with self._news:
                    self._rope = math.inf if message["rope"] is None else float(message["rope"])
            elif "seek" in message:
                with self._news:
                    self._seek = int(message["seek"])
        if not self._error and not self._open.is_set():
            with suppress(OSError):
                self._error = last_line(self._log.read_text(errors="replace"))
        self._over.set()
        self._open.set()
        with self._news:
            self._news.notify()

    def _messages(self) -> Iterator[dict]:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with suppress(ValueError):
                    yield json.loads(line)


def _boxes(sim: SimState, ghost: SimState | Pose | None, env: int) -> dict[str, np.ndarray]:
    """Fields of a `Frame`: the boxes beside the robot and its ghost, where there are any."""
    parts = {"": sim} if ghost is None else {"": sim, "ghost_": ghost}
    found = {
        f"{prefix}{name}": getattr(part, name)
        for prefix, part in parts.items()
        for name in ("object_pos", "object_quat")
    }
    return {name: np.asarray(value[env]) for name, value in found.items() if value is not None}


def _python(kind: str) -> str:
    """The interpreter that can show this kind of viewer.

    Raises:
      ViewerUnavailable: macOS opens windows from `mjpython` only, and there is none.
    """
    if kind == "web" or platform.system() != "Darwin":
        return sys.executable
    found = shutil.which("mjpython", path=str(Path(sys.executable).parent)) or shutil.which("mjpython")
    if found is None:
        raise ViewerUnavailable("macOS needs mjpython, which comes with mujoco; or --viewer.mode web")
    return found
