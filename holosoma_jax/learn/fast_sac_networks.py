"""The networks of FastSAC: an actor with two heads, and an ensemble of categorical critics.

Hidden layers are linear, layer norm, SiLU; widths h, h/2, h/4 (FastSAC spec, sections 2 and 3). They
are written out here, not taken from a library: the ensemble shares its first product, and the
products' precision is chosen apart from everything else's.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

NORM_EPS = 1e-5
"""Added to the variance inside the root of a layer norm."""


class Linear(NamedTuple):
    """x -> x kernel + bias."""

    kernel: jax.Array
    """[in, out]"""
    bias: jax.Array
    """[out]"""


class Hidden(NamedTuple):
    """x -> SiLU(layer norm(linear(x)))."""

    linear: Linear
    scale: jax.Array | None
    """[out] of the layer norm; None: there is none"""
    offset: jax.Array | None
    """[out] of the layer norm"""


Trunk: TypeAlias = tuple[Hidden, ...]


class Actor(NamedTuple):
    """A Gaussian policy: trunk and two linear heads."""

    trunk: Trunk
    mean: Linear
    log_std: Linear


class Critic(NamedTuple):
    """Logits of the return's distribution: trunk and one linear head."""

    trunk: Trunk
    head: Linear


Critics: TypeAlias = tuple[Critic, ...]
"""An ensemble. A tuple of networks, not one with a leading axis: docs/fast_sac.md says why."""


def init_actor(key: jax.Array, obs_dim: int, action_dim: int, hidden: int, layer_norm: bool) -> Actor:
    """An actor whose heads are zero, so that it starts at the default pose with a middling spread."""
    trunk = _init_trunk(key, obs_dim, hidden, layer_norm)
    width = trunk[-1].linear.bias.shape[0]
    return Actor(trunk, _zero_linear(width, action_dim), _zero_linear(width, action_dim))


def init_critic(key: jax.Array, in_dim: int, atoms: int, hidden: int, layer_norm: bool) -> Critic:
    """A critic of [observation, action] vectors of `in_dim` entries."""
    trunk_key, head_key = jax.random.split(key)
    trunk = _init_trunk(trunk_key, in_dim, hidden, layer_norm)
    return Critic(trunk, _init_linear(head_key, trunk[-1].linear.bias.shape[0], atoms))


def actor(
    params: Actor, obs: jax.Array, log_std_range: tuple[float, float], bf16: bool
) -> tuple[jax.Array, jax.Array]:
    """Mean and logarithm of the standard deviation, both [..., A], for normalised `obs` [..., Da].

    The second head is squashed into `log_std_range` by tanh.
    """
    z = _trunk(params.trunk, obs, bf16)
    low, high = log_std_range
    squashed = jnp.tanh(linear(params.log_std, z, bf16))
    return linear(params.mean, z, bf16), low + 0.5 * (high - low) * (squashed + 1.0)


def critics(params: Critics, x: jax.Array, bf16: bool) -> tuple[jax.Array, ...]:
    """Logits [..., atoms] of every critic, for [normalised observation, action] vectors `x` [..., in]."""
    return tuple(linear(net.head, _trunk(net.trunk, x, bf16), bf16) for net in params)


def linear(params: Linear, x: jax.Array, bf16: bool) -> jax.Array:
    """`x` [..., in] -> [..., out]; with `bf16` the factors are rounded, sums and result stay float32."""
    kernel = params.kernel
    if bf16:
        x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    product = jnp.matmul(x, kernel, preferred_element_type=jnp.float32)
    return product + _row(params.bias, product)


def layer_norm(x: jax.Array, scale: jax.Array, offset: jax.Array) -> jax.Array:
    """`x` [..., width] with mean 0 and variance 1 over its last axis, then scaled and shifted."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + NORM_EPS) * _row(scale, x) + _row(offset, x)


def _trunk(layers: Trunk, x: jax.Array, bf16: bool) -> jax.Array:
    for layer in layers:
        x = linear(layer.linear, x, bf16)
        if layer.scale is not None and layer.offset is not None:
            x = layer_norm(x, layer.scale, layer.offset)
        x = jax.nn.silu(x)
    return x


def _init_trunk(key: jax.Array, in_dim: int, hidden: int, layer_norm: bool) -> Trunk:
    layers: list[Hidden] = []
    widths = (hidden, hidden // 2, hidden // 4)
    for layer_key, width in zip(jax.random.split(key, 3), widths, strict=True):
        ones, zeros = jnp.ones((width,), jnp.float32), jnp.zeros((width,), jnp.float32)
        scale, offset = (ones, zeros) if layer_norm else (None, None)
        layers.append(Hidden(_init_linear(layer_key, in_dim, width), scale, offset))
        in_dim = width
    return tuple(layers)


def _init_linear(key: jax.Array, in_dim: int, out: int) -> Linear:
    """U(-1/sqrt(in), 1/sqrt(in)), the default of PyTorch's linear layer and so of the reference."""
    kernel_key, bias_key = jax.random.split(key)
    bound = in_dim**-0.5
    kernel = jax.random.uniform(kernel_key, (in_dim, out), jnp.float32, -bound, bound)
    return Linear(kernel, jax.random.uniform(bias_key, (out,), jnp.float32, -bound, bound))


def _zero_linear(in_dim: int, out: int) -> Linear:
    return Linear(jnp.zeros((in_dim, out), jnp.float32), jnp.zeros((out,), jnp.float32))


def _row(x: jax.Array, beside: jax.Array) -> jax.Array:
    """`x` [n] with the rank of `beside` [..., n]."""
    return x.reshape((1,) * (beside.ndim - 1) + x.shape)
