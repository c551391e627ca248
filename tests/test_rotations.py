"""Quaternion laws, and agreement with holosoma's recorded values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax import rotations
from tests.support.shared import shared_arrays


def random_quats(key: jax.Array, n: int = 64) -> jax.Array:
    q = jax.random.normal(key, (n, 4))
    return q / jnp.linalg.norm(q, axis=-1, keepdims=True)


def test_rotate_a_quarter_turn_about_z() -> None:
    # 90 degrees about z takes x to y
    q = jnp.array([[np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)]], jnp.float32)
    np.testing.assert_allclose(rotations.rotate(q, jnp.array([[1.0, 0, 0]])), [[0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(rotations.heading(q), [np.pi / 2], atol=1e-6)


def test_rotation_laws(key: jax.Array) -> None:
    k1, k2, k3 = jax.random.split(key, 3)
    a, b, v = random_quats(k1), random_quats(k2), jax.random.normal(k3, (64, 3))
    np.testing.assert_allclose(rotations.rotate_inverse(a, rotations.rotate(a, v)), v, atol=2e-6)
    composed = rotations.rotate(rotations.multiply(a, b), v)
    np.testing.assert_allclose(composed, rotations.rotate(a, rotations.rotate(b, v)), atol=5e-6)
    identity = rotations.multiply(a, rotations.conjugate(a))
    np.testing.assert_allclose(identity, np.tile([1.0, 0, 0, 0], (64, 1)), atol=1e-6)
    down = jnp.tile(jnp.array([[0.0, 0, -1]]), (64, 1))
    np.testing.assert_allclose(rotations.projected_gravity(a), rotations.rotate_inverse(a, down), atol=2e-6)


@pytest.mark.parametrize(
    "angle, wrapped", [(0.0, 0.0), (np.pi, -np.pi), (3 * np.pi / 2, -np.pi / 2), (-4, 2.2831853)]
)
def test_wrap_to_pi(angle: float, wrapped: float) -> None:
    np.testing.assert_allclose(rotations.wrap_to_pi(jnp.float32(angle)), wrapped, atol=1e-6)


def test_recorded_quaternions() -> None:
    d = shared_arrays("pure/quaternion")
    q, q2 = (jnp.asarray(np.roll(d[k], 1, -1)) for k in ("q", "q2"))
    v = jnp.asarray(d["v"])
    np.testing.assert_allclose(np.roll(rotations.multiply(q, q2), -1, -1), d["mul"], atol=1e-5)
    np.testing.assert_allclose(rotations.rotate(q, v), d["apply"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(rotations.rotate_inverse(q, v), d["rotate_inverse"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(rotations.projected_gravity(q), d["projected_gravity"], atol=1e-5)
    # the yaw of a body whose x axis is vertical is undefined
    x_axis = rotations.rotate(q, jnp.tile(jnp.array([[1.0, 0, 0]]), (q.shape[0], 1)))
    defined = np.asarray(jnp.linalg.norm(x_axis[:, :2], axis=-1) > 1e-3)
    turn = np.asarray(rotations.heading(q)) - d["heading"]
    np.testing.assert_allclose(np.sin(turn / 2)[defined], 0.0, atol=1e-5)
