"""The viewer's own part of MuJoCo Studio: keys, the panel, arrows, and a camera that follows.

Imports MuJoCo Studio, so only the viewer's process imports this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from mujoco.studio import app as studio_app
from mujoco.studio import (
    messages,
    plugin,
    ux,  # type: ignore[attr-defined]  # compiled
)
from mujoco.studio.dear_imgui import dear_imgui as imgui

from holosoma_jax.render import steering
from holosoma_jax.render.scene import draw_arrow
from holosoma_jax.render.steering import Arrow, Command
from holosoma_jax.viewer.link import View, ViewerJob
from holosoma_jax.viewer.stage import AZIMUTH, DISTANCE, ELEVATION

FLAGS = (
    int(imgui.WindowFlags.AlwaysAutoResize)
    | int(imgui.WindowFlags.NoSavedSettings)
    | int(imgui.WindowFlags.NoFocusOnAppearing)
    | int(imgui.WindowFlags.NoNav)
    | int(imgui.WindowFlags.NoTitleBar)
)
DARK = {
    imgui.Col.WindowBg: imgui.Vec4(0.1, 0.1, 0.12, 1.0),
    imgui.Col.FrameBg: imgui.Vec4(0.2, 0.25, 0.35, 1.0),
    imgui.Col.Text: imgui.Vec4(1.0, 1.0, 1.0, 1.0),
}
"""Of the panel, whichever theme the browser asks for: the colours of the arrows cannot be read on a bright one."""
PREVIOUS, NEXT = imgui.Key.LeftArrow, imgui.Key.RightArrow


@dataclass(frozen=True, eq=False)
class Shown(messages.Snapshot):
    """What the panel writes and the arrows point to; follows every pose."""

    view: View
    arrows: list[Arrow]


class Panel(plugin.ViewerPlugin):
    """Takes the keys, draws the panel and the arrows, and says what the user asks for."""

    def __init__(self, job: ViewerJob, root_body: int, say: Callable[..., None]):
        """Nothing is shown yet.

        Args:
          job: of the viewer.
          root_body: index of the body that the camera follows.
          say: sends ``command=...`` or ``env=...`` to the run.
        """
        self._job, self._body, self._say = job, root_body, say
        self._app: studio_app.App | None = None
        self._shown: Shown | None = None
        self._env = 0
        self._command = job.command
        self._camera: dict[str, Any] | None = None

    # Above Studio's own keys (Q, E, Z, ... switch drawing options there), which a key of ours skips.
    @messages.handler(priority=messages.Priority.USER)
    def _on_keys(self, _: messages.UpdateEvent) -> bool:
        if imgui.GetIO().WantCaptureKeyboard:
            return False
        taken = False
        if self._job.limits is not None:
            for key in (*steering.KEYS, steering.STOP_KEY):
                if imgui.IsKeyPressed(getattr(imgui.Key, key)):
                    self._steer(steering.press(self._command, key, self._job.limits))
                    taken = True
        for key, step in ((PREVIOUS, -1), (NEXT, +1)):
            if self._job.num_envs > 1 and imgui.IsKeyPressed(key):
                self._choose((self._env + step) % self._job.num_envs)
                taken = True
        return taken

    @messages.handler(priority=messages.Priority.USER)
    def _on_shown(self, event: Shown) -> None:
        self._shown = event
        self.viewer.extra_geoms[:] = [_geom(arrow) for arrow in event.arrows]

    @messages.handler(priority=messages.Priority.USER)
    def _on_gui(self, _: messages.BuildGuiEvent) -> None:
        imgui.SetNextWindowPos(imgui.Vec2(12.0, 40.0), int(imgui.Cond.Appearing))
        imgui.SetNextWindowBgAlpha(0.75)
        for part, colour in DARK.items():
            imgui.PushStyleColor(int(part), colour)
        if imgui.Begin("robot", None, FLAGS)[0]:
            self._write()
        imgui.End()
        imgui.PopStyleColor(len(DARK))

    @messages.handler(priority=messages.Priority.USER)
    def _on_app(self, event: studio_app.InitEvent) -> None:
        self._app = event.app
        self._follow()

    # Studio puts its camera back when a model comes; ours stays where the user has it.
    @messages.handler(priority=messages.Priority.CRITICAL)
    def _before_model(self, _: messages.PostModelEvent) -> None:
        self._camera = _camera_pose(self.viewer.camera)

    @messages.handler(priority=0)
    def _after_model(self, _: messages.PostModelEvent) -> None:
        self._follow()
        for name, value in (self._camera or {}).items():
            setattr(self.viewer.camera, name, value)

    def _write(self) -> None:
        job = self._job
        imgui.TextUnformatted(job.title)
        imgui.Separator()
        if job.num_envs > 1:
            changed, env = imgui.SliderInt("environment", self._env, 0, job.num_envs - 1)
            if changed:
                self._choose(min(max(env, 0), job.num_envs - 1))
            imgui.TextUnformatted("left and right arrow keys: previous, next")
        if self._shown is None:
            imgui.TextUnformatted("waiting for the first step ...")
            return
        view = self._shown.view
        command = np.asarray(self._command) if job.limits is not None else view.command
        actual = steering.measured(view.root_quat, view.root_lin_vel, view.root_ang_vel)
        if np.isfinite(command).all():
            imgui.TextColored(_colour(steering.COMMAND_RGBA), f"commanded  {steering.text(command)}")
        imgui.TextColored(_colour(steering.MEASURED_RGBA), f"measured   {steering.text(actual)}")
        if job.limits is not None:
            imgui.TextUnformatted(steering.HELP)

    def _steer(self, command: Command) -> None:
        self._command = command
        self._say(command=command)

    def _choose(self, env: int) -> None:
        if env != self._env:
            self._env = env
            self._say(env=env)

    def _follow(self) -> None:
        """Let the camera follow the robot, from behind and to the side."""
        camera = self.viewer.camera
        camera.type = int(mujoco.mjtCamera.mjCAMERA_TRACKING)
        camera.trackbodyid, camera.fixedcamid = self._body, -1
        camera.distance, camera.azimuth, camera.elevation = DISTANCE, AZIMUTH, ELEVATION
        if self._app is not None:
            self._app.ux_state.camera_index = ux.TRACKING_CAMERA_IDX


def _geom(arrow: Arrow) -> mujoco.MjvGeom:
    geom = mujoco.MjvGeom()
    draw_arrow(geom, arrow)
    return geom


def _camera_pose(camera: mujoco.MjvCamera) -> dict[str, Any]:
    names = ("type", "trackbodyid", "fixedcamid", "distance", "azimuth", "elevation")
    return {name: getattr(camera, name) for name in names}


def _colour(rgba: tuple[float, float, float, float]) -> imgui.Vec4:
    """Brighter than the arrow, to be read on a dark panel."""
    r, g, b = (min(1.0, 1.2 * v + 0.15) for v in rgba[:3])
    return imgui.Vec4(r, g, b, 1.0)
