"""What one looks at: where the viewer appears, and which model is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from holosoma_jax.config.schema.types import Host, PathText

Port = Annotated[int, Field(ge=0, le=65535)]


@dataclass(frozen=True)
class ViewerConfig:
    """The viewer that `training.headless False` opens, and the looks of the robot."""

    mode: Literal["auto", "web", "window"] = "auto"
    """web: a page for a browser; window: a window of its own, which needs a display; auto: the window on a
    desktop, the page elsewhere."""
    host: Host = "127.0.0.1"
    """Address that the page is served at. Whoever reaches it sees and, in an evaluation, steers the robot."""
    port: Port = 0
    """Of the page; 0 takes the first free one from 8080 on."""
    robot_xml: PathText | None = None
    """MJCF file drawn instead of the robot's own, in videos and pictures too; its joints have the same
    names. `menagerie`: the model of the mujoco-menagerie package."""
