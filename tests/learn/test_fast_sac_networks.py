"""Networks against the formula as textbooks write it, their precision, and how they are compiled."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax import machine
from holosoma_jax.learn import compiling
from holosoma_jax.learn.fast_sac import networks
from holosoma_jax.learn.products import bf16_dot_general

DENSE = (((1,), (0,)), ((), ()))
"""The contraction of a dense layer of rows."""


def shaken(params: Any) -> Any:
    """Parameters of which none is what it starts from."""
    keys = iter(jax.random.split(jax.random.key(1), 50))
    return jax.tree.map(lambda x: x + 0.3 * jax.random.normal(next(keys), x.shape), params)


def critic(layer_norm: bool = True, bf16: bool = False) -> tuple[networks.Critic, Any, jax.Array]:
    """A critic, its parameters and its input [7, 5]."""
    net = networks.Critic(16, 3, layer_norm, bf16)
    return net, shaken(networks.init(net, jax.random.key(0), 5)), jax.random.normal(jax.random.key(2), (7, 5))


def textbook(params: Any, x: jax.Array) -> jax.Array:
    for i in range(3):
        layer, norm = params["trunk"][f"Dense_{i}"], params["trunk"].get(f"LayerNorm_{i}")
        x = x @ layer["kernel"] + layer["bias"][None]
        if norm is not None:
            x = x - jnp.mean(x, axis=1, keepdims=True)
            x = x / jnp.sqrt(jnp.mean(x * x, axis=1, keepdims=True) + 1e-5)
            x = x * norm["scale"][None] + norm["bias"][None]
        x = x * jax.nn.sigmoid(x)
    return x @ params["head"]["kernel"] + params["head"]["bias"][None]


@pytest.mark.parametrize("layer_norm", [True, False])
def test_values_and_gradients(layer_norm: bool) -> None:
    net, params, x = critic(layer_norm)
    expected, expected_pullback = jax.vjp(textbook, params, x)
    got, pullback = jax.vjp(lambda params, x: networks.critics(net, (params,), x)[0], params, x)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    slope = jax.random.normal(jax.random.key(3), got.shape)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        pullback(slope),
        expected_pullback(slope),
    )


def test_initial_weights_and_biases_lie_within_one_over_root_fan_in() -> None:
    params = networks.init(networks.Critic(64, 9), jax.random.key(0), 40)
    layers = [params["trunk"][f"Dense_{i}"] for i in range(3)] + [params["head"]]
    assert [x["kernel"].shape for x in layers] == [(40, 64), (64, 32), (32, 16), (16, 9)]
    for layer in layers:
        bound = layer["kernel"].shape[0] ** -0.5
        for x in layer.values():
            assert 0.7 * bound < float(jnp.max(jnp.abs(x))) <= bound


def test_bf16_rounds_factors_but_not_results() -> None:
    def gradient(bf16: bool) -> Any:
        net, params, x = critic(bf16=bf16)
        return jax.grad(lambda params: jnp.sum(networks.critics(net, (params,), x)[0] ** 2))(params)

    for a, b in zip(jax.tree.leaves(gradient(False)), jax.tree.leaves(gradient(True)), strict=True):
        assert b.dtype == jnp.float32
        assert np.any(b != b.astype(jnp.bfloat16).astype(jnp.float32))
        assert np.linalg.norm(a - b) < 0.1 * np.linalg.norm(a)


def test_bf16_product_by_hand() -> None:
    """Factors with 8 bits are exact, so product and gradients are those of whole numbers."""
    rng = np.random.default_rng(0)
    x, kernel, slope = (rng.integers(-9, 9, shape).astype(np.float32) for shape in ((6, 5), (5, 4), (6, 4)))
    got, pullback = jax.vjp(lambda x, kernel: bf16_dot_general(x, kernel, DENSE), x, kernel)
    np.testing.assert_array_equal(got, x @ kernel)
    for found, wanted in zip(pullback(jnp.asarray(slope)), (slope @ kernel.T, x.T @ slope), strict=True):
        np.testing.assert_array_equal(found, wanted)
    # 1 + 2^-9 is no bfloat16 number, 1 is the nearest; the sum of 256 products is float32: 256
    long = jnp.full((1, 256), 1.0 + 2.0**-9)
    assert bf16_dot_general(long, jnp.ones((256, 1)), DENSE) == 256.0


def test_bf16_product_maps_and_refuses_other_contractions() -> None:
    x, kernel = (
        jax.random.normal(jax.random.key(0), (3, 6, 5)),
        jax.random.normal(jax.random.key(1), (3, 5, 4)),
    )
    each = [bf16_dot_general(a, b, DENSE) for a, b in zip(x, kernel, strict=True)]
    mapped = jax.vmap(lambda a, b: bf16_dot_general(a, b, DENSE))(x, kernel)
    np.testing.assert_allclose(mapped, jnp.stack(each), rtol=1e-6)
    with pytest.raises(ValueError, match="last axis"):
        bf16_dot_general(x[0], kernel[0].T, (((1,), (1,)), ((), ())))


def test_gradients_of_the_kernel_are_bf16_products_in_the_compiled_function() -> None:
    """XLA turns a bfloat16 product of a transposed factor into a float32 one; see `products.transposed`."""
    x, kernel = jnp.ones((64, 32)), jnp.ones((32, 16))

    def gradient(x: jax.Array, kernel: jax.Array) -> Any:
        return jax.grad(lambda x, k: jnp.sum(bf16_dot_general(x, k, DENSE) ** 2), (0, 1))(x, kernel)

    text = jax.jit(gradient).lower(x, kernel).as_text("hlo")
    dots = [line for line in text.splitlines() if " dot(" in line]
    assert len(dots) == 3
    assert all("{0,1} dot" not in line for line in dots)


@pytest.mark.parametrize("bf16", [False, True])
def test_compiler_options_are_accepted(bf16: bool) -> None:
    options = compiling.compiler_options(bf16)
    assert set(options) == set(compiling.WIDE if bf16 else compiling.WIDE | compiling.NO_YNN)
    _, params, x = critic()
    got = jax.jit(textbook, compiler_options=options)(params, x)
    np.testing.assert_allclose(got, textbook(params, x), rtol=1e-5, atol=1e-5)


def test_options_that_xla_does_not_know_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "NO_YNN", {"xla_cpu_no_such_option": "1"})
    assert compiling.compiler_options(bf16=False) == compiling.WIDE


@pytest.mark.parametrize(
    ("flags", "has"),
    [("fpu avx512f avx512_bf16", True), ("fpu amx_tile amx_bf16", True), ("fpu avx512f avx2", False)],
)
def test_products_are_bf16_where_the_processor_has_them(flags: str, has: bool, tmp_path, monkeypatch) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    assert machine.has_bf16() == compiling.quick_bf16() == has
    (tmp_path / "cpuinfo").unlink()
    assert not machine.has_bf16()
