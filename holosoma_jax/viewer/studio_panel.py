"""The viewer's own part of MuJoCo Studio: keys, a panel, arrows and ghost, and a camera that follows.

Imports MuJoCo Studio, so only the viewer's process imports this.
"""

from __future__ import annotations

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

from holosoma_jax.render import velocity_arrows
from holosoma_jax.viewer import controls as user_controls
from holosoma_jax.viewer.controls import Controls
from holosoma_jax.viewer.messages import Frame
from holosoma_jax.viewer.viewer_scene import AZIMUTH, DISTANCE, ELEVATION

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
    imgui.Col.Button: imgui.Vec4(0.2, 0.25, 0.35, 1.0),
    imgui.Col.Text: imgui.Vec4(1.0, 1.0, 1.0, 1.0),
}
"""Of the panel, whichever theme the browser asks for: the colours of the arrows cannot be read on a bright one."""
GREY = imgui.Vec4(0.65, 0.68, 0.72, 1.0)
KEYS = (
    *user_controls.VELOCITY_KEYS,
    user_controls.STOP_KEY,
    *user_controls.ENV_KEYS,
    *user_controls.STEP_KEYS,
    *user_controls.SPEED_KEYS,
    user_controls.PAUSE_KEY,
    *user_controls.ROPE_KEYS,
    user_controls.HANG_KEY,
)


@dataclass(frozen=True, eq=False)
class FrameSnapshot(messages.Snapshot):
    """What the panel writes, and the arrows and ghost beside the robot; follows every pose."""

    frame: Frame
    extra_geoms: list[mujoco.MjvGeom]


class StudioPanel(plugin.ViewerPlugin):
    """Takes the keys, draws the panel, the arrows and the ghost, and keeps the camera on the robot."""

    def __init__(self, title: str, controls: Controls, root_body: int):
        """Nothing is shown yet.

        Args:
          title: first line of the panel.
          controls: take the keys and buttons.
          root_body: index of the body that the camera follows.
        """
        self._title, self._controls, self._body = title, controls, root_body
        self._app: studio_app.App | None = None
        self._frame: Frame | None = None
        self._camera: dict[str, Any] | None = None

    # Above Studio's own keys (Q, E, Z, ... switch drawing options there), which a key of ours skips.
    @messages.handler(priority=messages.Priority.USER)
    def _on_keys(self, _: messages.UpdateEvent) -> bool:
        if imgui.GetIO().WantCaptureKeyboard:
            return False
        taken = False
        for key in KEYS:
            repeats = key not in (
                user_controls.PAUSE_KEY,
                user_controls.HANG_KEY,
            )  # a key that is held down does not toggle
            if imgui.IsKeyPressed(getattr(imgui.Key, f"N{key}" if key.isdigit() else key), repeats):
                taken |= self._controls.press(key)
        return taken

    @messages.handler(priority=messages.Priority.USER)
    def _on_frame(self, event: FrameSnapshot) -> None:
        self._frame = event.frame
        self.viewer.extra_geoms[:] = event.extra_geoms

    @messages.handler(priority=messages.Priority.USER)
    def _on_gui(self, _: messages.BuildGuiEvent) -> None:
        imgui.SetNextWindowPos(imgui.Vec2(12.0, 40.0), int(imgui.Cond.Appearing))
        imgui.SetNextWindowBgAlpha(0.75)
        for part, colour in DARK.items():
            imgui.PushStyleColor(int(part), colour)
        if imgui.Begin("robot", None, FLAGS)[0]:
            self._draw_panel()
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

    def _draw_panel(self) -> None:
        controls, frame = self._controls, self._frame
        imgui.TextUnformatted(self._title)
        imgui.Separator()
        if controls.num_envs > 1:
            changed, env = imgui.SliderInt(
                "##environment",
                controls.env,
                0,
                controls.num_envs - 1,
                f"environment %d of {controls.num_envs}",
            )
            if changed:
                controls.select_env(env)
        if frame is None:
            imgui.TextUnformatted("waiting for the first step ...")
            return
        if controls.playback.pausable:
            self._draw_playback(frame)
        if controls.playback.rope is not None:
            # Both at any time: the rope may have let go by itself, which nobody tells the viewer.
            for label, length in (("Hold", controls.rope), ("Let go", None)):
                if imgui.Button(label):
                    controls.set_rope(length)
                imgui.SameLine()
            imgui.TextUnformatted(f"rope of {controls.rope:.1f} m")
        command = np.asarray(controls.command) if controls.limits is not None else frame.command
        measured = velocity_arrows.heading_velocity(frame.root_quat, frame.root_lin_vel, frame.root_ang_vel)
        for label, velocity, rgba in (
            ("commanded", command, velocity_arrows.COMMAND_RGBA),
            ("measured ", measured, velocity_arrows.MEASURED_RGBA),
        ):
            if np.isfinite(velocity).all():
                colour = imgui.Vec4(*velocity_arrows.brighter(rgba), 1.0)
                imgui.TextColored(colour, f"{label}  {velocity_arrows.text(velocity)}")
        for group in user_controls.key_help(controls):
            imgui.TextColored(GREY, "   ".join(f"{keys} {meaning}" for keys, meaning in group))

    def _draw_playback(self, frame: Frame) -> None:
        controls = self._controls
        frames = controls.playback.num_frames
        if imgui.Button("Resume" if controls.paused else "Pause "):
            controls.pause(not controls.paused)
        for label, count in (("<", -1), (">", +1)) if frames else (("Step", +1),):
            imgui.SameLine()
            if imgui.Button(label):
                controls.step(count)
        for speed in reversed(controls.playback.speeds):
            imgui.SameLine()
            text = f"1/{round(1.0 / speed)}" if speed < 1.0 else "1x" if speed == 1.0 else "max"
            if imgui.RadioButton(text, controls.speed == speed):
                controls.set_speed(speed)
        if frames > 1:
            moved, index = imgui.SliderInt(
                "##frame", max(frame.frame_index, 0), 0, frames - 1, f"frame %d of {frames}"
            )
            if moved:
                controls.pause(True)
                controls.seek(index)

    def _follow(self) -> None:
        """Let the camera follow the robot, from behind and to the side."""
        camera = self.viewer.camera
        camera.type = int(mujoco.mjtCamera.mjCAMERA_TRACKING)
        camera.trackbodyid, camera.fixedcamid = self._body, -1
        camera.distance, camera.azimuth, camera.elevation = DISTANCE, AZIMUTH, ELEVATION
        if self._app is not None:
            self._app.ux_state.camera_index = ux.TRACKING_CAMERA_IDX


def _camera_pose(camera: mujoco.MjvCamera) -> dict[str, Any]:
    names = ("type", "trackbodyid", "fixedcamid", "distance", "azimuth", "elevation")
    return {name: getattr(camera, name) for name in names}
