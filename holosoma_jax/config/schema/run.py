"""The run itself: size, folders, loggers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from holosoma_jax.config.schema.types import (
    FolderName,
    HostAndPort,
    Label,
    NonNegativeInt,
    PathText,
    Pixels,
    PositiveFloat,
    PositiveInt,
    Seed,
)


@dataclass(frozen=True)
class DistributedConfig:
    """Several processes of one run (training.multigpu). SLURM, Open MPI and Kubernetes tell all of this by
    themselves; on one machine nothing of it is needed.
    """

    num_processes: PositiveInt | None = None
    """Of the whole run; default: one per accelerator of this machine."""
    coordinator_address: HostAndPort | None = None
    """host:port of process 0, for processes that you start yourself, on several machines."""
    process_id: NonNegativeInt | None = None
    """Which one of those this is, from 0."""


@dataclass(frozen=True)
class TrainingConfig:
    """What to run, how large, where to leave it."""

    num_envs: PositiveInt = 4096
    """Environments in total, over all devices."""
    seed: Seed = 42
    """Root of every random stream of the run."""
    headless: bool = True
    """False opens the viewer."""
    checkpoint: PathText | None = None
    """Resume from here: a run directory is continued in place, one of its checkpoints/<step> folders starts
    a new run."""
    warm_start: PathText | None = None
    """Begin a new run with what the learner of this run or checkpoint has learned, or with the policy pretrained:NAME;
    environments, simulator and task may be others. Not read where there is a checkpoint to resume from."""
    keep_checkpoints: PositiveInt | None = 10
    """Newest checkpoints to keep; older ones are removed when a new one has been saved. null: all."""
    keep_every: PositiveInt | None = 10
    """Beside the newest, keep every this many-th checkpoint: those at multiples of this times save_interval."""
    export_onnx: bool = True
    """Write policies/<step>.onnx beside every checkpoint."""
    deterministic: bool = False
    """Bitwise reproducible on one device, at some cost in speed (also: torch-deterministic). With simulator:mjwarp on
    a GPU only as far as MuJoCo Warp is; see docs/mjwarp.md."""
    multigpu: bool = False
    """Train on several accelerators, one process each: starts one per accelerator of this machine, or is one
    of those that SLURM, Open MPI or Kubernetes started."""
    devices: PositiveInt = 1
    """Accelerators that each process drives, the environments shared out over them. More than 1 without multigpu: one
    process trains on several accelerators of this machine."""
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    max_eval_steps: PositiveInt | None = None
    """Control steps of an evaluation; default: one episode."""
    project: FolderName = "default_project"
    """Folder of related runs: logs/<project>/."""
    name: FolderName = "run"
    """Name of this run: logs/<project>/<time>-<name>/."""
    output_dir: PathText = "logs"
    """Folder that receives all runs."""
    driver: Literal["auto", "fused", "stepped", "overlapped"] = "auto"
    """fused: a whole iteration in one jitted function, if the simulator can be called in one (mjwarp); stepped:
    Python between control steps, with any simulator; overlapped: as stepped, and each iteration is learned from
    during the next one; auto: fused where possible, else stepped."""
    check_finite: bool = True
    """Isolate and report environments with non-finite values; stop the run if the learner has them."""


@dataclass(frozen=True)
class VideoConfig:
    """Videos of training episodes."""

    enabled: bool = True
    """Record; where no OpenGL works this becomes a warning."""
    interval: PositiveInt = 100
    """Iterations between videos."""
    width: Pixels = 640
    """Pixels."""
    height: Pixels = 360
    """Pixels."""
    length_s: PositiveFloat = 10.0
    """s, at most; an episode that ends earlier ends the video."""
    backend: Literal["auto", "egl", "osmesa", "glfw"] = "auto"
    """OpenGL; auto takes the first that works."""


@dataclass(frozen=True)
class LoggerConfig:
    """Where numbers go. JSON lines and the console are always on, unless disabled."""

    type: Literal["tensorboard", "wandb", "console", "disabled"] = "tensorboard"
    """Sink beside metrics.jsonl; `logger:wandb` and its like choose it."""
    project: Label | None = None
    """wandb project; default: training.project."""
    name: Label | None = None
    """wandb name of the run; default: its folder's, <time>-<training.name>."""
    group: Label | None = None
    """wandb group."""
    tags: tuple[Label, ...] = ()
    """wandb tags."""
    entity: Label | None = None
    """wandb entity (user or team); default: WANDB_ENTITY, else your own."""
    mode: Literal["online", "offline", "disabled"] = "online"
    """wandb mode; offline writes files for a later `wandb sync`. WANDB_MODE takes the place of online."""
    dir: PathText | None = None
    """wandb's folder; default: .wandb/ in the run's."""
    interval: PositiveInt = 1
    """Iterations between log lines."""
    video: VideoConfig = field(default_factory=VideoConfig)
