"""The flags that `holosoma_jax.eval` has beside the config's keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from holosoma_jax.config.schema.types import PathText


@dataclass(frozen=True)
class EvalArgs:
    """Evaluation."""

    checkpoint: PathText | None = None
    """A run directory, one of its checkpoints/<step> folders, an .onnx policy file, or
    wandb://ENTITY/PROJECT/RUN/FILE."""
    velocity: tuple[float, float, float] | None = None
    """Command of every environment: m/s forward, m/s left, rad/s yaw rate; default: drawn as in
    training, one for each environment."""
    commands: Literal["drawn", "sweep"] = "drawn"
    """Where --velocity says nothing: drawn as in training; or the eight standard commands, each for an eighth of
    the environments, and a table of them."""
    mode: Literal["clean", "train_like", "stress"] = "clean"
    """Disturbances: none; noise, pushes, delay and randomisation as trained; or half as strong again."""
    noise: bool | None = None
    """Observation noise; default: as the mode says."""
    pushes: bool | None = None
    """Pushes; default: as the mode says."""
    delay: bool | None = None
    """Action delay; default: as the mode says."""
    dynamics: bool | None = None
    """Randomised masses, friction, gains, ...; default: as the mode says."""
    video: bool = False
    """Film the first environment, for logger.video.length_s at most."""
    pictures: bool = True
    """Draw velocities, commanded and measured, and frames of the first environment."""
    record: PathText | None = None
    """Write the first environment's trajectory to this .npz file; replay shows it."""
    output: PathText | None = None
    """Folder of the results; default: eval/ beside the policy."""
