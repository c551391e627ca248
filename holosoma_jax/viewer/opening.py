"""Which kind of viewer works here: the first that can be opened."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from bridges.protocol import Ground
from holosoma_jax.config.schema import ViewerConfig
from holosoma_jax.viewer.controls import WATCH_ONLY, Command, CommandLimits, Playback
from holosoma_jax.viewer.messages import ViewerJob
from holosoma_jax.viewer.viewer import Viewer, ViewerUnavailable

if TYPE_CHECKING:
    from holosoma_jax.robots.robot import Robot

_WINDOW_NEEDS = "it needs a display with OpenGL, the page does not: --viewer.mode web"


def open_viewer(
    cfg: ViewerConfig,
    robot: Robot,
    ground: Ground,
    num_envs: int,
    title: str,
    *,
    limits: CommandLimits | None = None,
    command: Command = (0.0, 0.0, 0.0),
    playback: Playback = WATCH_ONLY,
    stays: bool = False,
    print_line: Callable[[str], None] = print,
) -> Viewer:
    """Open the first kind of viewer that works here.

    Args:
      cfg: where.
      robot: whose model is drawn.
      ground: what it stands on.
      num_envs: environments to choose from.
      title: of the panel.
      limits: of the velocity commands that the user may give; None: the user gives none.
      command: the first one.
      playback: what the user may do with the clock: nothing, unless told.
      stays: the page may be closed and opened again; otherwise closing it closes the viewer.
      print_line: gets one line that says where to look.

    Raises:
      ViewerUnavailable: none works; the message says why and what to do.
    """
    causes = []
    for kind in kinds(cfg):
        job = ViewerJob(
            mjcf=robot.visual_mjcf or robot.mjcf,
            own_mjcf=robot.mjcf if robot.visual_mjcf else None,
            joint_names=robot.joint_names,
            ground=ground,
            num_envs=num_envs,
            title=title,
            kind=kind,
            host=cfg.host,
            port=cfg.port,
            limits=limits,
            command=command,
            playback=playback,
            stays=stays,
            box=robot.object.size if robot.object is not None else None,
        )
        try:
            viewer = Viewer(job)
        except (ViewerUnavailable, OSError) as error:
            fixed = kind == "web" or "--viewer.mode web" in str(error)
            causes.append(f"{kind}: {error}" + ("" if fixed else f"; {_WINDOW_NEEDS}"))
            continue
        print_line(f"Viewer: {viewer.url}" if viewer.url else "Viewer: a window of its own.")
        return viewer
    raise ViewerUnavailable("; ".join(causes))


def kinds(cfg: ViewerConfig) -> list[Literal["web", "window"]]:
    """The kinds of viewer to try, in this order."""
    if cfg.mode != "auto":
        return [cfg.mode]
    # On macOS the page works without further ado; there the window is for who asks for it.
    desktop = {
        "Linux": bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")),
        "Windows": True,
    }
    return ["window", "web"] if desktop.get(platform.system(), False) else ["web"]
