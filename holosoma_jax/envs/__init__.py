"""Environments: `make` composes a task's pure functions from config, robot, terrain and bridge."""

from __future__ import annotations

from bridges.protocol import BridgeSpec
from holosoma_jax.config import extensions
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.envs.env import Env, EnvSpec
from holosoma_jax.envs.task import Task, guarded_task
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.robots.robot import Robot

__all__ = ["Env", "EnvSpec", "make", "task_of"]


def make(cfg: Config, robot: Robot, terrain: Terrain, bridge: BridgeSpec, *, evaluation: bool = False) -> Env:
    """The environment of a config.

    Args:
      cfg: a validated config.
      robot: the configured robot.
      terrain: the ground it stands on.
      bridge: names, rates and abilities of the simulator that will run it.
      evaluation: commands are kept instead of drawn, no pushes unless their term asks for them, a
        nominal gait clock that starts the same everywhere. Noise and randomisation stay as configured.

    Raises:
      ConfigError: see `task_of`, `bind.bind` and the task's `build`.
    """
    task = task_of(cfg)
    return task.build(cfg, robot, terrain, bridge, evaluation=evaluation)._replace(task=task)


def task_of(cfg: Config) -> Task:
    """The record of the task that `cfg.task` names.

    Raises:
      ConfigError: there is none of that name, or it is not a `Task`.
    """
    task = extensions.resolve(extensions.TASKS, cfg.task, "task")
    if not isinstance(task, Task):
        raise ConfigError(f"task: '{cfg.task}' is a {type(task).__name__}, wanted an envs.task.Task.")
    return guarded_task(task, f"task: '{cfg.task}'")
