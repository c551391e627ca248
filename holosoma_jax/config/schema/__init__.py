"""The configuration of a run, as frozen dataclasses.

The line under a field is its `--help`. Types carry their range; `compose.py` turns every violation
into one line. Nothing here imports JAX, so that `--help` and errors are quick.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from holosoma_jax.config.extensions import TASKS
from holosoma_jax.config.schema.fast_sac import FastSacConfig
from holosoma_jax.config.schema.learner import AlgoConfig, PpoConfig
from holosoma_jax.config.schema.optimizer import OptimizerConfig
from holosoma_jax.config.schema.robot import ControlConfig, InitStateConfig, ObjectConfig, RobotConfig
from holosoma_jax.config.schema.run import DistributedConfig, LoggerConfig, TrainingConfig, VideoConfig
from holosoma_jax.config.schema.simulator import (
    IsaacSimConfig,
    MujocoConfig,
    MujocoWarpConfig,
    PhysxConfig,
    RemoteConfig,
    SimConfig,
    SimulatorConfig,
    SimulatorSettings,
    VirtualGantryConfig,
)
from holosoma_jax.config.schema.task import (
    CommandConfig,
    CurriculumConfig,
    ObservationConfig,
    ObservationGroupConfig,
    ObservationTermConfig,
    RandomizationConfig,
    RewardConfig,
    RewardTermConfig,
    TermConfig,
    TerminationConfig,
    TerminationTermConfig,
)
from holosoma_jax.config.schema.terrain import SpawnConfig, TerrainConfig, TerrainKind, TerrainTermConfig
from holosoma_jax.config.schema.types import OWN, Names
from holosoma_jax.config.schema.viewer import ViewerConfig

__all__ = [
    "AlgoConfig",
    "CommandConfig",
    "Config",
    "ControlConfig",
    "CurriculumConfig",
    "DistributedConfig",
    "FastSacConfig",
    "InitStateConfig",
    "IsaacSimConfig",
    "LoggerConfig",
    "MujocoConfig",
    "MujocoWarpConfig",
    "ObjectConfig",
    "ObservationConfig",
    "ObservationGroupConfig",
    "ObservationTermConfig",
    "OptimizerConfig",
    "PhysxConfig",
    "PpoConfig",
    "RandomizationConfig",
    "RemoteConfig",
    "RewardConfig",
    "RewardTermConfig",
    "RobotConfig",
    "SimConfig",
    "SimulatorConfig",
    "SimulatorSettings",
    "SpawnConfig",
    "TermConfig",
    "TerminationConfig",
    "TerminationTermConfig",
    "TerrainConfig",
    "TerrainKind",
    "TerrainTermConfig",
    "TrainingConfig",
    "VideoConfig",
    "ViewerConfig",
    "VirtualGantryConfig",
]

TaskName = Annotated[
    str,
    Field(
        pattern=f"^({'|'.join(TASKS)}|{OWN})$",
        description=f"one of {', '.join(TASKS)}, or package.module:TASK",
    ),
    Names(tuple(TASKS)),
]


@dataclass(frozen=True)
class Config:
    """A whole run."""

    exp: str = ""
    """Preset this run was composed from; recorded, not set (choose one with exp:NAME or --config)."""
    task: TaskName = "locomotion"
    """What the robot has to do; task:NAME chooses it, too."""
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
    viewer: ViewerConfig = field(default_factory=ViewerConfig)
