"""Quaternions w x y z as NumPy arrays [..., 4], float64, vectorised over leading axes."""

from __future__ import annotations

import numpy as np


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def conjugate(q: np.ndarray) -> np.ndarray:
    """Inverse of a unit quaternion."""
    return q * np.array([1.0, -1.0, -1.0, -1.0])


def rotate(q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Vectors v [..., 3] turned by the unit quaternions q [..., 4]."""
    w, axis = q[..., :1], q[..., 1:]
    twice = 2.0 * np.cross(axis, v)
    return v + w * twice + np.cross(axis, twice)


def from_rotvec(rotvec: np.ndarray) -> np.ndarray:
    """Rotation vectors [..., 3] in rad to quaternions."""
    angle = np.linalg.norm(rotvec, axis=-1, keepdims=True)
    # sin(a/2)/a by its limit 1/2 near zero
    scale = 0.5 * np.sinc(angle / (2.0 * np.pi))
    return np.concatenate([np.cos(angle / 2.0), scale * rotvec], -1)


def to_rotvec(q: np.ndarray) -> np.ndarray:
    """Unit quaternions to the shortest rotation vectors [..., 3] in rad."""
    q = np.where(q[..., :1] < 0.0, -q, q)
    length = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(length, q[..., :1])
    scale = np.where(length > 1e-12, angle / np.maximum(length, 1e-300), 2.0)
    return scale * q[..., 1:]


def about(axis: int, angle: np.ndarray) -> np.ndarray:
    """Rotations by `angle` [...] rad about world axis 0 (x), 1 (y) or 2 (z)."""
    angle = np.asarray(angle, np.float64)
    q = np.zeros((*angle.shape, 4))
    q[..., 0], q[..., 1 + axis] = np.cos(angle / 2.0), np.sin(angle / 2.0)
    return q


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles [...] rad between orientations a and b [..., 4]."""
    return np.linalg.norm(to_rotvec(multiply(a, conjugate(b))), axis=-1)


def yaw(q: np.ndarray) -> np.ndarray:
    """Heading [...] rad: the z angle of the decomposition R = Rz Ry Rx."""
    w, x, y, z = np.moveaxis(q, -1, 0)
    return np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def continuous(q: np.ndarray) -> np.ndarray:
    """The same rotations [T, ..., 4] with signs that keep neighbouring frames on one half sphere."""
    dots = np.sum(q[1:] * q[:-1], -1, keepdims=True)
    flips = np.cumprod(np.where(dots < 0.0, -1.0, 1.0), 0)
    return np.concatenate([q[:1], q[1:] * flips])


def slerp(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Shortest-arc interpolation from `a` to `b` [..., 4]; `share` [...] of the way, 0 to 1."""
    step = to_rotvec(multiply(b, conjugate(a)))
    return multiply(from_rotvec(share[..., None] * step), a)


def angular_velocity(q: np.ndarray, dt: float) -> np.ndarray:
    """World-frame angular velocity [T, ..., 3] rad/s of orientations [T, ..., 4] that are `dt` s apart.

    Central differences of the rotation, log(q[k+1] q[k-1]^-1) / (2 dt); the first and the last frame
    take the difference to their one neighbour.
    """
    if len(q) < 2:
        return np.zeros((*q.shape[:-1], 3))
    before, after = np.concatenate([q[:1], q[:-1]]), np.concatenate([q[1:], q[-1:]])
    span = np.full(len(q), 2.0 * dt)
    span[[0, -1]] = dt
    return to_rotvec(multiply(after, conjugate(before))) / span.reshape(-1, *[1] * (q.ndim - 1))


def from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Quaternions of rotation matrices [..., 3, 3], by Shepperd's method: the largest component comes first."""
    m = np.asarray(matrix, np.float64)
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    diagonal = np.stack([trace, m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]], -1)
    outer = np.empty((*m.shape[:-2], 4, 4))  # four times the outer product of the quaternion with itself
    for i in range(4):
        outer[..., i, i] = 1.0 + 2.0 * diagonal[..., i] - trace
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        outer[..., 0, i + 1] = outer[..., i + 1, 0] = m[..., k, j] - m[..., j, k]
        outer[..., j + 1, k + 1] = outer[..., k + 1, j + 1] = m[..., k, j] + m[..., j, k]
    row = np.take_along_axis(outer, diagonal.argmax(-1)[..., None, None], -2)[..., 0, :]
    return row / np.linalg.norm(row, axis=-1, keepdims=True)
