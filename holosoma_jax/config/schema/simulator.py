"""Which simulator: its rates, engine and process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from holosoma_jax.config.schema.types import (
    OWN,
    Length,
    LengthOrZero,
    Names,
    NonNegativeFloat,
    NonNegativeInt,
    PathText,
    PositiveFloat,
    PositiveInt,
    Vec3,
)

SIMULATORS = ("mujoco", "mjwarp", "isaacgym", "isaacsim")
SimulatorName = Annotated[
    str,
    Field(
        pattern=f"^({'|'.join(SIMULATORS)}|{OWN})$",
        description=f"one of {', '.join(SIMULATORS)}, or package.module:make",
    ),
    Names(SIMULATORS),
]


@dataclass(frozen=True)
class PhysxConfig:
    """PhysX, the engine of IsaacGym and of Isaac Sim; the values are holosoma's."""

    device: Annotated[str, Field(pattern=r"^(cpu|cuda:\d{1,2})$", description="cpu, or cuda:N")] = "cuda:0"
    """cuda:N of the visible GPUs, or cpu."""
    solver_type: Annotated[int, Field(ge=0, le=1)] = 1
    """0: projected Gauss-Seidel, 1: temporal Gauss-Seidel."""
    num_position_iterations: PositiveInt = 8
    """Solver iterations for positions."""
    num_velocity_iterations: NonNegativeInt = 4
    """Solver iterations for velocities."""
    bounce_threshold_velocity: NonNegativeFloat = 0.5
    """m/s of approach below which nothing bounces."""
    num_threads: NonNegativeInt = 10
    """Threads of the CPU solver; Isaac Sim chooses its own."""
    max_gpu_contact_pairs: PositiveInt = 16777216
    """Contact pairs of all environments that the GPU has room for."""


@dataclass(frozen=True)
class SimConfig:
    """Rates of the simulation, the same for every simulator."""

    fps: Annotated[int, Field(ge=10, le=100_000)] = 200
    """Hz, physics rate."""
    control_decimation: PositiveInt = 4
    """Physics steps per control step."""
    max_episode_length_s: PositiveFloat = 20.0
    """s after which an episode is cut (counted as a time-out, not as a failure)."""
    physx: PhysxConfig = field(default_factory=PhysxConfig)


@dataclass(frozen=True)
class MujocoConfig:
    """Plain MuJoCo on the CPU."""

    num_threads: Annotated[int, Field(ge=0, le=4096)] = 0
    """Threads that step the environments; 0 uses all cores."""
    integrator: Literal["euler", "implicitfast"] = "euler"
    """Time integration; holosoma uses Euler."""
    iterations: PositiveInt = 100
    """Newton iterations of the constraint solver at most."""
    ls_iterations: PositiveInt = 50
    """Line-search iterations at most."""
    foot_friction: Literal["randomized", "fixed"] = "randomized"
    """Whether friction randomisation reaches explicit foot-floor pairs (holosoma: fixed at 0.8)."""


@dataclass(frozen=True)
class MujocoWarpConfig:
    """MuJoCo Warp, on CUDA or CPU."""

    nconmax_per_env: PositiveInt = 96
    """Contacts per environment, on average: the room for them is shared by all environments."""
    njmax_per_env: PositiveInt = 300
    """Constraint rows per environment: four per contact, and one per joint at its limit."""
    max_contacts_per_body: PositiveInt = 64
    """Contacts of one body that its contact force is summed over."""
    integrator: Literal["euler", "implicitfast"] = "euler"
    """Time integration; holosoma uses Euler."""
    iterations: PositiveInt = 100
    """Newton iterations of the constraint solver at most."""
    ls_iterations: PositiveInt = 50
    """Line-search iterations at most."""
    foot_friction: Literal["randomized", "fixed"] = "randomized"
    """Whether friction randomisation reaches the feet (holosoma: fixed at 0.8)."""
    cuda_graph: Literal["auto", "staged", "staged_ex", "addresses", "off"] = "auto"
    """How a control step becomes a CUDA graph: recorded once on buffers of its own (staged, auto; staged_ex
    copies into them outside of the graph), once for every set of addresses, or not at all."""
    deterministic: bool = False
    """Keep sums in a fixed order on a GPU too, at some cost in speed. MuJoCo Warp cannot do that for contacts yet, so
    equal runs still differ in rounding there; training.deterministic includes it."""


