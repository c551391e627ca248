"""The squashed Gaussian against numerical derivatives and integrals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn.fast_sac import squashed

SCALE = np.array([2.0, 0.5], np.float32)


@pytest.mark.parametrize("log_det", ["capped", "exact"])
def test_log_prob_is_the_gaussian_minus_the_log_of_the_numerical_jacobian(log_det: squashed.LogDet) -> None:
    mean, log_std = jnp.array([0.3, -0.4]), jnp.array([-0.5, -1.0])
    noise = jnp.array([0.8, -0.6])
    _, log_prob = squashed.sample(mean, log_std, noise, SCALE, log_det)

    def action(u: np.ndarray) -> np.ndarray:
        return SCALE * np.tanh(u)

    u, h = np.asarray(mean + jnp.exp(log_std) * noise, np.float64), 1e-6
    columns = [(action(u + h * e) - action(u - h * e)) / (2 * h) for e in np.eye(2)]
    std = np.exp(np.asarray(log_std, np.float64))
    gaussian = -0.5 * ((u - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)
    wanted = np.sum(gaussian) - np.log(np.linalg.det(np.stack(columns)))
    np.testing.assert_allclose(log_prob, wanted, atol=1e-4)


def test_the_density_integrates_to_one() -> None:
    mean, log_std = 0.4, -0.3
    grid = np.linspace(-0.99999, 0.99999, 200_001)
    noise = (np.arctanh(grid) - mean) / np.exp(log_std)
    column = jnp.asarray(noise[:, None], jnp.float32)
    like = jnp.ones_like(column)
    action, log_prob = squashed.sample(mean * like, log_std * like, column, SCALE[:1], "exact")
    np.testing.assert_allclose(action[:, 0], 2.0 * grid, atol=1e-4)
    np.testing.assert_allclose(np.trapezoid(np.exp(log_prob), 2.0 * grid), 1.0, atol=1e-3)


def test_far_out_the_cap_bounds_the_density_and_the_exact_form_does_not() -> None:
    u, zero = jnp.full((1, 1), 20.0), jnp.zeros((1, 1))
    one = np.ones(1, np.float32)
    (_, capped), (_, exact) = (squashed.sample(u, zero, zero, one, form) for form in ("capped", "exact"))
    gaussian = -0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(capped - gaussian, -np.log(1e-6), atol=1e-3)  # 13.8 nats
    np.testing.assert_allclose(exact - gaussian, 2 * 20.0 - 2 * np.log(2.0), rtol=1e-5)


def test_gradients_are_those_of_the_reparameterised_sample() -> None:
    noise = jnp.array([[0.7, -1.1]])

    def action(mean: jax.Array, log_std: jax.Array) -> jax.Array:
        return jnp.sum(squashed.sample(mean, log_std, noise, SCALE)[0])

    mean, log_std = jnp.array([[0.2, 0.1]]), jnp.array([[-1.0, -0.5]])
    slopes = jax.grad(action, (0, 1))(mean, log_std)
    slope = SCALE * (1.0 - np.tanh(mean + np.exp(log_std) * noise) ** 2)
    np.testing.assert_allclose(slopes[0], slope, rtol=1e-5)
    np.testing.assert_allclose(slopes[1], slope * np.exp(log_std) * noise, rtol=1e-5)


def test_without_a_scale_it_is_a_plain_gaussian() -> None:
    action, log_prob = squashed.sample(jnp.ones((1, 2)), jnp.zeros((1, 2)), jnp.full((1, 2), 3.0), None)
    np.testing.assert_allclose(action, 4.0)
    np.testing.assert_allclose(log_prob, -9.0 - np.log(2 * np.pi), rtol=1e-6)
    np.testing.assert_array_equal(squashed.mode(jnp.full((1, 2), 3.0), None), 3.0)
