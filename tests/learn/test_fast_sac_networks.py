"""Networks as they are applied, against the formula as textbooks write it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn.fast_sac import compiling, networks


def critic(layer_norm: bool = True) -> tuple[networks.Critic, jax.Array]:
    """A critic whose first layer widens and whose others narrow, scales and offsets shaken; and its input."""
    net = networks.init_critic(jax.random.key(0), 5, 3, 16, layer_norm)
    keys = iter(jax.random.split(jax.random.key(1), 50))
    net = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(next(keys), x.shape), net)
    return net, jax.random.normal(jax.random.key(2), (7, 5))


def textbook(net: networks.Critic, x: jax.Array) -> jax.Array:
    for layer in net.trunk:
        x = x @ layer.linear.kernel + layer.linear.bias[None]
        if layer.scale is not None and layer.offset is not None:
            x = x - jnp.mean(x, axis=1, keepdims=True)
            x = x / jnp.sqrt(jnp.mean(x * x, axis=1, keepdims=True) + networks.NORM_EPS)
            x = x * layer.scale[None] + layer.offset[None]
        x = x * jax.nn.sigmoid(x)
    return x @ net.head.kernel + net.head.bias[None]


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("turn", [False, True])
def test_values_and_gradients(layer_norm: bool, turn: bool) -> None:
    net, x = critic(layer_norm)

    def used(net: networks.Critic, x: jax.Array) -> jax.Array:
        return networks.critics(networks.ready((net,), turn), x, bf16=False)[0]

    expected, expected_pullback = jax.vjp(textbook, net, x)
    got, pullback = jax.vjp(used, net, x)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    slope = jax.random.normal(jax.random.key(3), got.shape)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        pullback(slope),
        expected_pullback(slope),
    )


def test_turned_kernels_have_their_longer_axis_last() -> None:
    ready = networks.ready((critic()[0],), turn=True).net[0]
    shapes = [layer.linear.kernel.shape for layer in ready.trunk]
    assert shapes == [(5, 16), (8, 16), (4, 8)]
    assert ready.head.kernel.shape == (3, 4)


def test_bf16_rounds_factors_but_not_results() -> None:
    net, x = critic()

    def loss(net: networks.Critic, bf16: bool) -> jax.Array:
        return jnp.sum(networks.critics(networks.ready((net,), turn=True), x, bf16)[0] ** 2)

    exact, rounded = (jax.grad(loss)(net, bf16) for bf16 in (False, True))
    for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(rounded), strict=True):
        assert b.dtype == jnp.float32
        assert np.any(b != b.astype(jnp.bfloat16).astype(jnp.float32))
        assert np.linalg.norm(a - b) < 0.1 * np.linalg.norm(a)


def test_compiler_options_are_accepted() -> None:
    options = compiling.compiler_options()
    assert options == compiling.CPU_OPTIONS
    net, x = critic()
    got = jax.jit(textbook, compiler_options=options)(net, x)
    np.testing.assert_allclose(got, textbook(net, x), rtol=1e-5, atol=1e-5)


def test_options_that_xla_does_not_know_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "CPU_OPTIONS", {"xla_cpu_no_such_option": "1"})
    assert compiling.compiler_options.__wrapped__() == {}
