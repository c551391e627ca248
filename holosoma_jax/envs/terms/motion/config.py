"""Settings of the motion command, under the names that holosoma gives them where it has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.schema.types import (
    Fraction,
    NonNegativeFloat,
    Paths,
    PathText,
)
from holosoma_jax.robots.robot import Robot

_STRICT = ConfigDict(extra="forbid")
Transition = Annotated[float, Field(ge=0, le=600)]
_Amplitudes = tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat]


@dataclass(frozen=True)
class StartNoise:
    """Half-widths of the uniform noise on the state that an episode starts in."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    overall_noise_scale: NonNegativeFloat = 1.0
    """factor on all others"""
    dof_pos: NonNegativeFloat = 0.0
    """rad"""
    root_pos: _Amplitudes = (0.0, 0.0, 0.0)
    """m"""
    root_rot: _Amplitudes = (0.0, 0.0, 0.0)
    """rad: roll, pitch, yaw about the world's axes"""
    root_lin_vel: _Amplitudes = (0.0, 0.0, 0.0)
    """m/s, world frame"""
    root_ang_vel: _Amplitudes = (0.0, 0.0, 0.0)
    """rad/s, world frame"""
    object_pos: _Amplitudes = (0.0, 0.0, 0.0)
    """m, of the object, if there is one"""


@dataclass(frozen=True)
class SamplerConfig:
    """How often episodes start where earlier ones failed."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    bins: Literal["clip", "global"] = "clip"
    """clip: every clip has bins of its own, `uniform_ratio` of the starts are uniform over all frames, and no bin
    gets more than `max_over_mean` times the mean. global: holosoma's, bins over the concatenated clips and a
    uniform floor under the counts that vanishes as failures accumulate"""
    seconds_per_bin: Annotated[float, Field(ge=0.01, le=1e6)] = 1.0
    """s"""
    uniform_ratio: Fraction = 0.1
    """share of the starts (clip), or count shared out over the bins (global)"""
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.001
    """rate of the moving average of failures, per control step"""
    kernel_size: Annotated[int, Field(ge=1, le=1000)] = 1
    """global only: bins before a failure that it counts for"""
    kernel_lambda: Fraction = 0.8
    """global only: weight of each bin relative to the one after it"""
    max_over_mean: Annotated[float, Field(gt=1)] = 200.0
    """clip only: a bin's largest probability, relative to one over the number of bins"""


@dataclass(frozen=True)
class MotionConfig:
    """Which clips are tracked, and how."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    body_names_to_track: tuple[str, ...] | None = None
    """bodies whose poses and velocities are compared; None: `tracked_bodies` of the robot's record"""
    body_name_ref: tuple[str, ...] | None = None
    """the anchor, one of them: targets are aligned with it in position and heading; None: the robot's torso"""
    motion_file: PathText = ""
    """a motion file of any format, or the name of a clip that comes with the package"""
    motion_dir: Paths = ""
    """folders and patterns, separated by commas; given, it is read instead of `motion_file`"""
    clip_weights: dict[str, NonNegativeFloat] = field(default_factory=dict)
    """clip -> how often it is started, relative to the others; 1 where it is not listed"""
    clip_end: Literal["resample", "timeout", "soft"] = "resample"
    """resample: the robot is placed at another frame within its episode, as in holosoma. timeout: the
    episode ends and its last state's value is bootstrapped. soft: the robot is placed as with resample and the
    episode continues, but actions and histories are cleared, and the value of the last state before it is
    bootstrapped, not that of the place it is put"""
    use_adaptive_timesteps_sampler: bool = False
    """start where earlier episodes failed; False: anywhere"""
    sampler: SamplerConfig = SamplerConfig()
    start_at_timestep_zero_prob: Fraction = 0.0
    """probability that an episode starts with its clip"""
    freeze_at_timestep_zero_prob: Fraction = 0.0
    """probability per control step that a clip waits in its first frame"""
    enable_default_pose_prepend: bool = False
    """put a transition from the default pose before each clip"""
    default_pose_prepend_duration_s: Transition = 2.0
    """s; less than two frames are none"""
    enable_default_pose_append: bool = False
    """put a transition to the default pose behind each clip"""
    default_pose_append_duration_s: Transition = 2.0
    """s; less than two frames are none"""
    noise_to_initial_pose: StartNoise = StartNoise()
    body_velocities: Literal["computed", "stored"] = "computed"
    """computed: bodies and velocities by kinematics of our model. stored: the file's own, for comparisons
    with holosoma, whose clips hold velocities of centres of mass in a wrong frame"""
    anchor_after_reset: Literal["anchor", "root"] = "anchor"
    """root: align with the root in the step of a reset, as holosoma does for a simulator without fresh kinematics"""
    evaluation_start: Literal["first", "uniform"] = "first"
    """frame that an evaluation's episodes start at"""

    def bodies_of(self, robot: Robot) -> tuple[tuple[str, ...], str]:
        """The tracked bodies of `robot`, and the anchor among them.

        Raises:
          ConfigError: a body is unknown or listed twice, the anchor is not tracked, or neither these settings nor
            the robot's record say what is tracked.
        """
        where, named = "motion_config.body_names_to_track", self.body_names_to_track
        bodies = robot.tracked_bodies if named is None else named
        anchor = (robot.torso_body,) if self.body_name_ref is None else self.body_name_ref
        if not bodies:
            raise ConfigError(
                f"{where}: the record of robot '{robot.name}' has no tracked_bodies; list them there, or here."
            )
        for body in bodies:
            if body not in robot.body_names:
                raise ConfigError(
                    f"{where}: robot '{robot.name}' has no body '{body}'.{nearest(body, robot.body_names)}"
                )
            if bodies.count(body) > 1:
                raise ConfigError(f"{where}: lists '{body}' twice.")
        if len(anchor) != 1 or anchor[0] not in bodies:
            raise ConfigError(
                f"motion_config.body_name_ref: got [{', '.join(anchor)}], wanted one of the tracked bodies: "
                f"{', '.join(bodies)}."
            )
        return bodies, anchor[0]
