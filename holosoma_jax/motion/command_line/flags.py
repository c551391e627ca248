"""The flags of `python -m holosoma_jax.motion`, one record a subcommand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Rate = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class ReadArgs:
    """How files are read; without these, everything is recognised."""

    robot: str | None = None
    """A folder under holosoma_jax/robots, or a path to one; default: the robot with the file's joints, or the G1."""
    joint_order: Literal["robot", "isaac"] | None = None
    """Order of nameless joints: the robot's own, or Isaac Sim's breadth-first one."""
    quaternion: Literal["wxyz", "xyzw"] | None = None
    """Order of the root's quaternion in the file."""
    units: Literal["m rad", "m deg", "cm deg", "cm rad"] | None = None
    """Units of a BONES csv."""
    input_fps: Rate | None = None
    """Frames per second of a file that states none, or states wrong ones."""
    clip: str | None = None
    """Which clip of a file that holds several."""


@dataclass(frozen=True)
class InspectArgs(ReadArgs):
    """Inspect."""

    json: bool = False
    """Print one JSON document."""
    sheet: str | None = None
    """Draw frames of the clip, evenly spaced, into this PNG."""


@dataclass(frozen=True)
class ConvertArgs(ReadArgs):
    """Convert."""

    to: Literal["holosoma", "mjlab"] = "holosoma"
    """Layout of the npz that is written."""
    output: str | None = None
    """An .npz for one clip, or a folder; default: the current folder."""
    fps: Rate | None = 50.0
    """Frames per second of the output; null keeps the file's."""
    range: str | None = None
    """FIRST:LAST frames of the input, LAST not included; either may be left out, and 1.5s is a time."""
    ground: bool = False
    """Move the clip vertically so that its lowest foot point is at 0."""
    mirror: bool = False
    """Exchange left and right."""


@dataclass(frozen=True)
class GenerateArgs:
    """Generate."""

    robot: str = "g1"
    """A folder under holosoma_jax/robots, or a path to one."""
    output: str = "."
    """Folder of the clips."""
    compact: bool = False
    """Leave out the body arrays, which reading computes: a sixth of the size, but for this package only."""
