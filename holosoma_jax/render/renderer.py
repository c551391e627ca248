"""Drawing of a recorded episode; run as a process of its own by `holosoma_jax.render.video`.

``python -m holosoma_jax.render.renderer JOB.npz OUT.mp4`` picks an OpenGL, draws every frame and encodes
the video; with ``OUT.png`` the frames become one picture. On failure the last line of stderr says
why and the exit code is 1.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from holosoma_jax.files import replacing
from holosoma_jax.render import contact_sheet, gl, velocity_arrows
from holosoma_jax.render.velocity_arrows import COMMAND_RGBA, MEASURED_RGBA
from holosoma_jax.render.video_job import GhostPath, Trajectory, VideoUnavailable, read_job

if TYPE_CHECKING:
    from holosoma_jax.render.visual_model import VisualModel

CAMERA_OFFSET = np.array([2.0, 2.0, 1.0])
"""m from the root to the camera"""
LOOK_OFFSET = np.array([0.0, 0.0, 0.0])
"""m from the root to the point in the middle of the image; higher, and a 1.3 m robot loses its feet"""
SMOOTHING = 0.95
"""share of the old position that the followed point keeps in each frame"""
CODECS = {
    "libx264": ("-crf", "21", "-preset", "medium", "-movflags", "+faststart"),
    "mpeg4": ("-q:v", "4"),  # for builds of ffmpeg without x264
}
"""codec -> its options, in the order of trying"""


def draw_frames(
    visual: VisualModel,
    trajectory: Trajectory,
    width: int,
    height: int,
    control_dt: float,
    smoothing: float = SMOOTHING,
    box: Sequence[float] | None = None,
) -> Iterator[np.ndarray]:
    """Images [height, width, 3] uint8 of each frame of `trajectory`; ends at the first non-finite one.

    Args:
      visual: of the model that `scene.scene_model` builds.
      trajectory: T frames of one environment.
      width: pixels.
      height: pixels.
      control_dt: s between frames, for the clock in the image.
      smoothing: share of the followed point's old position in each frame; 0 follows at once.
      box: [3] m, whole lengths of the box beside the robot; None: none is drawn.
    """
    import mujoco

    from holosoma_jax.render.ghost import Ghost, draw_boxes, look_direction
    from holosoma_jax.render.scene import draw_arrow
    from holosoma_jax.render.visual_model import height_above_root, set_pose

    model = visual.model
    data, ghost = mujoco.MjData(model), Ghost(visual)
    camera = mujoco.MjvCamera()
    followed, top = np.zeros(3), 0.0
    with mujoco.Renderer(model, height, width) as renderer:
        for t in range(len(trajectory.root_pos)):
            position, quat = trajectory.root_pos[t], trajectory.root_quat[t]
            if not (np.isfinite(position).all() and np.isfinite(trajectory.joint_pos[t]).all()):
                return
            set_pose(visual, data, position, quat, trajectory.joint_pos[t])
            if t == 0:
                followed, top = position.astype(np.float64), height_above_root(visual, data)
            followed = smoothing * followed + (1.0 - smoothing) * position
            _aim(camera, followed)
            renderer.update_scene(data, camera)
            if trajectory.ghost is not None:
                pose = (part[t] for part in trajectory.ghost[:3])
                ghost.add_to(renderer.scene, *pose, look=look_direction(camera))
            draw_boxes(renderer.scene, box, _box_at(trajectory, t), _box_at(trajectory.ghost, t))
            command, actual = velocities(trajectory, t)
            for arrow in velocity_arrows.both(position, quat, top, command, actual):
                draw_arrow(renderer.scene.geoms[renderer.scene.ngeom], arrow)
                renderer.scene.ngeom += 1
            yield _write_text(renderer.render(), t * control_dt, command, actual)


def velocities(trajectory: Trajectory, t: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Commanded and actual (v_x, v_y, yaw rate) of frame t in the robot's heading frame, m/s and rad/s."""
    command = None if trajectory.command is None else np.asarray(trajectory.command[t], np.float64)[:3]
    if trajectory.root_lin_vel is None or trajectory.root_ang_vel is None:
        return command, None
    moving = velocity_arrows.heading_velocity(
        trajectory.root_quat[t], trajectory.root_lin_vel[t], trajectory.root_ang_vel[t]
    )
    return command, moving


def encode(path: Path, frames: Iterable[np.ndarray], width: int, height: int, fps: float) -> str:
    """Write `frames` [height, width, 3] uint8 as an mp4; returns the codec, H.264 wherever it works.

    Raises:
      VideoUnavailable: ffmpeg is missing, no codec works, or there are no frames.
    """
    images = iter(frames)
    first = next(images, None)
    if first is None:
        raise VideoUnavailable("the episode has no finite frame to draw")
    causes = []
    for codec in CODECS:
        try:
            _encode(path, [first], width, height, fps, codec)
            break
        except Exception as error:  # OSError, RuntimeError, or what a broken pipe to ffmpeg gives
            causes.append(f"{codec}: {gl.last_line(str(error)) or type(error).__name__}")
    else:
        raise VideoUnavailable(
            f"ffmpeg cannot write a video ({'; '.join(causes)}); pip install -U imageio-ffmpeg"
        )
    _encode(path, itertools.chain([first], images), width, height, fps, codec)
    return codec


