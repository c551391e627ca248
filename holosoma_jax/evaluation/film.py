"""The video at the end of a training: one robot, alone, told to walk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp

from bridges.protocol import Array, Pose, SimState
from holosoma_jax import experiment
from holosoma_jax.config.schema import Config
from holosoma_jax.evaluation import evaluate
from holosoma_jax.policy.policies import Policy

COMMAND = (0.5, 0.0, 0.0)
"""m/s forward, m/s left, rad/s"""


def walk(
    cfg: Config, act: Callable[[Array], Array], show: Callable[[SimState, Array | None, Pose | None], None]
) -> None:
    """Let a policy act in one environment, for the length of a video; told `COMMAND` if the task takes commands.

    Args:
      cfg: of the training.
      act: raw observations [1, obs_dim] -> actions [1, A].
      show: gets state, command and ghost of each control step; they are borrowed.
    """
    parts = experiment.build(replace(cfg, training=replace(cfg.training, num_envs=1)), evaluation=True)
    try:
        spec = parts.env.spec
        command = None if parts.env.task.steering is None else jnp.array([COMMAND])
        steps = min(round(cfg.logger.video.length_s / spec.control_dt), spec.max_episode_steps - 1)
        key = jax.random.key(0)
        evaluate.run(
            parts,
            Policy("final", act),
            command,
            steps,
            key,
            lambda info: show(info.sim, info.command, info.ghost),
        )
    finally:
        parts.bridge.close()
