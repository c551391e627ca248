"""The standard commands of a velocity policy: one evaluation of all of them, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from rich.table import Table

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.evaluation.scores import GroupScores, Scores

COMMANDS: Mapping[str, tuple[float, float, float]] = {
    "stand": (0.0, 0.0, 0.0),
    "forward 0.5": (0.5, 0.0, 0.0),
    "forward 1.0": (1.0, 0.0, 0.0),
    "back 0.5": (-0.5, 0.0, 0.0),
    "left 0.5": (0.0, 0.5, 0.0),
    "right 0.5": (0.0, -0.5, 0.0),
    "turn left 0.8": (0.0, 0.0, 0.8),
    "turn right 0.8": (0.0, 0.0, -0.8),
}
"""Name -> m/s forward, m/s left, rad/s yaw rate."""

_COLUMNS = ("lin_vel_x", "lin_vel_y", "yaw_rate")
_OTHERS = {"action_rate": "action\nrad/s", "foot_slip": "slip\nm/s", "power": "power\nW"}


def commands(num_envs: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Every environment's command [E, 3] float32, and name -> [E] bool, the environments that have it.

    Raises:
      ConfigError: there are fewer environments than commands.
    """
    if num_envs < len(COMMANDS):
        raise ConfigError(
            f"--commands sweep: {len(COMMANDS)} commands need at least as many environments; got "
            f"--training.num-envs {num_envs}."
        )
    turn = np.arange(num_envs) % len(COMMANDS)
    table = np.asarray(list(COMMANDS.values()), np.float32)
    return table[turn], {name: turn == i for i, name in enumerate(COMMANDS)}


def table(scores: Scores) -> Table:
    """One row a command: survival, velocity reached, drift off the asked axes, action rate, slip and power.

    Measures that the task does not report are left out.
    """
    others = {name: label for name, label in _OTHERS.items() if name in scores.first}
    heads = ("survival", "vx\nm/s", "vy\nm/s", "wz\nrad/s", "drift\nm/s", "drift\nrad/s", *others.values())
    result = Table(box=None, padding=(0, 1, 0, 0))  # 80 columns hold it
    result.add_column("command", no_wrap=True)
    for head in heads:
        result.add_column(head, justify="right", no_wrap=True)
    for name, group in scores.groups.items():
        reached = [_number(group.first.get(column)) for column in _COLUMNS]
        drift = [_number(linear_drift(group)), _number(group.first.get("drift_yaw"))]
        extra = [_number(group.first[column]) for column in others]
        result.add_row(name, f"{group.survival_rate:.0%}", *reached, *drift, *extra)
    return result


def linear_drift(group: GroupScores) -> float | None:
    """m/s, length of the drift on the linear axes that were not asked; None where both were."""
    parts = [group.first.get(name) for name in ("drift_x", "drift_y")]
    known = [part for part in parts if part is not None]
    return math.hypot(*known) if known else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"
