"""The networks of FastSAC: an actor with two heads, and an ensemble of categorical critics.

Hidden layers are linear, layer norm, SiLU; widths h, h/2, h/4 (FastSAC spec, sections 2 and 3). They
are written out here, not taken from a library, for the sake of their derivative, which decides the
speed on a CPU, and of the products' precision, which is chosen apart from everything else's.

Parameters (`Actor`, `Critics`) are what is learnt and stored; `ready` makes of them what is applied.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeAlias, TypeVar

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

Net = TypeVar("Net", Actor, Critics)


class Ready(NamedTuple, Generic[Net]):
    """Parameters as they are applied; see `ready`."""

    net: Net
    """kernels may be [out, in]"""


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


def ready(params: Net, turn: bool = False) -> Ready[Net]:
    """The same functions in the form that `actor` and `critics` apply: worth doing once for many rows.

    A layer norm subtracts each row's mean first; taken off kernel and bias, that costs no pass over rows.

    Args:
      params: parameters.
      turn: also turn kernels that narrow, out < in, into [out, in]. A gradient by them is then a product
        whose last axis is the longer one, which a CPU computes up to twice as quickly. Where there are no
        gradients it is no use.
    """

    def placed(kernel: jax.Array, bias: jax.Array) -> Linear:
        return Linear(kernel.T if turn and kernel.shape[1] < kernel.shape[0] else kernel, bias)

    def prepared(layer: Hidden | Linear) -> Hidden | Linear:
        if isinstance(layer, Linear):
            return placed(*layer)
        kernel, bias = layer.linear
        if layer.scale is not None:
            kernel, bias = kernel - jnp.mean(kernel, axis=1, keepdims=True), bias - jnp.mean(bias)
        return layer._replace(linear=placed(kernel, bias))

    return Ready(jax.tree.map(prepared, params, is_leaf=lambda x: isinstance(x, (Hidden, Linear))))


def actor(
    params: Ready[Actor], obs: jax.Array, log_std_range: tuple[float, float], bf16: bool
) -> tuple[jax.Array, jax.Array]:
    """Mean and logarithm of the standard deviation, both [..., A], for normalised `obs` [..., Da].

    The second head is squashed into `log_std_range` by tanh.
    """
    net = params.net
    z = _trunk(net.trunk, obs, bf16)
    low, high = log_std_range
    squashed = jnp.tanh(linear(net.log_std, z, bf16))
    return linear(net.mean, z, bf16), low + 0.5 * (high - low) * (squashed + 1.0)


def plain_mean(params: Actor, obs: jax.Array) -> jax.Array:
    """`actor`'s mean, but for rounding, in float32 and as textbooks write it: what exporters understand."""
    x = obs
    for layer in params.trunk:
        x = x @ layer.linear.kernel + layer.linear.bias.reshape((1,) * (x.ndim - 1) + (-1,))
        if layer.scale is not None and layer.offset is not None:
            shape = (1,) * (x.ndim - 1) + (-1,)
            x = x - jnp.mean(x, axis=-1, keepdims=True)
            x = x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + NORM_EPS)
            x = x * layer.scale.reshape(shape) + layer.offset.reshape(shape)
        x = jax.nn.silu(x)
    return linear(params.mean, x, bf16=False)


def critics(params: Ready[Critics], x: jax.Array, bf16: bool) -> tuple[jax.Array, ...]:
    """Logits [..., atoms] of every critic, for [normalised observation, action] vectors `x` [..., in]."""
    return tuple(linear(net.head, _trunk(net.trunk, x, bf16), bf16) for net in params.net)


def linear(params: Linear, x: jax.Array, bf16: bool) -> jax.Array:
    """`x` [..., in] -> [..., out]; with `bf16` the factors are rounded, sums and result stay float32."""
    product = _product(x, params.kernel, bf16)
    return product + params.bias.reshape((1,) * (product.ndim - 1) + (-1,))


