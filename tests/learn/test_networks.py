"""Networks and the Gaussian, against closed forms and other libraries."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from holosoma_jax.learn.networks import ACTIVATIONS, Mlp, elu, noise_std
from holosoma_jax.learn.ppo import gaussian


def test_initial_weights_and_biases_are_uniform_within_one_over_root_fan_in() -> None:
    params = Mlp((256, 128), 8).init(jax.random.key(0), jnp.zeros((1, 100)))["params"]
    assert {name: layer["kernel"].shape for name, layer in params.items()} == {
        "Dense_0": (100, 256),
        "Dense_1": (256, 128),
        "Dense_2": (128, 8),
    }
    for layer in params.values():
        bound = layer["kernel"].shape[0] ** -0.5
        for x in layer.values():
            flat = np.asarray(x).ravel()
            assert stats.kstest(flat, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
            assert np.abs(flat).max() <= bound


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_is_linear_layers_with_activations_between(activation: str) -> None:
    net = Mlp((5, 4), 3, activation)
    x = jax.random.normal(jax.random.key(0), (7, 2))
    params = net.init(jax.random.key(1), x)["params"]
    reference = {"elu": jax.nn.elu, "relu": jax.nn.relu, "silu": jax.nn.silu, "tanh": jnp.tanh}[activation]
    y = x
    for i in range(3):
        y = y @ params[f"Dense_{i}"]["kernel"] + params[f"Dense_{i}"]["bias"][None]
        y = reference(y) if i < 2 else y
    np.testing.assert_allclose(net.apply({"params": params}, x), y, atol=1e-6)


def test_elu_and_its_gradient() -> None:
    x = jnp.array([-200.0, -3.0, -1e-4, 0.0, 1e-4, 3.0, 200.0])
    np.testing.assert_allclose(elu(x), jax.nn.elu(x), atol=1e-7)
    np.testing.assert_allclose(jax.vmap(jax.grad(elu))(x), jax.vmap(jax.grad(jax.nn.elu))(x), atol=1e-7)


def test_gaussian_against_scipy() -> None:
    rng = np.random.default_rng(0)
    mean, action = rng.normal(size=(2, 5, 3)).astype(np.float32)
    std = np.array([0.3, 1.0, 2.0], np.float32)
    found = gaussian.log_prob(jnp.asarray(action), jnp.asarray(mean), jnp.asarray(std))
    np.testing.assert_allclose(found, stats.norm(mean, std).logpdf(action).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(
        gaussian.entropy(jnp.asarray(std)), stats.norm(0, std).entropy().sum(), rtol=1e-6
    )


def test_kl_by_hand() -> None:
    # one action: ln(2 / 1) + (1 + 3^2) / (2 * 4) - 1/2 = 0.693147 + 1.25 - 0.5
    kl = gaussian.kl(jnp.array([[0.0]]), jnp.array([1.0]), jnp.array([[3.0]]), jnp.array([2.0]))
    np.testing.assert_allclose(kl, [1.4431472], rtol=1e-6)


def test_samples_have_the_mean_and_spread_asked_for() -> None:
    mean, std = jnp.array([1.0, -2.0]), jnp.array([0.5, 3.0])
    x = gaussian.sample(jax.random.key(0), jnp.broadcast_to(mean, (20_000, 2)), std)
    np.testing.assert_allclose(x.mean(0), mean, atol=0.07)
    np.testing.assert_allclose(x.std(0), std, rtol=0.02)


def test_noise_floor() -> None:
    std = jnp.array([-0.1, 1e-4, 0.5])
    np.testing.assert_allclose(noise_std(std, jnp.float32(1e-3)), [1e-3, 1e-3, 0.5])
    np.testing.assert_array_equal(noise_std(std, jnp.float32(-jnp.inf)), std)
    gradient = jax.grad(lambda s: noise_std(s, jnp.float32(1e-3)).sum())(std)
    assert gradient.tolist() == [0.0, 0.0, 1.0]
