"""One replay at the terminal: from flags to a summary and pictures."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import TerrainConfig, ViewerConfig
from holosoma_jax.config.schema.commands import ReplayArgs
from holosoma_jax.envs import terrain as envs_terrain
from holosoma_jax.render import robot_xml, video
from holosoma_jax.render.recording import Recording
from holosoma_jax.render.video_job import VideoUnavailable
from holosoma_jax.viewer import robot_recording
from holosoma_jax.viewer.controls import Playback
from holosoma_jax.viewer.opening import open_viewer
from holosoma_jax.viewer.pacing import POLL_S, next_frame
from holosoma_jax.viewer.robot_recording import RobotRecording
from holosoma_jax.viewer.viewer import Viewer, ViewerUnavailable


def run(args: ReplayArgs, terrain: TerrainConfig | None = None) -> list[Path]:
    """Print what is in the file, draw it, and return the pictures.

    Args:
      args: the flags.
      terrain: what is drawn below it, unless a flag names another; None: the file's own ground, or a plane.

    Raises:
      ConfigError: no such file, not a trajectory, or nothing can be written beside it.
    """
    if not args.file:
        raise ConfigError(
            "which file? Give a recording or a motion clip: python -m holosoma_jax.replay FILE.npz"
        )
    if args.terrain is not None:
        terrain = envs_terrain.of_mesh(args.terrain)
    replay = robot_recording.load(args.file, args.asset, terrain)
    replay = replay._replace(robot=robot_xml.with_visual_model(replay.robot, args.viewer.robot_xml))
    console = Console(highlight=False)
    table = Table(show_header=False, box=None)
    for name, text in robot_recording.summary(replay):
        table.add_row(name, Text(text))
    console.print(table)
    folder = Path(args.output) if args.output else replay.path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output: cannot make {folder} ({error.strerror or error}).") from None
    if not args.training.headless:
        _watch(replay, args.viewer, console)
    files = []
    try:
        if args.pictures and args.training.headless:
            files.append(_sheet(replay, folder / f"{replay.path.stem}-frames.png"))
        if args.video:
            files.append(_video(replay, folder / f"{replay.path.stem}.mp4"))
    except VideoUnavailable as error:
        console.print(Text(f"no pictures: {error}. Silence this with --pictures False."), soft_wrap=True)
    for path in files:
        console.print(Text(f"written to {path}"), soft_wrap=True)
    return files


def _watch(replay: RobotRecording, cfg: ViewerConfig, console: Console) -> None:
    """Play the trajectory over and over until the user closes the viewer.

    Raises:
      ConfigError: there is no viewer here.
    """

    def print_line(text: str) -> None:
        console.print(Text(text), soft_wrap=True)

    found = replay.recording
    playback = Playback(pausable=True, num_frames=found.num_frames)
    try:
        viewer = open_viewer(
            cfg, replay.robot, replay.ground, 1, replay.path.name, playback=playback, print_line=print_line
        )
    except ViewerUnavailable as error:
        raise ConfigError(f"training.headless: got false, but there is no viewer here ({error}).") from None
    try:
        play(viewer, found)
    finally:
        viewer.close()


def play(viewer: Viewer, found: Recording) -> None:
    """Show `found` in `viewer` as its user wants it, over and over, until the viewer is closed."""
    commands, index = found.arrays.get("command"), 0
    last = time.monotonic()
    while not viewer.closed:
        command = None if commands is None else commands[index : index + 1]
        viewer.show(found.frame(index), command, ghost=found.ghost(index), frame_index=index)
        pause = POLL_S if viewer.paused else found.dt / viewer.speed
        last = max(last + pause, time.monotonic())
        time.sleep(max(0.0, last - time.monotonic()))
        index = next_frame(
            index,
            found.num_frames,
            paused=viewer.paused,
            steps=viewer.take_steps(),
            seek=viewer.take_seek(),
        )


def _sheet(replay: RobotRecording, path: Path) -> Path:
    found = replay.recording
    return video.render_sheet(path, found.trajectory(), replay.robot, replay.ground, found.dt)


def _video(replay: RobotRecording, path: Path) -> Path:
    found = replay.recording
    return video.render_video(path, found.trajectory(), replay.robot, replay.ground, found.dt)
