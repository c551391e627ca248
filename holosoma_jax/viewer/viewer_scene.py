"""What the viewer's process shows: the posed model, the ground around it, arrows, a ghost, and the newest frame."""

from __future__ import annotations

import os
import threading

import mujoco
import numpy as np

from bridges.protocol import Ground
from holosoma_jax.render import scene, velocity_arrows, visual_model
from holosoma_jax.render.ghost import Ghost, draw_boxes, look_direction
from holosoma_jax.viewer.messages import Frame, ViewerJob, frame_bytes, unpack

MARGIN = 12.0
"""m of a height field that is shown around the robot; all of a large map would be slow to draw"""
ROAM = 5.0
"""m from the middle of that part at which another one is shown"""
DISTANCE, AZIMUTH, ELEVATION = 3.2, 40.0, -15.0
"""m and degrees: where the camera starts, behind the robot, so that its left is the user's"""
EXTRA_GEOMS = 1000
"""Arrows and the ghost's geoms; MuJoCo Studio sends 1024 to the page."""


class ViewerScene:
    """The model that is drawn, with a pose."""

    def __init__(self, job: ViewerJob):
        """Build it, with the ground around the origin.

        Raises:
          MisfitError: the model that is to be drawn is not the robot's.
        """
        self._ground, self._middle, self._box = job.ground, np.zeros(2), job.box
        self.model = scene.scene_model(
            job.mjcf,
            self._ground_around(self._middle),
            640,
            480,
            joint_names=job.joint_names,
            studio=job.kind == "web",
        )
        if job.kind == "window":  # light from where this camera is, not from where the videos' is
            self.model.light("video_sun").pos[:2] *= -1.0
            self.model.light("video_sun").dir[:2] *= -1.0
            # Software OpenGL speckles the edge of the shadow map, which lies in view here: move it away.
            self.model.vis.map.shadowclip, self.model.vis.quality.shadowsize = 8.0, 4096
        self.data = mujoco.MjData(self.model)
        visual = visual_model.bind(self.model, job.joint_names, job.mjcf, job.own_mjcf)
        mujoco.mj_kinematics(self.model, self.data)
        self._top = visual_model.height_above_root(visual, self.data)
        self.root_body = visual.root_body
        self.visual, self._ghost = visual, Ghost(visual)

    def set_frame(self, frame: Frame) -> bool:
        """Put the robot where `frame` has it; returns whether another part of the ground is shown now."""
        moved = self._ground.heights is not None and bool(
            np.abs(frame.root_pos[:2] - self._middle).max() > ROAM
        )
        if moved:
            self._middle = frame.root_pos[:2].astype(np.float64)
            scene.set_height_field(self.model, self._ground_around(self._middle))
        visual_model.set_pose(self.visual, self.data, frame.root_pos, frame.root_quat, frame.joint_pos)
        return moved

    def draw_extras(self, frame: Frame, extra: mujoco.MjvScene, camera: mujoco.MjvCamera) -> None:
        """Replace what `extra` holds by the ghost and the arrows of `frame`, for the eyes of `camera`."""
        extra.ngeom = 0
        pose = (frame.ghost_root_pos, frame.ghost_root_quat, frame.ghost_joint_pos)
        self._ghost.add_to(extra, *pose, look=look_direction(camera))
        theirs = (frame.ghost_object_pos, frame.ghost_object_quat)
        draw_boxes(extra, self._box, (frame.object_pos, frame.object_quat), theirs)
        measured = velocity_arrows.heading_velocity(frame.root_quat, frame.root_lin_vel, frame.root_ang_vel)
        for arrow in velocity_arrows.both(
            frame.root_pos, frame.root_quat, self._top, frame.command, measured
        ):
            if extra.ngeom < extra.maxgeom:
                scene.draw_arrow(extra.geoms[extra.ngeom], arrow)
                extra.ngeom += 1

    def _ground_around(self, middle: np.ndarray) -> Ground:
        return scene.crop_heightfield(self._ground, middle, np.array([MARGIN, MARGIN]))


class FrameReader:
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

    def take(self, timeout_s: float) -> Frame | None:
        """The newest frame with a finite pose, once; None if there is no new one in time."""
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or self.ended, timeout_s)
            data, self._newest = self._newest, None
        if data is None:
            return None
        frame = unpack(data)
        posed = np.concatenate([frame.root_pos, frame.root_quat, frame.joint_pos])
        return frame if np.isfinite(posed).all() else None

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