@dataclass(frozen=True)
class IsaacSimConfig:
    """Isaac Lab, with Isaac Sim or without; PhysX' own are those under sim.physx, but for device and num_threads."""

    physics: Literal["newton", "physx"] = "newton"
    """Engine: newton (MuJoCo Warp; needs no Isaac Sim), or physx, in Isaac Sim."""
    device: Annotated[
        str, Field(pattern=r"^(auto|cpu|cuda:\d{1,2})$", description="auto, cpu, or cuda:N")
    ] = "auto"
    """cuda:N of the visible GPUs, cpu, or auto: the first GPU if there is one."""
    nconmax_per_env: PositiveInt = 96
    """Newton: contacts per environment."""
    njmax_per_env: PositiveInt = 300
    """Newton: constraint rows per environment."""
    iterations: PositiveInt = 100
    """Newton: iterations of the constraint solver at most."""
    ls_iterations: PositiveInt = 50
    """Newton: line-search iterations at most."""


@dataclass(frozen=True)
class RemoteConfig:
    """A simulator in a process and a Python interpreter of its own."""

    python: PathText = ""
    """Path of that interpreter; empty: MuJoCo and MJWarp run in this process, IsaacGym takes
    $ISAACGYM_PYTHON, Isaac Sim $ISAACSIM_PYTHON or what `./just isaaclab` has made."""
    timeout_s: PositiveFloat = 120.0
    """s after which a simulator that does not answer a call is stopped."""
    start_timeout_s: PositiveFloat = 600.0
    """s that it has to start."""


@dataclass(frozen=True)
class VirtualGantryConfig:
    """A rope that holds the robot from above at the start of every episode; MuJoCo and MJWarp have it."""

    enabled: bool = False
    """Hold the robot."""
    attachment_body_names: tuple[str, ...] = (
        *("Trunk", "torso_link", "torso", "base_link", "pelvis", "pelvis_link", "base"),
    )
    """The link that is held: the first of these that the robot has."""
    stiffness: NonNegativeFloat = 200.0
    """N/m of the rope."""
    damping: NonNegativeFloat = 100.0
    """N s/m of the rope."""
    height: Length = 3.0
    """m from the ground to the point that the rope hangs from, for a root that starts at robot.init_pos over it."""
    point: Vec3 | None = None
    """m, that point itself in the world, the same for every environment; default: above the robot's start."""
    length: LengthOrZero = 0.0
    """m of the rope at rest."""
    hold_s: NonNegativeFloat | None = 2.0
    """s after the start until the rope is paid out; null: until the viewer's user lets go."""
    release_s: NonNegativeFloat = 2.0
    """s that paying it out takes; then it lets go."""


@dataclass(frozen=True)
class SimulatorSettings:
    """Rates, and the settings of each simulator (only the chosen one's are read)."""

    sim: SimConfig = field(default_factory=SimConfig)
    virtual_gantry: VirtualGantryConfig = field(default_factory=VirtualGantryConfig)
    mujoco: MujocoConfig = field(default_factory=MujocoConfig)
    mujoco_warp: MujocoWarpConfig = field(default_factory=MujocoWarpConfig)
    isaacsim: IsaacSimConfig = field(default_factory=IsaacSimConfig)
    remote: RemoteConfig = field(default_factory=RemoteConfig)


@dataclass(frozen=True)
class SimulatorConfig:
    """Which simulator."""

    name: SimulatorName = "mujoco"
    """Simulator, or package.module:make of your own (docs/extending.md)."""
    config: SimulatorSettings = field(default_factory=SimulatorSettings)
