"""Quaternion arithmetic on [..., 4] arrays ordered w x y z, body to world.

All functions expect unit quaternions and broadcast over leading axes. Formulas are the standard
Hamilton product and Rodrigues rotation (e.g. Kuipers, "Quaternions and Rotation Sequences", 1999).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def conjugate(q: jax.Array) -> jax.Array:
    """Inverse rotation of the unit quaternion q [..., 4]."""
    return jnp.concatenate([q[..., :1], -q[..., 1:]], axis=-1)


def multiply(a: jax.Array, b: jax.Array) -> jax.Array:
    """Hamilton product a * b [..., 4]: rotate by b, then by a."""
    aw, ax, ay, az = a[..., 0], a[..., 1], a[..., 2], a[..., 3]
    bw, bx, by, bz = b[..., 0], b[..., 1], b[..., 2], b[..., 3]
    return jnp.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def rotate(q: jax.Array, v: jax.Array) -> jax.Array:
    """The body-frame vector v [..., 3] in the world frame."""
    w, u = q[..., :1], q[..., 1:]
    t = 2.0 * _cross(u, v)
    return v + w * t + _cross(u, t)


def rotate_inverse(q: jax.Array, v: jax.Array) -> jax.Array:
    """The world-frame vector v [..., 3] in the body frame."""
    w, u = q[..., :1], q[..., 1:]
    t = 2.0 * _cross(u, v)
    return v - w * t + _cross(u, t)


def projected_gravity(q: jax.Array) -> jax.Array:
    """The unit gravity direction (0, 0, -1) in the body frame, [..., 3]."""
    w, x, y, z = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    return jnp.stack([-2.0 * (x * z - w * y), -2.0 * (y * z + w * x), -1.0 + 2.0 * (x * x + y * y)], axis=-1)


def heading(q: jax.Array) -> jax.Array:
    """Yaw of the body's x axis seen from above, rad in [-pi, pi], [...]."""
    w, x, y, z = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    return jnp.arctan2(2.0 * (x * y + w * z), 1.0 - 2.0 * (y * y + z * z))


def about_z(angle: jax.Array) -> jax.Array:
    """The turn by `angle` [...] rad about the vertical, [..., 4]."""
    half, zero = 0.5 * angle, jnp.zeros_like(angle)
    return jnp.stack([jnp.cos(half), zero, zero, jnp.sin(half)], axis=-1)


def from_euler(rpy: jax.Array) -> jax.Array:
    """The rotation Rz(yaw) Ry(pitch) Rx(roll) of angles [..., 3] in rad, roll first, as [..., 4]."""
    cos, sin = jnp.cos(0.5 * rpy), jnp.sin(0.5 * rpy)
    (cr, cp, cy), (sr, sp, sy) = jnp.moveaxis(cos, -1, 0), jnp.moveaxis(sin, -1, 0)
    return jnp.stack(
        [
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        ],
        axis=-1,
    )


def angle_between(a: jax.Array, b: jax.Array) -> jax.Array:
    """Angle [...] rad in [0, pi] of the rotation that takes b [..., 4] to a [..., 4]."""
    delta = multiply(a, conjugate(b))
    sine = jnp.sqrt(jnp.sum(jnp.square(delta[..., 1:]), axis=-1))
    return 2.0 * jnp.arctan2(sine, jnp.abs(delta[..., 0]))


def two_columns(q: jax.Array) -> jax.Array:
    """The first two columns of the rotation matrix row by row: R00, R01, R10, R11, R20, R21, [..., 6].

    An orientation as a network's input: continuous, unlike angles and quaternions (Zhou et al. 2019).
    """
    w, x, y, z = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    return jnp.stack(
        [
            1.0 - 2.0 * (y * y + z * z),
            2.0 * (x * y - w * z),
            2.0 * (x * y + w * z),
            1.0 - 2.0 * (x * x + z * z),
            2.0 * (x * z - w * y),
            2.0 * (y * z + w * x),
        ],
        axis=-1,
    )


def wrap_to_pi(angle: jax.Array) -> jax.Array:
    """The angle shifted by whole turns into [-pi, pi)."""
    return jnp.remainder(angle + jnp.pi, 2.0 * jnp.pi) - jnp.pi


def _cross(a: jax.Array, b: jax.Array) -> jax.Array:
    """Cross product over the last axis; unlike jnp.cross it broadcasts under strict rank promotion."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return jnp.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)
