"""The viewer as a window of its own: MuJoCo's, on a desktop. macOS wants it run by `mjpython`."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import mujoco.viewer

from holosoma_jax.render import scene, steering
from holosoma_jax.render.steering import Command
from holosoma_jax.viewer.link import View, ViewerJob
from holosoma_jax.viewer.stage import AZIMUTH, DISTANCE, ELEVATION, Frames, Stage

PREVIOUS, NEXT = 263, 262
"""GLFW's codes of the left and right arrow keys"""


class Keys:
    """What the user has asked for by key; called by the window's thread."""

    def __init__(self, job: ViewerJob, say: Callable[..., None]):
        """Nothing yet."""
        self._job, self._say = job, say
        self.command: Command = job.command
        self._env = 0

    def __call__(self, code: int) -> None:
        """Take in one press."""
        job, key = self._job, chr(code) if 0 < code < 128 else ""
        if job.limits is not None and (key in steering.KEYS or key == steering.STOP_KEY):
            self.command = steering.press(self.command, key, job.limits)
            self._say(command=self.command)
        elif job.num_envs > 1 and code in (PREVIOUS, NEXT):
            self._env = (self._env + (1 if code == NEXT else -1)) % job.num_envs
            self._say(env=self._env)


def run(job: ViewerJob, stage: Stage, frames: Frames, say: Callable[..., None]) -> None:
    """Show the window until the frames end or the user closes it.

    Raises:
      RuntimeError: there is no display, or on macOS no mjpython.
    """
    keys = Keys(job, say)
    with mujoco.viewer.launch_passive(
        stage.model, stage.data, key_callback=keys, show_left_ui=False, show_right_ui=False
    ) as window:
        with window.lock():
            window.cam.type = mujoco.mjtCamera.mjCAMERA_TRACKING
            window.cam.trackbodyid = stage.root_body
            window.cam.distance, window.cam.azimuth, window.cam.elevation = DISTANCE, AZIMUTH, ELEVATION
        say(ready="")
        while window.is_running() and not frames.ended:
            view = frames.take(0.1)
            if view is None:
                continue
            with window.lock():
                moved = stage.pose(view)
                mujoco.mj_kinematics(stage.model, stage.data)
                mujoco.mj_comPos(stage.model, stage.data)
                mujoco.mj_camlight(stage.model, stage.data)
                _draw_arrows(window.user_scn, stage, view)
                _keep_looks(window, steers=job.limits is not None)
            if moved:
                window.update_hfield(stage.model.hfield("video_ground").id)
            window.set_texts(_texts(job, keys, view))
            window.sync()


def _draw_arrows(user: mujoco.MjvScene, stage: Stage, view: View) -> None:
    arrows = stage.arrows(view)
    for geom, arrow in zip(user.geoms, arrows, strict=False):
        scene.draw_arrow(geom, arrow)
    user.ngeom = len(arrows)


def _keep_looks(window: mujoco.viewer.Handle, steers: bool) -> None:
    """Undo what MuJoCo's own meaning of our keys switches: wireframe, shadows and the like."""
    if not steers:
        return
    window.user_scn.flags[mujoco.mjtRndFlag.mjRND_WIREFRAME] = 0
    window.user_scn.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 1
    usual = mujoco.MjvOption()
    for flag in ("AUTOCONNECT", "STATIC", "CAMERA", "LIGHT", "CONSTRAINT"):
        index = getattr(mujoco.mjtVisFlag, f"mjVIS_{flag}")
        window.opt.flags[index] = usual.flags[index]


def _texts(
    job: ViewerJob, keys: Keys, view: View
) -> list[tuple[int | None, int | None, str | None, str | None]]:
    """The panel, as MuJoCo's overlay: labels and values."""
    lines = [(job.title, f"environment {view.env} of {job.num_envs}" if job.num_envs > 1 else "")]
    command = keys.command if job.limits is not None else view.command
    actual = steering.measured(view.root_quat, view.root_lin_vel, view.root_ang_vel)
    if job.limits is not None or view.command[0] == view.command[0]:
        lines.append(("commanded", steering.text(command)))
    lines.append(("measured", steering.text(actual)))
    if job.limits is not None:
        lines += [(part, "") for part in steering.HELP.split("   ")]
    if job.num_envs > 1:
        lines.append(("left, right arrow: environment", ""))
    labels, values = ("\n".join(column) for column in zip(*lines, strict=True))
    font, place = mujoco.mjtFontScale.mjFONTSCALE_150, mujoco.mjtGridPos.mjGRID_TOPLEFT
    return [(int(font), int(place), labels, values)]
