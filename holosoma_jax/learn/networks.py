"""The two networks of an actor-critic learner: plain multilayer perceptrons, no shared trunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
from flax import linen as nn

Params: TypeAlias = Mapping[str, Any]
"""Parameters of one network, as Flax nests them."""

Activation: TypeAlias = Literal["elu", "relu", "silu", "tanh"]


@jax.custom_jvp
def elu(x: jax.Array) -> jax.Array:
    """The exponential linear unit: x above 0, exp(x) - 1 below.

    `jax.nn.elu` calls expm1, which costs about twice as much on a CPU; the difference is below one
    rounding step of 1. The derivative is computed from the value, so that nothing else is kept for it.
    """
    return jnp.where(x > 0, x, jnp.exp(jnp.where(x > 0, 0.0, x)) - 1.0)


@elu.defjvp
def _elu_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    y = elu(*primals)
    return y, tangents[0] * jnp.where(y > 0, 1.0, y + 1.0)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "elu": elu,
    "relu": nn.relu,
    "silu": nn.silu,
    "tanh": nn.tanh,
}


def uniform_bias(fan_in: int) -> Callable[..., jax.Array]:
    """Initialiser of biases, U(-1/sqrt(fan_in), 1/sqrt(fan_in)); Flax's own default is zero."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def dense(width: int, in_dim: int, dot_general: Any = None, name: str | None = None) -> nn.Dense:
    """A linear layer that starts as U(-1/sqrt(in), 1/sqrt(in)), weights and biases, as PyTorch's does.

    dot_general: of its product; None: `jax.lax.dot_general`.
    """
    return nn.Dense(
        width,
        kernel_init=nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
        bias_init=uniform_bias(in_dim),
        dot_general=dot_general,
        name=name,
    )


class Mlp(nn.Module):
    """Linear layers with an activation between them and a linear output: [..., in] -> [..., out].

    Weights and biases start as in PyTorch and so in holosoma (`dense`).
    """

    hidden: tuple[int, ...]
    out: int
    activation: Activation = "elu"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the network to `x` [..., in]."""
        for i, width in enumerate((*self.hidden, self.out)):
            x = dense(width, x.shape[-1])(x)
            x = ACTIVATIONS[self.activation](x) if i < len(self.hidden) else x
        return x


def forward(net: Mlp, params: Params, x: jax.Array) -> jax.Array:
    """What `net` with `params` makes of `x` [..., in]: [..., out]."""
    return cast(jax.Array, net.apply({"params": params}, x))


class ActorParams(NamedTuple):
    """A Gaussian policy: the network of its mean, and its raw (not logarithmic) spread."""

    mlp: Params
    std: jax.Array
    """[A] standard deviation of each action, the same in every state"""


def noise_std(std: jax.Array, floor: jax.Array) -> jax.Array:
    """The standard deviation that is used, max(std, floor) element by element.

    A raw spread can drift below zero, where densities are NaN; the floor is holosoma's own
    option (`min_noise_std`), and minus infinity switches it off. Where it acts, the gradient is 0.
    """
    return jnp.maximum(std, floor)
