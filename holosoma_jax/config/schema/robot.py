"""Which robot, how it is driven, and the box beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from holosoma_jax.config.schema.types import Length, NonNegativeFloat, PathText, PositiveFloat, Vec3


@dataclass(frozen=True)
class InitStateConfig:
    """Where the robot starts."""

    pos: Vec3 | None = None
    """m, root position above the tile origin; default: the robot record's."""


@dataclass(frozen=True)
class ControlConfig:
    """How actions become joint targets."""

    action_scale: PositiveFloat | None = None
    """rad of joint target per unit of action, every joint; default: the robot record's."""
    action_scales_by_effort_limit_over_p_gain: bool = False
    """Scale joint j by action_scale * torque_limit_j / kp_j instead (whole-body tracking)."""
    action_clip_value: PositiveFloat = 100.0
    """Actions are clipped to +- this before they become targets."""


@dataclass(frozen=True)
class ObjectConfig:
    """A free rigid box beside the robot, such as one to be carried; MuJoCo and MJWarp have it."""

    enabled: bool = False
    """Simulate it."""
    size: tuple[Length, Length, Length] = (0.471, 0.459, 0.408)
    """m, whole lengths along its axes; default: the bounds of holosoma's largebox."""
    mass: PositiveFloat = 0.1
    """kg, to which randomisation adds."""
    inertia: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    """kg m^2 about its axes through its middle; default: a solid box's."""
    friction: NonNegativeFloat = 0.55
    """Sliding friction coefficient of all its contacts."""
    init_pos: Vec3 = (1.0, 0.0, 0.204)
    """m, where it starts relative to the tile's origin, unless the task puts it elsewhere."""


@dataclass(frozen=True)
class RobotConfig:
    """Which robot, and what to change of its record."""

    asset: PathText = "g1"
    """Folder under holosoma_jax/robots, or a path to a folder with an MJCF and robot.yaml."""
    init_state: InitStateConfig = field(default_factory=InitStateConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    enable_self_collisions: bool = False
    """Let the robot's own links collide."""
    object: ObjectConfig = field(default_factory=ObjectConfig)
