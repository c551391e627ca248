"""Keys to velocity commands, and velocities to arrows: the viewer's arithmetic, without a viewer.

Base frame as everywhere: x forward, y left, yaw positive to the left. So A moves left and Q turns left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

Command = tuple[float, float, float]
"""m/s forward, m/s left, rad/s yaw rate"""

STEP = 0.1
"""m/s or rad/s that one key press adds"""
KEYS: Mapping[str, tuple[int, int]] = {
    "W": (0, +1),
    "S": (0, -1),
    "A": (1, +1),
    "D": (1, -1),
    "Q": (2, +1),
    "E": (2, -1),
}
"""Key -> component of the command, and the sign of its step."""
STOP_KEY = "Z"
HELP = "W/S forward, back   A/D left, right   Q/E turn left, right   Z stop"

COMMAND_RGBA, MEASURED_RGBA = (0.16, 0.44, 0.95, 1.0), (0.16, 0.72, 0.33, 1.0)
ARROW_SCALE = 0.5
"""m of arrow per m/s or rad/s"""
SHORTEST = 0.03
"""m/s or rad/s below which no arrow is drawn"""
ARM = 0.35
"""m ahead of the robot's axis where the arrow of a yaw rate starts"""


class Limits(NamedTuple):
    """The range that commands are clamped to: what the policy was trained for."""

    low: Command
    high: Command


class Arrow(NamedTuple):
    """One arrow in the world, m."""

    start: np.ndarray
    """[3]"""
    end: np.ndarray
    """[3]"""
    rgba: tuple[float, float, float, float]


def press(command: Command, key: str, limits: Limits) -> Command:
    """The command after `key`; unchanged for a key that means nothing.

    Steps lie on the grid of `STEP`, so pressing W and then S gives back the command exactly.
    """
    if key == STOP_KEY:
        return (0.0, 0.0, 0.0)
    if key not in KEYS:
        return command
    component, sign = KEYS[key]
    value = round(command[component] + sign * STEP, 6)
    changed = list(command)
    changed[component] = min(max(value, limits.low[component]), limits.high[component]) + 0.0
    return changed[0], changed[1], changed[2]


def clamp(command: Sequence[float], limits: Limits) -> Command:
    """`command` inside `limits`."""
    x, y, yaw = (float(v) for v in np.clip(np.asarray(command, np.float64), limits.low, limits.high))
    return x, y, yaw


def measured(root_quat: np.ndarray, lin_vel: np.ndarray, ang_vel: np.ndarray) -> np.ndarray:
    """[3] forward, left m/s and yaw rate rad/s in the heading frame, from world velocities [3]."""
    cos, sin = heading(root_quat)
    x, y = lin_vel[:2]
    return np.array([cos * x + sin * y, cos * y - sin * x, ang_vel[2]], np.float64)


def heading(quat: np.ndarray) -> tuple[float, float]:
    """Cosine and sine of the yaw of a w x y z quaternion."""
    w, x, y, z = (float(v) for v in quat)
    yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return float(np.cos(yaw)), float(np.sin(yaw))


def arrows(
    above: np.ndarray, quat: np.ndarray, velocity: np.ndarray, rgba: tuple[float, float, float, float]
) -> list[Arrow]:
    """Arrows of a velocity: one along it, and one across the robot's nose for its yaw rate.

    Args:
      above: [3] m, the point over the robot that they belong to.
      quat: [4] w x y z, the robot's.
      velocity: [3] forward, left m/s, yaw rate rad/s in the heading frame.
      rgba: colour.

    Returns:
      None to two arrows: what is slower than `SHORTEST` is left out.
    """
    cos, sin = heading(quat)
    forward, left = np.array([cos, sin, 0.0]), np.array([-sin, cos, 0.0])
    drawn = []
    along = velocity[0] * forward + velocity[1] * left
    if np.linalg.norm(along) >= SHORTEST:
        drawn.append(Arrow(above, above + ARROW_SCALE * along, rgba))
    if abs(velocity[2]) >= SHORTEST:
        nose = above + ARM * forward
        drawn.append(Arrow(nose, nose + ARROW_SCALE * velocity[2] * left, rgba))
    return drawn


def text(velocity: np.ndarray | Command) -> str:
    """A velocity as people read it, without minus zeros."""
    x, y, yaw = (float(v) + 0.0 for v in np.round(np.asarray(velocity, np.float64), 2))
    return f"{x:+.2f} {y:+.2f} m/s  {yaw:+.2f} rad/s"
