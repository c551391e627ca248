"""The networks of FastSAC: an actor with two heads, and an ensemble of categorical critics.

Hidden layers are linear, layer norm, SiLU; widths h, h/2, h/4 (FastSAC spec, sections 2 and 3). They
are written out here, not taken from a library, for the sake of their derivative, which decides the
speed on a CPU, and of the products' precision, which is chosen apart from everything else's.
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


def plain_mean(params: Actor, obs: jax.Array) -> jax.Array:
    """`actor`'s mean, but for rounding, in float32 and as textbooks write it: what exporters understand."""
    x = obs
    for layer in params.trunk:
        x = linear(layer.linear, x, bf16=False)
        if layer.scale is not None and layer.offset is not None:
            shape = (1,) * (x.ndim - 1) + (-1,)
            x = x - jnp.mean(x, axis=-1, keepdims=True)
            x = x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + NORM_EPS)
            x = x * layer.scale.reshape(shape) + layer.offset.reshape(shape)
        x = jax.nn.silu(x)
    return linear(params.mean, x, bf16=False)


def critics(params: Critics, x: jax.Array, bf16: bool) -> tuple[jax.Array, ...]:
    """Logits [..., atoms] of every critic, for [normalised observation, action] vectors `x` [..., in]."""
    return tuple(linear(net.head, _trunk(net.trunk, x, bf16), bf16) for net in params)


def linear(params: Linear, x: jax.Array, bf16: bool) -> jax.Array:
    """`x` [..., in] -> [..., out]; with `bf16` the factors are rounded, sums and result stay float32."""
    product = _product(x, params.kernel, bf16)
    return product + params.bias.reshape((1,) * (product.ndim - 1) + (-1,))


def _product(x: jax.Array, kernel: jax.Array, bf16: bool) -> jax.Array:
    if bf16:
        x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    return jnp.matmul(x, kernel, preferred_element_type=jnp.float32)


def hidden(params: Hidden, x: jax.Array, bf16: bool) -> jax.Array:
    """SiLU of the layer norm of linear(x): [..., in] -> [..., out]."""
    if params.scale is None or params.offset is None:
        return jax.nn.silu(linear(params.linear, x, bf16))
    # A layer norm subtracts each row's mean first. Taken off the weights, it costs no pass over the rows.
    kernel, bias = params.linear
    kernel, bias = kernel - jnp.mean(kernel, axis=1, keepdims=True), bias - jnp.mean(bias)
    product = _product(x.reshape(-1, x.shape[-1]), kernel, bf16)
    rows = norm_silu(product, bias[None], params.scale[None], params.offset[None])
    return rows.reshape(*x.shape[:-1], -1)


@jax.custom_vjp
def norm_silu(x: jax.Array, bias: jax.Array, scale: jax.Array, offset: jax.Array) -> jax.Array:
    """SiLU((x + bias) / root of its mean square * scale + offset) for rows `x` [R, width].

    The other arguments are [1, width]. The derivative is written out, for the sake of its sums over rows
    and columns: see `_row_mean`.
    """
    return _norm_silu_forward(x, bias, scale, offset)[0]


def _norm_silu_forward(
    x: jax.Array, bias: jax.Array, scale: jax.Array, offset: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """The value, and what its derivative needs."""
    x = x + bias
    rate = jax.lax.rsqrt(_row_mean(x * x) + NORM_EPS)
    shifted = x * rate * scale + offset
    return shifted * _sigmoid(shifted), (x, rate, scale, offset)


def _norm_silu_backward(saved: tuple[jax.Array, ...], slope: jax.Array) -> tuple[jax.Array, ...]:
    """Derivatives by all arguments, from that by the value.

    With u = rate x, y = scale u + offset and g = sigmoid(y)::

        dy = g (1 + y (1 - g)) slope      dx = rate (scale dy - u mean(u scale dy))
    """
    x, rate, scale, offset = saved
    unit = x * rate
    shifted = unit * scale + offset
    gate = _sigmoid(shifted)
    slope = slope * gate * (1.0 + shifted * (1.0 - gate))
    inner = slope * scale
    dx = rate * (inner - unit * _row_mean(inner * unit))
    return dx, _column_sum(dx), _column_sum(slope * unit), _column_sum(slope)


norm_silu.defvjp(_norm_silu_forward, _norm_silu_backward)


def _sigmoid(x: jax.Array) -> jax.Array:
    """1 / (1 + exp(-x)), by tanh: a third cheaper on a CPU, and the same to one rounding step of 1."""
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


def _row_mean(x: jax.Array) -> jax.Array:
    """[R, width] -> [R, 1].

    On a CPU a product with ones: XLA would fuse a sum with all that comes before it, and compute that
    again for every sum. Elsewhere a sum, which there is what it should be.
    """

    def product(x: jax.Array) -> jax.Array:
        return jnp.matmul(x, jnp.full((x.shape[1], 1), 1.0 / x.shape[1], x.dtype))

    return jax.lax.platform_dependent(x, cpu=product, default=lambda x: jnp.mean(x, axis=1, keepdims=True))


def _column_sum(x: jax.Array) -> jax.Array:
    """[R, width] -> [1, width]; see `_row_mean`."""

    def product(x: jax.Array) -> jax.Array:
        return jnp.matmul(jnp.ones((1, x.shape[0]), x.dtype), x)

    return jax.lax.platform_dependent(x, cpu=product, default=lambda x: jnp.sum(x, axis=0, keepdims=True))


def _trunk(layers: Trunk, x: jax.Array, bf16: bool) -> jax.Array:
    for layer in layers:
        x = hidden(layer, x, bf16)
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
