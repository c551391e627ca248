"""The flags that `holosoma_jax.eval` has beside the config's keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from holosoma_jax.config.schema.task import HistoryFill
from holosoma_jax.config.schema.types import PathText, PositiveFloat, PositiveInt

Numbers: TypeAlias = float | tuple[float, ...]
"""One for every joint, or one each."""


@dataclass(frozen=True)
class PolicyArgs:
    """What a policy file of another project does not say; the same keys may stand in POLICY.yaml beside it."""

    joint_names: tuple[str, ...] | None = None
    """Joints in the order of the actions."""
    joint_order: Literal["mjcf", "isaaclab"] | None = None
    """Instead of joint_names: the order of --robot.asset's model file, or breadth first, as in Isaac Lab."""
    kp: Numbers | None = None
    """N m/rad, in the order of the actions."""
    kd: Numbers | None = None
    """N m s/rad."""
    action_scale: Numbers | None = None
    """rad of joint target per unit of action."""
    default_joint_pos: Numbers | None = None
    """rad, the joint targets of a zero action."""
    observation_names: tuple[str, ...] | None = None
    """Terms of the observation in order; names of mjlab, Isaac Lab, unitree or playground, or ours."""
    observation_scales: tuple[float, ...] | None = None
    """What each of observation_names is multiplied by; default: 1."""
    observation_history: PositiveInt | None = None
    """Frames of every term, oldest first; default: 1."""
    observation_history_fill: HistoryFill | None = None
    """What the frames before an episode held: zeros (the default), or its first frame, as in Isaac Lab and mjlab."""
    control_dt: PositiveFloat | None = None
    """s between two actions."""
    action_clip: PositiveFloat | None = None
    """Actions are clipped to +- this."""


@dataclass(frozen=True)
class EvalArgs:
    """Evaluation."""

    checkpoint: PathText | None = None
    """A run directory, one of its checkpoints/<step> folders, pretrained:NAME, an .onnx or TorchScript (.pt, .jit)
    policy file, or wandb://ENTITY/PROJECT/RUN/FILE."""
    policy: PolicyArgs = field(default_factory=PolicyArgs)
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