def main(argv: Sequence[str]) -> int:
    """Draw the job file ``argv[0]`` into ``argv[1]``: a video, or, as ``.png``, a contact sheet."""
    if hasattr(os, "nice"):
        os.nice(10)  # training goes first
    job, target = read_job(Path(argv[0])), Path(argv[1])
    try:
        os.environ.update(gl.environment(gl.select(job.backend)))  # before MuJoCo is imported
        from holosoma_jax.render.scene import scene_model
        from holosoma_jax.render.visual_model import bind

        path = job.trajectory.root_pos[:, :2]
        model = scene_model(
            job.mjcf,
            job.ground,
            job.width,
            job.height,
            joint_names=job.joint_names,
            path=path[np.isfinite(path).all(1)],
        )
        still = target.suffix == ".png"
        frames = draw_frames(
            bind(model, job.joint_names, job.mjcf, job.own_mjcf),
            job.trajectory,
            job.width,
            job.height,
            1.0 / job.fps,
            smoothing=0.0 if still else SMOOTHING,
            box=job.box,
        )
        with replacing(target) as temporary:
            if still:
                contact_sheet.write(temporary, frames)
            else:
                encode(temporary, frames, job.width, job.height, job.fps)
    except (gl.GlUnavailable, VideoUnavailable, OSError, ValueError, KeyError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _encode(
    path: Path, images: Iterable[np.ndarray], width: int, height: int, fps: float, codec: str
) -> None:
    import imageio_ffmpeg

    writer = imageio_ffmpeg.write_frames(
        path,
        (width, height),
        fps=fps,  # type: ignore[arg-type]  # any number; annotated by its default
        quality=None,  # type: ignore[arg-type]  # said by the codec's own options
        codec=codec,
        pix_fmt_out="yuv420p",
        macro_block_size=2,  # what yuv420p needs; 360 is no multiple of 16
        ffmpeg_log_level="error",
        output_params=list(CODECS[codec]),
    )
    writer.send(None)
    try:
        for image in images:
            writer.send(np.ascontiguousarray(image))
    finally:
        writer.close()
    if not path.exists() or path.stat().st_size == 0:
        raise OSError("ffmpeg wrote nothing")


def _box_at(path: Trajectory | GhostPath | None, t: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Pose of the box in frame `t`."""
    if path is None or path.object_pos is None or path.object_quat is None:
        return None, None
    return path.object_pos[t], path.object_quat[t]


def _aim(camera: Any, followed: np.ndarray) -> None:
    """Put the free camera at the followed point + CAMERA_OFFSET, looking at it + LOOK_OFFSET."""
    ray = LOOK_OFFSET - CAMERA_OFFSET
    camera.lookat[:] = followed + LOOK_OFFSET
    camera.distance = float(np.linalg.norm(ray))
    camera.azimuth = float(np.degrees(np.arctan2(ray[1], ray[0])))
    camera.elevation = float(np.degrees(np.arcsin(ray[2] / np.linalg.norm(ray))))


def _write_text(
    image: np.ndarray, seconds: float, command: np.ndarray | None, actual: np.ndarray | None
) -> np.ndarray:
    """`image` with a clock and the velocities in its lower left corner."""
    from PIL import Image, ImageDraw, ImageFont

    size = max(9, image.shape[0] // 30)
    font = ImageFont.load_default(size)
    lines: list[tuple[str, str, tuple[int, ...]]] = [("time", f"{seconds:.1f} s", (235, 235, 235))]
    for label, value, rgba in (("command", command, COMMAND_RGBA), ("measured", actual, MEASURED_RGBA)):
        if value is not None:
            vx, vy, yaw_rate = np.round(value, 2) + 0.0  # no minus zero
            text = f"{vx:+.2f} {vy:+.2f} m/s   {yaw_rate:+.2f} rad/s"
            lines.append((label, text, tuple(int(255 * v) for v in velocity_arrows.brighter(rgba))))
    picture = Image.fromarray(image).convert("RGBA")
    layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    step, pad = int(size * 1.45), size // 2
    column = pad * 2 + int(max(draw.textlength(label + "  ", font) for label, _, _ in lines))
    right = column + int(max(draw.textlength(text, font) for _, text, _ in lines)) + pad
    top = picture.height - len(lines) * step - 2 * pad
    draw.rounded_rectangle((pad, top, right + pad, picture.height - pad), pad, fill=(15, 20, 28, 150))
    for i, (label, text, colour) in enumerate(lines):
        y = top + pad // 2 + i * step
        draw.text((2 * pad, y), label, (*colour, 255), font)
        draw.text((column + pad, y), text, (240, 240, 240, 255), font)
    return np.asarray(Image.alpha_composite(picture, layer).convert("RGB"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
