"""Velocities of a robot as arrows over it: what it is commanded in blue, what it does in green.

Base frame as everywhere: x forward, y left, yaw positive to the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Rgba = tuple[float, float, float, float]

COMMAND_RGBA: Rgba = (0.16, 0.44, 0.95, 1.0)
MEASURED_RGBA: Rgba = (0.16, 0.72, 0.33, 1.0)
COMMAND_ABOVE, MEASURED_ABOVE = 0.25, 0.18
"""m over the robot at which the arrows are drawn"""
ARROW_SCALE = 0.5
"""m of arrow per m/s or rad/s"""
SHORTEST = 0.03
"""m/s or rad/s below which no arrow is drawn"""
ARM = 0.35
"""m ahead of the robot's axis where the arrow of a yaw rate starts"""


class Arrow(NamedTuple):
    """One arrow in the world, m."""

    start: np.ndarray
    """[3]"""
    end: np.ndarray
    """[3]"""
    rgba: Rgba


def both(
    root_pos: np.ndarray,
    root_quat: np.ndarray,
    top: float,
    command: np.ndarray | None,
    measured: np.ndarray | None,
) -> list[Arrow]:
    """The arrows of a robot's command and of its velocity; None or not finite: not drawn.

    Args:
      root_pos: [3] m.
      root_quat: [4] w x y z.
      top: m from the root to the highest point of the robot.
      command: [3] forward, left m/s, yaw rate rad/s in the heading frame.
      measured: likewise.
    """
    drawn = []
    for velocity, rgba, above in (
        (measured, MEASURED_RGBA, MEASURED_ABOVE),
        (command, COMMAND_RGBA, COMMAND_ABOVE),
    ):
        if velocity is not None and np.isfinite(velocity).all():
            drawn += arrows(root_pos + np.array([0.0, 0.0, top + above]), root_quat, velocity, rgba)
    return drawn


def arrows(start: np.ndarray, root_quat: np.ndarray, velocity: np.ndarray, rgba: Rgba) -> list[Arrow]:
    """Arrows of one velocity: one along it, and one across the robot's nose for its yaw rate.

    Args:
      start: [3] m, a point over the robot.
      root_quat: [4] w x y z, the robot's.
      velocity: [3] forward, left m/s, yaw rate rad/s in the heading frame.
      rgba: colour.

    Returns:
      None to two arrows: what is slower than `SHORTEST` is left out.
    """
    cos, sin = heading(root_quat)
    forward, left = np.array([cos, sin, 0.0]), np.array([-sin, cos, 0.0])
    drawn = []
    along = velocity[0] * forward + velocity[1] * left
    if np.linalg.norm(along) >= SHORTEST:
        drawn.append(Arrow(start, start + ARROW_SCALE * along, rgba))
    if abs(velocity[2]) >= SHORTEST:
        nose = start + ARM * forward
        drawn.append(Arrow(nose, nose + ARROW_SCALE * velocity[2] * left, rgba))
    return drawn


def heading_velocity(root_quat: np.ndarray, lin_vel: np.ndarray, ang_vel: np.ndarray) -> np.ndarray:
    """[3] forward, left m/s and yaw rate rad/s in the heading frame, from world velocities [3]."""
    cos, sin = heading(root_quat)
    x, y = lin_vel[:2]
    return np.array([cos * x + sin * y, cos * y - sin * x, ang_vel[2]], np.float64)


def heading(quat: np.ndarray) -> tuple[float, float]:
    """Cosine and sine of the yaw of a w x y z quaternion."""
    w, x, y, z = (float(v) for v in quat)
    yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return float(np.cos(yaw)), float(np.sin(yaw))


def text(velocity: np.ndarray | Sequence[float]) -> str:
    """A velocity as people read it, without minus zeros."""
    x, y, yaw = (float(v) + 0.0 for v in np.round(np.asarray(velocity, np.float64), 2))
    return f"{x:+.2f} {y:+.2f} m/s  {yaw:+.2f} rad/s"


def brighter(rgba: Rgba) -> tuple[float, float, float]:
    """The colour of an arrow, as text in it is written on a dark ground."""
    r, g, b = (min(1.0, 1.2 * v + 0.15) for v in rgba[:3])
    return r, g, b
