"""The configuration of a run, as frozen dataclasses.

The line under a field is its `--help`. Types carry their range; `compose.py` turns every violation
into one line. Nothing here imports JAX, so that `--help` and errors are quick.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Vec3 = tuple[float, float, float]


@dataclass(frozen=True)
class TrainingConfig:
    """What to run, how large, where to leave it."""

    num_envs: PositiveInt = 4096
    """Environments in total, over all devices."""
    seed: NonNegativeInt = 42
    """Root of every random stream of the run."""
    headless: bool = True
    """False opens the viewer."""
    checkpoint: str | None = None
    """Resume from this checkpoint: a run directory, or one of its checkpoints/<step> folders."""
    export_onnx: bool = True
    """Write policies/<step>.onnx beside every checkpoint."""
    deterministic: bool = False
    """Bitwise reproducible on one device, at some cost in speed (also: torch-deterministic)."""
    multigpu: bool = False
    """Start one process per local accelerator."""
    max_eval_steps: PositiveInt | None = None
    """Control steps of an evaluation; default: one episode."""
    project: str = "default_project"
    """Folder of related runs: logs/<project>/."""
    name: str = "run"
    """Name of this run: logs/<project>/<time>-<name>/."""
    output_dir: str = "logs"
    """Folder that receives all runs."""
    check_finite: bool = True
    """Isolate and report environments with non-finite values; stop the run if the learner has them."""


@dataclass(frozen=True)
class SimConfig:
    """Rates of the simulation, the same for every simulator."""

    fps: PositiveInt = 200
    """Hz, physics rate."""
    control_decimation: PositiveInt = 4
    """Physics steps per control step."""
    max_episode_length_s: PositiveFloat = 20.0
    """s after which an episode is cut (counted as a time-out, not as a failure)."""


@dataclass(frozen=True)
class MujocoConfig:
    """Plain MuJoCo on the CPU."""

    num_threads: NonNegativeInt = 0
    """Threads that step the environments; 0 uses all cores."""
    integrator: Literal["euler", "implicitfast"] = "euler"
    """Time integration; the reference uses Euler."""
    iterations: PositiveInt = 100
    """Newton iterations of the constraint solver at most."""
    ls_iterations: PositiveInt = 50
    """Line-search iterations at most."""
    foot_friction: Literal["randomized", "fixed"] = "randomized"
    """Whether friction randomisation reaches explicit foot-floor pairs (reference: fixed at 0.8)."""


@dataclass(frozen=True)
class MujocoWarpConfig:
    """MuJoCo Warp, on CUDA or CPU."""

    nconmax_per_env: PositiveInt = 96
    """Contacts per environment."""
    njmax_per_env: PositiveInt = 300
    """Constraint rows per environment."""


@dataclass(frozen=True)
class SimulatorSettings:
    """Rates, and the settings of each simulator (only the chosen one's are read)."""

    sim: SimConfig = field(default_factory=SimConfig)
    mujoco: MujocoConfig = field(default_factory=MujocoConfig)
    mujoco_warp: MujocoWarpConfig = field(default_factory=MujocoWarpConfig)


@dataclass(frozen=True)
class SimulatorConfig:
    """Which simulator."""

    name: Literal["mujoco", "mjwarp", "isaacgym", "isaacsim"] = "mujoco"
    """Simulator."""
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
class RobotConfig:
    """Which robot, and what to change of its record."""

    asset: str = "g1"
    """Folder under holosoma_jax/robots, or a path to a folder with an MJCF and robot.yaml."""
    init_state: InitStateConfig = field(default_factory=InitStateConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    enable_self_collisions: bool = False
    """Let the robot's own links collide."""


@dataclass(frozen=True)
class SpawnConfig:
    """Where on the terrain environments start."""

    randomize_tiles: bool = True
    """Each environment gets a random tile; False: all on tile (0, 0)."""
    xy_offset_range: NonNegativeFloat = 1.0
    """m, uniform offset from the tile's centre at each reset, in x and in y."""
    query_terrain_height: bool = False
    """Start at the terrain's height under the offset position instead of the tile's."""
    use_grid_sampling: bool = False
    """With query_terrain_height: the highest of a grid of points instead of one."""
    grid_size: PositiveInt = 3
    """Points along each side of that grid."""
    grid_spacing: PositiveFloat = 0.2
    """m between them."""


@dataclass(frozen=True)
class TerrainTermConfig:
    """The ground."""

    mesh_type: Literal["plane", "trimesh"] = "plane"
    """Infinite plane, or a generated height field."""
    horizontal_scale: PositiveFloat = 0.1
    """m between height samples."""
    vertical_scale: PositiveFloat = 0.005
    """m per integer height step."""
    border_size: NonNegativeFloat = 40.0
    """m of flat ground around the tiles."""
    terrain_length: PositiveFloat = 8.0
    """m, tile size along x."""
    terrain_width: PositiveFloat = 8.0
    """m, tile size along y."""
    num_rows: PositiveInt = 10
    """Tiles along x."""
    num_cols: PositiveInt = 20
    """Tiles along y."""
    terrain_config: dict[str, NonNegativeFloat] = field(default_factory=dict)
    """Probability of each kind of tile."""
    max_slope: NonNegativeFloat = 0.3
    """Slope kinds: rise over run at difficulty 1."""
    platform_size: NonNegativeFloat = 2.0
    """m, flat top of slope kinds."""
    amplitude_range: tuple[float, float] = (0.01, 0.05)
    """m, noise of rough slopes."""
    slope_threshold: PositiveFloat = 0.75
    """Steeper neighbours become vertical walls."""
    scale_factor: PositiveFloat = 1.0
    """Shrinks or grows the whole map."""
    spawn: SpawnConfig = field(default_factory=SpawnConfig)


@dataclass(frozen=True)
class TerrainConfig:
    """The ground."""

    terrain_term: TerrainTermConfig = field(default_factory=TerrainTermConfig)


@dataclass(frozen=True)
class ObservationTermConfig:
    """One observation term: (value + U(-noise, noise)) * scale."""

    func: str = ""
    """Name in envs/terms/observations.py, or package.module:function; default: the term's name."""
    scale: float = 1.0
    """Multiplies the term after noise."""
    noise: NonNegativeFloat = 0.0
    """Half-width of the uniform noise, in the term's own unit."""
    params: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the function."""


@dataclass(frozen=True)
class ObservationGroupConfig:
    """One observation vector: its terms, in alphabetical order."""

    enable_noise: bool = True
    """False switches the noise of every term off."""
    history_length: PositiveInt = 1
    """Frames kept per term, oldest first."""
    terms: dict[str, ObservationTermConfig] = field(default_factory=dict)


@dataclass(frozen=True)
class ObservationConfig:
    """What policy and critic see."""

    groups: dict[str, ObservationGroupConfig] = field(default_factory=dict)
    clip_observations: PositiveFloat = 100.0
    """Observations are clipped to +- this."""


@dataclass(frozen=True)
class RewardTermConfig:
    """One reward term: weight * value * control_dt is added each step."""

    weight: float
    """Negative for a penalty; 0 switches the term off."""
    func: str = ""
    """Name in envs/terms/rewards.py, or package.module:function; default: the term's name."""
    params: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the function."""
    tags: tuple[str, ...] = ()
    """Curricula act on the terms that carry their tag."""


@dataclass(frozen=True)
class RewardConfig:
    """The reward: a weighted sum of terms."""

    terms: dict[str, RewardTermConfig] = field(default_factory=dict)
    only_positive_rewards: bool = False
    """Clip the sum at zero."""


@dataclass(frozen=True)
class TerminationTermConfig:
    """One reason for an episode to end."""

    func: str = ""
    """Name in envs/terms/terminations.py, or package.module:function; default: the term's name."""
    is_timeout: bool = False
    """True: a truncation (bootstrapped), not a failure."""
    params: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the function."""


@dataclass(frozen=True)
class TerminationConfig:
    """When episodes end."""

    terms: dict[str, TerminationTermConfig] = field(default_factory=dict)


@dataclass(frozen=True)
class TermConfig:
    """A named function with parameters."""

    func: str = ""
    """Name of the function, or package.module:function; default: the term's name."""
    params: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the function."""


@dataclass(frozen=True)
class CommandConfig:
    """What the robot is asked to do."""

    setup_terms: dict[str, TermConfig] = field(default_factory=dict)


@dataclass(frozen=True)
class RandomizationConfig:
    """What differs between environments and episodes."""

    setup_terms: dict[str, TermConfig] = field(default_factory=dict)
    """Drawn when the environments are created (and, for schedules and gains, at resets)."""
    reset_terms: dict[str, TermConfig] = field(default_factory=dict)
    """Drawn at every reset."""
    ignore_unsupported: bool = False
    """Skip, with a warning, what the simulator cannot randomise, instead of stopping."""


@dataclass(frozen=True)
class CurriculumConfig:
    """What becomes harder as the robot improves."""

    setup_terms: dict[str, TermConfig] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW."""

    weight_decay: NonNegativeFloat = 0.0
    """Decoupled decay of every parameter."""
    b1: Fraction = 0.9
    """Decay of the first moment."""
    b2: Fraction = 0.999
    """Decay of the second moment."""
    eps: PositiveFloat = 1e-8
    """Added to the root of the second moment."""


@dataclass(frozen=True)
class PpoConfig:
    """Proximal policy optimisation (Schulman et al. 2017) with a KL-adaptive learning rate."""

    num_learning_iterations: PositiveInt = 25_000
    """Iterations in total, counted from the first start of the run."""
    num_steps_per_env: PositiveInt = 24
    """Control steps per environment in one iteration."""
    num_learning_epochs: PositiveInt = 8
    """Passes over each iteration's data."""
    num_mini_batches: PositiveInt = 4
    """Mini-batches per pass."""
    clip_param: PositiveFloat = 0.2
    """Clip range of the importance ratio, and of the value update."""
    gamma: Fraction = 0.99
    """Discount per control step."""
    lam: Fraction = 0.95
    """Lambda of the generalised advantage estimate."""
    value_loss_coef: NonNegativeFloat = 1.0
    """Weight of the value loss."""
    clip_value_loss: bool = True
    """Clip the value update to clip_param around the old value."""
    entropy_coef: float = 0.01
    """Weight of the entropy bonus."""
    actor_learning_rate: PositiveFloat = 1e-5
    """Initial rate of the actor; the KL rule moves it."""
    critic_learning_rate: PositiveFloat = 1e-5
    """Initial rate of the critic; the KL rule moves it."""
    min_actor_learning_rate: PositiveFloat | None = None
    """Lower bound; default: min(initial, 1e-5)."""
    max_actor_learning_rate: PositiveFloat | None = None
    """Upper bound; default: max(initial, 1e-2)."""
    min_critic_learning_rate: PositiveFloat | None = None
    """Lower bound; default: min(initial, 1e-5)."""
    max_critic_learning_rate: PositiveFloat | None = None
    """Upper bound; default: max(initial, 1e-2)."""
    schedule: Literal["adaptive", "fixed"] = "adaptive"
    """adaptive: the rates follow the KL divergence; fixed: they stay."""
    desired_kl: PositiveFloat = 0.01
    """Target of the adaptive schedule."""
    max_grad_norm: PositiveFloat = 1.0
    """Global gradient norm, of actor and critic separately."""
    actor_optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    critic_optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    actor_hidden: tuple[PositiveInt, ...] = (512, 256, 128)
    """Hidden widths of the actor."""
    critic_hidden: tuple[PositiveInt, ...] = (512, 256, 128)
    """Hidden widths of the critic."""
    activation: Literal["elu", "relu", "silu", "tanh"] = "elu"
    """Activation of the hidden layers."""
    init_noise_std: PositiveFloat = 0.8
    """Initial standard deviation of the actions."""
    min_noise_std: NonNegativeFloat | None = 1e-3
    """Floor of the standard deviation; null: none (the reference; it can become NaN)."""
    empirical_normalization: bool = False
    """Normalise observations with running statistics."""
    use_symmetry: bool = True
    """Learn from every mini-batch and its left-right mirror image."""
    symmetry_actor_coef: NonNegativeFloat = 1.0
    """Weight of the actor's mirror loss."""
    symmetry_critic_coef: NonNegativeFloat = 0.0
    """Weight of the critic's mirror loss."""
    init_at_random_ep_len: bool = True
    """Start episodes at random clock values, so that time-outs do not coincide."""
    reshuffle_each_epoch: bool = False
    """New mini-batches every epoch; False: one permutation an iteration."""
    save_interval: PositiveInt = 100
    """Iterations between checkpoints."""
    load_optimizer: bool = True
    """Restore the optimiser when resuming."""
    phase_mirror: Literal["swap", "reference"] = "swap"
    """Mirror of the gait phase; reference: negates the left entry only (spec P-1)."""
    variance_merge: Literal["exact", "reference"] = "exact"
    """Merge of running variances; reference: underestimates early (spec P-4)."""
    timeout_bootstrap: Literal["unless_terminated", "reference"] = "unless_terminated"
    """reference: bootstraps a failure that coincides with a time-out (spec P-5)."""
    advantage_std: Literal["biased", "reference"] = "biased"
    """reference: Bessel's correction, eps outside the root (spec P-7)."""


@dataclass(frozen=True)
class AlgoConfig:
    """The learner."""

    name: Literal["ppo"] = "ppo"
    """Learner."""
    config: PpoConfig = field(default_factory=PpoConfig)


@dataclass(frozen=True)
class VideoConfig:
    """Videos of training episodes."""

    enabled: bool = True
    """Record; where no OpenGL works this becomes a warning."""
    interval: PositiveInt = 100
    """Iterations between videos."""
    width: PositiveInt = 640
    """Pixels."""
    height: PositiveInt = 360
    """Pixels."""
    length_s: PositiveFloat = 10.0
    """s, at most; an episode that ends earlier ends the video."""
    backend: Literal["auto", "egl", "osmesa", "glfw"] = "auto"
    """OpenGL; auto takes the first that works."""


@dataclass(frozen=True)
class LoggerConfig:
    """Where numbers go. JSON lines and the console are always on, unless disabled."""

    name: Literal["tensorboard", "wandb", "console", "disabled"] = "tensorboard"
    """Sink beside metrics.jsonl."""
    project: str | None = None
    """wandb project; default: training.project."""
    group: str | None = None
    """wandb group."""
    tags: tuple[str, ...] = ()
    """wandb tags."""
    entity: str | None = None
    """wandb entity; default: WANDB_ENTITY."""
    mode: Literal["online", "offline", "disabled"] = "online"
    """wandb mode."""
    dir: str | None = None
    """wandb folder; default: the run directory."""
    interval: PositiveInt = 1
    """Iterations between log lines."""
    video: VideoConfig = field(default_factory=VideoConfig)


@dataclass(frozen=True)
class Config:
    """A whole run."""

    training: TrainingConfig = field(default_factory=TrainingConfig)
    algo: AlgoConfig = field(default_factory=AlgoConfig)
    robot: RobotConfig = field(default_factory=RobotConfig)
    simulator: SimulatorConfig = field(default_factory=SimulatorConfig)
    terrain: TerrainConfig = field(default_factory=TerrainConfig)
    observation: ObservationConfig = field(default_factory=ObservationConfig)
    command: CommandConfig = field(default_factory=CommandConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    termination: TerminationConfig = field(default_factory=TerminationConfig)
    randomization: RandomizationConfig = field(default_factory=RandomizationConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
