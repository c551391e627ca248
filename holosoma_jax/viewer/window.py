"""The viewer as a window of its own: MuJoCo's, on a desktop. macOS wants it run by `mjpython`."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import mujoco.viewer
import numpy as np

from holosoma_jax.render import velocity_arrows
from holosoma_jax.viewer.controls import Controls, key_help
from holosoma_jax.viewer.messages import Frame, ViewerJob
from holosoma_jax.viewer.viewer_scene import AZIMUTH, DISTANCE, ELEVATION, FrameReader, ViewerScene

KEY_NAMES = {
    263: "LeftArrow",
    262: "RightArrow",
    ord(" "): "Space",
    ord(","): "Comma",
    ord("."): "Period",
    ord("-"): "Minus",
    ord("="): "Equal",
}
"""GLFW's codes of the keys that are no letters"""
RESTORED = ("AUTOCONNECT", "STATIC", "CAMERA", "LIGHT", "CONSTRAINT", "ACTIVATION")
"""What MuJoCo's own meaning of our keys switches: W, S, A, D, Q, E, Z and the comma"""


def key_name(code: int) -> str:
    """The name of a key for `Controls.press`, by its code of GLFW."""
    return KEY_NAMES.get(code) or (chr(code) if ord("A") <= code <= ord("Z") else "")


def run(
    job: ViewerJob, scene: ViewerScene, frames: FrameReader, controls: Controls, send: Callable[..., None]
) -> None:
    """Show the window until the frames end or the user closes it.

    Raises:
      RuntimeError: there is no display, or on macOS no mjpython.
    """

    def on_key(code: int) -> None:
        controls.press(key_name(code))

    with mujoco.viewer.launch_passive(
        scene.model, scene.data, key_callback=on_key, show_left_ui=False, show_right_ui=False
    ) as window:
        with window.lock():
            window.cam.type = mujoco.mjtCamera.mjCAMERA_TRACKING
            window.cam.trackbodyid = scene.root_body
            window.cam.distance, window.cam.azimuth, window.cam.elevation = DISTANCE, AZIMUTH, ELEVATION
        send(ready="")
        while window.is_running() and not frames.ended:
            frame = frames.take(0.1)
            if frame is None:
                continue
            with window.lock():
                moved = scene.set_frame(frame)
                scene.draw_extras(frame, window.user_scn, window.cam)
                _restore_options(window)
            if moved:
                window.update_hfield(scene.model.hfield("video_ground").id)
            window.set_texts(_texts(job, controls, frame))
            window.sync()


def _restore_options(window: mujoco.viewer.Handle) -> None:
    window.user_scn.flags[mujoco.mjtRndFlag.mjRND_WIREFRAME] = 0
    window.user_scn.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 1
    usual = mujoco.MjvOption()
    for name in RESTORED:
        index = getattr(mujoco.mjtVisFlag, f"mjVIS_{name}")
        window.opt.flags[index] = usual.flags[index]


def _texts(
    job: ViewerJob, controls: Controls, frame: Frame
) -> list[tuple[int | None, int | None, str | None, str | None]]:
    """The panel, as MuJoCo's overlays: what is shown above, what the keys do below."""
    lines = [(job.title, f"environment {frame.env} of {job.num_envs}" if job.num_envs > 1 else "")]
    if job.playback.num_frames:
        lines.append(("frame", f"{frame.frame_index} of {job.playback.num_frames}"))
    if job.playback.pausable and (controls.paused or controls.speed < 1.0):
        lines.append(("clock", "paused" if controls.paused else f"{controls.speed:g} of real time"))
    command = controls.command if job.limits is not None else frame.command
    measured = velocity_arrows.heading_velocity(frame.root_quat, frame.root_lin_vel, frame.root_ang_vel)
    if np.isfinite(command).all():
        lines.append(("commanded", velocity_arrows.text(command)))
    lines.append(("measured", velocity_arrows.text(measured)))
    keys = [pair for group in key_help(controls) for pair in group]
    top, bottom = mujoco.mjtGridPos.mjGRID_TOPLEFT, mujoco.mjtGridPos.mjGRID_BOTTOMLEFT
    font = int(mujoco.mjtFontScale.mjFONTSCALE_100)
    texts: list[tuple[int | None, int | None, str | None, str | None]] = []
    for place, rows in ((top, lines), (bottom, keys)):
        if rows:
            labels, values = ("\n".join(column) for column in zip(*rows, strict=True))
            texts.append((font, int(place), labels, values))
    return texts
