"""What stays the same over a run: the robot, its ground, the rates. Terms are made for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.robots.robot import Robot


@dataclass(frozen=True, eq=False)
class Scene:
    """Static facts of the environments; every value is a Python or NumPy value, none is traced."""

    robot: Robot
    terrain: Terrain
    num_envs: int
    control_dt: float
    """s"""
    decimation: int
    """physics steps of a control step"""
    max_episode_steps: int
    """control steps"""
    evaluation: bool = False
    """a policy is scored: commands are given by the evaluation instead of drawn, pushes are off unless asked for"""
    assets: Mapping[str, Any] = field(default_factory=dict)
    """what a task brings for its terms beside these, such as a motion clip"""
