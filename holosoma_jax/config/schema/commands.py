"""The flags of the commands that take no config: `export`, `replay`, `doctor`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from holosoma_jax.config.schema import ViewerConfig
from holosoma_jax.config.schema.types import Label, PathText, PositiveFloat


@dataclass(frozen=True)
class ExportArgs:
    """Export."""

    checkpoint: PathText | None = None
    """A run directory, one of its checkpoints/<step> folders, pretrained:NAME, or wandb://ENTITY/PROJECT/RUN/FILE."""
    output: PathText | None = None
    """The .onnx file to write; default: exported/<step>.onnx in the run's folder."""
    batch: Literal["1", "any"] = "1"
    """Rows of the input: 1 as robots' programs want it, or any number."""
    signature: Literal["holosoma", "mjlab"] = "holosoma"
    """Of a policy that tracks motions: whose names and clip outputs the file has; mjlab's are also BeyondMimic's."""
    allow_code: Label | None = None
    """Packages (a,b) that the checkpoint's config may name functions of, beside holosoma_jax; --import-file FILE.py
    allows a file of yours."""
    include_config: bool = True
    """Put the training config into the file; paths in it are cut to their last part."""


@dataclass(frozen=True)
class ReplayTraining:
    """As in the other commands."""

    headless: bool = True
    """False shows the trajectory in the viewer, over and over, until it is closed."""
    num_envs: Annotated[int, Field(ge=1, le=1)] = 1
    """A replay has one robot."""


@dataclass(frozen=True)
class ReplayArgs:
    """Replay."""

    file: PathText | None = None
    """An .npz: a recording of eval --record, or a motion clip; may be given without the flag."""
    checkpoint: PathText | None = None
    """Instead of a file: a policy, as eval takes it (a run, pretrained:NAME, an .onnx file). One robot on a plane in
    MuJoCo does what it does, and that is shown."""
    velocity: tuple[float, float, float] | None = None
    """With --checkpoint: m/s forward, m/s left, rad/s yaw rate; default: 0.5 m/s forward, where it takes commands."""
    length_s: PositiveFloat = 10.0
    """With --checkpoint: s, at most; one clip of a policy that tracks a motion."""
    asset: PathText | None = None
    """The robot: a folder under holosoma_jax/robots, or a path to one; default: the one with the file's joints."""
    terrain: PathText | None = None
    """The ground that is drawn: an OBJ, STL or PLY file in metres, in the clip's coordinates, or slope, which comes
    with the package; default: that of a preset's config, if it is a mesh, else the file's own, else a plane."""
    pictures: bool = True
    """Draw frames, evenly spaced, as one PNG; not beside the viewer."""
    video: bool = False
    """Draw the whole trajectory as an mp4."""
    output: PathText | None = None
    """Folder of the pictures; default: the file's."""
    training: ReplayTraining = field(default_factory=ReplayTraining)
    viewer: ViewerConfig = field(default_factory=ViewerConfig)


@dataclass(frozen=True)
class DoctorArgs:
    """Doctor."""

    json: bool = False
    """Print everything as one JSON document."""
    smoke: bool = True
    """Train three iterations of 16 robots: some ten seconds where nothing else runs."""
    conformance: Label | None = None
    """Hold a simulator's bridge against closed forms and plain MuJoCo instead: simulator:NAME. With it come options of
    the config as for train, such as --simulator.config.remote.python; exp:NAME chooses the robot (the G1)."""
    report: PathText | None = None
    """With --conformance: a file that gets the results and facts about the machine, as JSON, for an issue."""