def hidden(params: Hidden, x: jax.Array, bf16: bool) -> jax.Array:
    """SiLU of the layer norm of linear(x): [..., in] -> [..., out], for a layer that is `ready`."""
    if params.scale is None or params.offset is None:
        return jax.nn.silu(linear(params.linear, x, bf16))
    product = _product(x.reshape(-1, x.shape[-1]), params.linear.kernel, bf16)
    rows = norm_silu(product, params.linear.bias[None], params.scale[None], params.offset[None])
    return rows.reshape(*x.shape[:-1], -1)


def _plain_product(x: jax.Array, kernel: jax.Array, bf16: bool) -> jax.Array:
    """`x` [..., in] -> [..., out], by a kernel [in, out] or, turned, [out, in].

    The derivative is written out for the sake of its products' form: on a CPU those by an untransposed
    kernel are the quickest, so that forward and backward pass each have a copy to their liking.
    """
    return _matmul(x, kernel if kernel.shape[0] == x.shape[-1] else _transposed(kernel), bf16)


def _product_forward(
    x: jax.Array, kernel: jax.Array, bf16: bool
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _plain_product(x, kernel, bf16), (x, kernel)


def _product_backward(
    bf16: bool, saved: tuple[jax.Array, jax.Array], slope: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    rows, slopes = x.reshape(-1, x.shape[-1]), slope.reshape(-1, slope.shape[-1])
    if kernel.shape[0] == x.shape[-1]:
        return _matmul(slope, _transposed(kernel), bf16), _matmul(rows.T, slopes, bf16)
    return _matmul(slope, kernel, bf16), _matmul(slopes.T, rows, bf16)


_product = jax.custom_vjp(_plain_product, nondiff_argnums=(2,))
_product.defvjp(_product_forward, _product_backward)


def _matmul(left: jax.Array, right: jax.Array, bf16: bool) -> jax.Array:
    if bf16:
        left, right = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
    return jnp.matmul(left, right, preferred_element_type=jnp.float32)


def _transposed(kernel: jax.Array) -> jax.Array:
    """On a CPU a copy, which XLA moves out of the loop over rows; else it would transpose in the product."""

    def copied(kernel: jax.Array) -> jax.Array:
        return jax.lax.optimization_barrier(kernel.T)

    return jax.lax.platform_dependent(kernel, cpu=copied, default=jnp.transpose)


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
    rate = jax.lax.rsqrt(_row_mean(x * x, jnp.ones_like(scale)) + NORM_EPS)
    shifted = x * rate * scale + offset
    gate = _sigmoid(shifted)
    return shifted * gate, (x, rate, gate, scale, offset)


def _norm_silu_backward(saved: tuple[jax.Array, ...], slope: jax.Array) -> tuple[jax.Array, ...]:
    """Derivatives by all arguments, from that by the value.

    With u = rate x, y = scale u + offset and g = sigmoid(y)::

        dy = g (1 + y (1 - g)) slope      dx = rate (scale dy - u mean(scale u dy))
    """
    x, rate, gate, scale, offset = saved
    unit = x * rate
    slope = slope * gate * (1.0 + (unit * scale + offset) * (1.0 - gate))
    by_scale = unit * slope
    dx = rate * (scale * slope - unit * _row_mean(by_scale, scale))
    return dx, _column_sum(dx), _column_sum(by_scale), _column_sum(slope)


norm_silu.defvjp(_norm_silu_forward, _norm_silu_backward)


def _sigmoid(x: jax.Array) -> jax.Array:
    """1 / (1 + exp(-x)), by tanh: a third cheaper on a CPU, and the same to one rounding step of 1."""
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


def _row_mean(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Mean of each row of `x` [R, width] times `weight` [1, width] -> [R, 1].

    On a CPU a product: XLA would fuse a sum with all that comes before it, and compute that again for
    every sum. Elsewhere a sum, which there is what it should be.
    """

    def product(x: jax.Array, weight: jax.Array) -> jax.Array:
        return jnp.matmul(x, (weight / x.shape[1]).T)

    def mean(x: jax.Array, weight: jax.Array) -> jax.Array:
        return jnp.mean(x * weight, axis=1, keepdims=True)

    return jax.lax.platform_dependent(x, weight, cpu=product, default=mean)


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
