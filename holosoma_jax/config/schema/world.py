"""Where the robot is: simulator, robot, ground."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from holosoma_jax.config.schema.types import (
    OWN,
    Names,
    NonNegativeFloat,
    NonNegativeInt,
    PathText,
    PositiveFloat,
    PositiveInt,
    Vec3,
)

Length = Annotated[float, Field(gt=0, le=10_000)]
"""m; single precision loses millimetres beyond."""
LengthOrZero = Annotated[float, Field(ge=0, le=10_000)]
TerrainKind = Literal[
    "flat", "rough", "low_obstacles", "smooth_slope", "rough_slope", "stairs_up", "stairs_down"
]
"""Kinds of tile that `envs.terrain` can make."""


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


@dataclass(frozen=True)
class SpawnConfig:
    """Where on the terrain environments start."""

    randomize_tiles: bool = True
    """Each environment gets a random tile; False: all on tile (0, 0)."""
    at_world_origin: bool = False
    """load_obj: the only place to start is the mesh's own origin: a motion clip and its ground share coordinates."""
    xy_offset_range: LengthOrZero = 1.0
    """m, uniform offset from the tile's centre at each reset, in x and in y."""
    query_terrain_height: bool = False
    """Start at the terrain's height under the offset position instead of the tile's."""
    use_grid_sampling: bool = False
    """With query_terrain_height: the highest of a grid of points instead of one."""
    grid_size: Annotated[int, Field(ge=1, le=100)] = 3
    """Points along each side of that grid."""
    grid_spacing: Length = 0.2
    """m between them."""


@dataclass(frozen=True)
class TerrainTermConfig:
    """The ground."""

    mesh_type: Literal["plane", "trimesh", "load_obj"] = "plane"
    """Infinite plane, a height field of generated tiles, or one made from a mesh file."""
    obj_file_path: PathText = ""
    """load_obj: the mesh, an OBJ, STL or PLY file in metres, or slope, which comes with the package; its coordinates
    are the world's."""
    up_axis: Literal["y", "z"] | None = None
    """load_obj: the file's axis that points up; default: z, and a file that looks otherwise is refused."""
    horizontal_scale: Length = 0.1
    """m between height samples."""
    vertical_scale: Length = 0.005
    """m per integer height step."""
    border_size: LengthOrZero = 40.0
    """m of flat ground around the tiles, or of ground at its edge's height around a mesh."""
    terrain_length: Length = 8.0
    """m, tile size along x."""
    terrain_width: Length = 8.0
    """m, tile size along y."""
    num_rows: PositiveInt = 10
    """Tiles along x; load_obj: places to start along x, spread over the mesh."""
    num_cols: PositiveInt = 20
    """Tiles along y; load_obj: places to start along y."""
    terrain_config: dict[TerrainKind, NonNegativeFloat] = field(default_factory=dict)
    """Probability of each kind of tile."""
    max_slope: Annotated[float, Field(ge=0, le=10)] = 0.3
    """Slope kinds: rise over run at difficulty 1."""
    platform_size: LengthOrZero = 2.0
    """m, flat top of slope kinds and stairs."""
    amplitude_range: tuple[LengthOrZero, LengthOrZero] = (0.01, 0.05)
    """m, noise of rough slopes."""
    stair_height_range: tuple[Length, Length] = (0.05, 0.2)
    """m, one step of the stairs: the first in the first row, growing towards the second in later rows."""
    stair_width: Length = 0.3
    """m from one step of the stairs to the next, in whole height samples."""
    slope_threshold: PositiveFloat = 0.75
    """Read for the sake of holosoma's configs; a height grid has no vertical walls (docs/terrain.md)."""
    scale_factor: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Shrinks or grows the whole map; load_obj: multiplies the mesh's coordinates."""
    spawn: SpawnConfig = field(default_factory=SpawnConfig)


@dataclass(frozen=True)
class TerrainConfig:
    """The ground."""

    terrain_term: TerrainTermConfig = field(default_factory=TerrainTermConfig)
