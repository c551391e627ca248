"""One replay at the terminal: from flags to a summary and pictures."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bridges.protocol import Ground
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import ViewerConfig
from holosoma_jax.config.schema.commands import ReplayArgs
from holosoma_jax.render import looks, video
from holosoma_jax.render.video_job import VideoUnavailable
from holosoma_jax.viewer import replaying
from holosoma_jax.viewer.replaying import Replay
from holosoma_jax.viewer.viewer import ViewerUnavailable, open_viewer


def run(args: ReplayArgs) -> list[Path]:
    """Print what is in the file, draw it, and return the pictures.

    Raises:
      ConfigError: no such file, not a trajectory, or nothing can be written beside it.
    """
    if not args.file:
        raise ConfigError(
            "which file? Give a recording or a motion clip: python -m holosoma_jax.replay FILE.npz"
        )
    replay = replaying.load(args.file, args.asset)
    replay = replay._replace(robot=looks.dress(replay.robot, args.viewer.robot_xml))
    console = Console(highlight=False)
    table = Table(show_header=False, box=None)
    for name, text in replaying.summary(replay):
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


def _watch(replay: Replay, cfg: ViewerConfig, console: Console) -> None:
    """Show the trajectory over and over, in real time, until the user closes the viewer.

    Raises:
      ConfigError: there is no viewer here.
    """

    def say(text: str) -> None:
        console.print(Text(text), soft_wrap=True)

    try:
        viewer = open_viewer(cfg, replay.robot, Ground(), 1, replay.path.name, say=say)
    except ViewerUnavailable as error:
        raise ConfigError(f"training.headless: got false, but there is no viewer here ({error}).") from None
    commands = replay.recording.arrays.get("command")
    try:
        while not viewer.closed:
            began = time.monotonic()
            for t, (seconds, sim) in enumerate(replay.frames()):
                if viewer.closed:
                    break
                viewer.show(sim, None if commands is None else commands[t : t + 1])
                time.sleep(max(0.0, began + seconds + replay.recording.dt - time.monotonic()))
    finally:
        viewer.close()


def _sheet(replay: Replay, path: Path) -> Path:
    found = replay.recording
    return video.render_sheet(path, found.trajectory(), replay.robot, Ground(), found.dt)


def _video(replay: Replay, path: Path) -> Path:
    found = replay.recording
    return video.render_video(path, found.trajectory(), replay.robot, Ground(), found.dt)
