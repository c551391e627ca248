"""A tracking run of a few environments on one of our clips, for tests."""

from __future__ import annotations

import functools

from holosoma_jax import experiment
from holosoma_jax.config import compose
from holosoma_jax.config.schema import Config
from holosoma_jax.experiment import Setup

END_EFFECTORS = (
    "left_ankle_roll_link",
    "right_ankle_roll_link",
    "left_wrist_yaw_link",
    "right_wrist_yaw_link",
)
KEY = "--command.setup-terms.motion-command.params.motion-config."


def config(*motion: str, exp: str = "g1-29dof-wbt", num_envs: int = 4, more: tuple[str, ...] = ()) -> Config:
    """The preset with settings of its motion, 'key=value'."""
    flags = [f"{KEY}{setting}" for setting in motion]
    return compose.load([f"exp:{exp}", f"--training.num-envs={num_envs}", *flags, *more])


@functools.cache
def setup(*motion: str, num_envs: int = 4, evaluation: bool = False) -> Setup:
    """The parts of such a run."""
    return experiment.build(config(*motion, num_envs=num_envs), evaluation=evaluation)
