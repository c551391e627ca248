"""What the viewer's process shows: the model, the ground around the robot, and the newest frame."""

from __future__ import annotations

import os
import threading

import mujoco
import numpy as np

from bridges.protocol import Ground
from holosoma_jax.render import scene, steering, visual_model
from holosoma_jax.render.steering import Arrow
from holosoma_jax.viewer.link import View, ViewerJob, frame_bytes, unpack

MARGIN = 12.0
"""m of a height field that is shown around the robot; all of a large map would be slow to draw"""
ROAM = 5.0
"""m from the middle of that part at which another one is taken"""
DISTANCE, AZIMUTH, ELEVATION = 3.2, 40.0, -15.0
"""m and degrees: where the camera starts, behind the robot, so that its left is the user's"""
MEASURED_ABOVE, COMMAND_ABOVE = 0.18, 0.25
"""m over the robot at which its arrows float"""


class Stage:
    """The model that is drawn, with a pose."""

    def __init__(self, job: ViewerJob):
        """Build it, with the ground around the origin.

        Raises:
          MisfitError: the model that is to be drawn is not the robot's.
        """
        self._ground, self._middle = job.ground, np.zeros(2)
        ground = surroundings(job.ground, self._middle)
        self.model = scene.scene_model(
            job.mjcf, ground, 640, 480, joint_names=job.joint_names, studio=job.kind == "web"
        )
        if job.kind == "window":  # light from where this camera is, not from where the videos' is
            self.model.light("video_sun").pos[:2] *= -1.0
            self.model.light("video_sun").dir[:2] *= -1.0
        self.data = mujoco.MjData(self.model)
        self.shown = visual_model.figure(self.model, job.joint_names, str(job.mjcf), job.like)
        mujoco.mj_kinematics(self.model, self.data)
        robot = self.model.geom_bodyid > 0
        highest = self.data.geom_xpos[robot, 2] + self.model.geom_rbound[robot]
        height = self.data.qpos[self.shown.root + 2]
        self._top = float(highest.max(initial=height) - height)
        joint = int(np.flatnonzero(self.model.jnt_qposadr == self.shown.root)[0])
        self.root_body = int(self.model.jnt_bodyid[joint])

    def pose(self, view: View) -> bool:
        """Put the robot where `view` has it; returns whether another part of the ground had to be shown."""
        moved = self._ground.heights is not None and bool(
            np.abs(view.root_pos[:2] - self._middle).max() > ROAM
        )
        if moved:
            self._middle = view.root_pos[:2].astype(np.float64)
            scene.set_height_field(self.model, surroundings(self._ground, self._middle))
        visual_model.place(self.shown, self.data, view.root_pos, view.root_quat, view.joint_pos)
        return moved

    def arrows(self, view: View) -> list[Arrow]:
        """What the robot is told, in blue, and what it does, in green."""
        actual = steering.measured(view.root_quat, view.root_lin_vel, view.root_ang_vel)
        drawn = []
        for velocity, rgba, above in (
            (actual, steering.MEASURED_RGBA, MEASURED_ABOVE),
            (view.command, steering.COMMAND_RGBA, COMMAND_ABOVE),
        ):
            if np.isfinite(velocity).all():
                start = view.root_pos + np.array([0.0, 0.0, self._top + above])
                drawn += steering.arrows(start, view.root_quat, velocity, rgba)
        return drawn


class Frames:
    """The newest frame of a pipe, read in the background; older ones are dropped."""

    def __init__(self, descriptor: int, joints: int):
        """Begin to read.

        Args:
          descriptor: file descriptor of the pipe.
          joints: of the robot.
        """
        self._newest: bytes | None = None
        self._news, self.ended = threading.Condition(), False
        threading.Thread(target=self._read, args=(descriptor, frame_bytes(joints)), daemon=True).start()

    def take(self, timeout_s: float) -> View | None:
        """The newest frame with finite numbers, once; None if none came in time, or all have."""
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or self.ended, timeout_s)
            frame, self._newest = self._newest, None
        if frame is None:
            return None
        view = unpack(frame)
        posed = np.concatenate([view.root_pos, view.root_quat, view.joint_pos])
        return view if np.isfinite(posed).all() else None

    def _read(self, descriptor: int, size: int) -> None:
        held = b""
        while chunk := os.read(descriptor, 1 << 16):
            held += chunk
            whole = len(held) // size
            if whole:
                with self._news:
                    self._newest = held[(whole - 1) * size : whole * size]
                    self._news.notify()
                held = held[whole * size :]
        with self._news:
            self.ended = True
            self._news.notify()


def surroundings(ground: Ground, middle: np.ndarray, margin: float = MARGIN) -> Ground:
    """The part of a height field within `margin` m of `middle` [2] m; as large at its rim as inside."""
    if ground.heights is None:
        return ground
    first, count = [], []
    for axis, size in enumerate(ground.heights.shape):
        wide = min(size, 2 * round(margin / ground.cell) + 1)
        low = round((middle[axis] - ground.corner[axis]) / ground.cell) - wide // 2
        first.append(int(np.clip(low, 0, size - wide)))
        count.append(wide)
    (i, j), (n, m) = first, count
    corner = (ground.corner[0] + i * ground.cell, ground.corner[1] + j * ground.cell)
    return Ground(ground.heights[i : i + n, j : j + m], ground.cell, corner)
