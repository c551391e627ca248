"""What every environment of an evaluation is told."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax.config.schema.evaluation import EvalArgs
from holosoma_jax.evaluation import evaluate, sweep
from holosoma_jax.experiment import Setup
from holosoma_jax.rollout import seeding


def choose(parts: Setup, args: EvalArgs) -> tuple[jax.Array | None, dict[str, np.ndarray]]:
    """Commands [E, 3] (None for a task without commands), and the environments of each command of a sweep.

    Raises:
      ConfigError: the task takes no commands although some are asked for; too few environments for a sweep.
    """
    num_envs = parts.env.spec.num_envs
    if args.velocity is not None:
        evaluate.steering(parts)
        return jnp.tile(jnp.asarray(args.velocity, jnp.float32)[None], (num_envs, 1)), {}
    if args.commands == "sweep":
        evaluate.steering(parts, flag="--commands sweep")
        command, groups = sweep.commands(num_envs)
        return jnp.asarray(command), groups
    if parts.env.task.steering is None:
        return None, _cases(parts)
    key = seeding.stream(jax.random.key(parts.cfg.training.seed), "command")
    return parts.env.task.steering.sample(parts.env, key), {}


def _cases(parts: Setup) -> dict[str, np.ndarray]:
    """The environments of each of the task's cases, if it has several and each gets one."""
    names, num_envs = parts.env.task.cases(parts.env), parts.env.spec.num_envs
    if not 1 < len(names) <= num_envs:
        return {}
    return {name: np.arange(num_envs) % len(names) == i for i, name in enumerate(names)}


def notes(parts: Setup, args: EvalArgs) -> list[str]:
    """A line for every axis of --velocity that is outside of what training drew."""
    if args.velocity is None:
        return []
    limits = evaluate.steering(parts).limits(parts.env)
    return [
        f"note: --velocity: {axis} {value:g} is outside {low:g} to {high:g}, which the policy was trained for."
        for value, (axis, (low, high)) in zip(args.velocity, limits.items(), strict=True)
        if not low <= value <= high
    ]
