"""A centre of mass whose zero-moment point follows the feet that bear the weight."""

from __future__ import annotations

import numpy as np

GRAVITY = 9.81
ACCELERATION_WEIGHT = 1e-9
"""(s^3/m)^2 m^2: weight of the squared jerk against that of the squared error of the zero-moment point"""


def center_of_mass(zmp: np.ndarray, height: float, fps: float) -> np.ndarray:
    """The smooth track [T, 2] m of a centre of mass at `height` m that balances over `zmp` [T, 2] m.

    The cart-table model: p = c - h/g c'' (Kajita et al., Biped Walking Pattern Generation by Using
    Preview Control of Zero-Moment Point, 2003, eq. 5), solved for all frames at once by least squares on
    p and on the jerk. The track starts and ends at rest.
    """
    count, dt = len(zmp), 1.0 / fps
    identity = np.eye(count)
    second = (np.roll(identity, -1, 0) - 2.0 * identity + np.roll(identity, 1, 0)) / dt**2
    second[0] = second[-1] = 0.0
    model = identity - height / GRAVITY * second
    jerk = np.diff(second, axis=0)[1:-1] / dt
    hold = np.zeros((4, count))
    hold[[0, 1, 2, 3], [0, 1, -2, -1]] = 1e3
    normal = model.T @ model + ACCELERATION_WEIGHT * jerk.T @ jerk + hold.T @ hold
    ends = np.stack([zmp[0], zmp[0], zmp[-1], zmp[-1]])
    return np.linalg.solve(normal, model.T @ zmp + hold.T @ (1e3 * ends))
