"""The networks of FastSAC: an actor with two heads, and an ensemble of categorical critics.

Hidden layers are linear, layer norm, SiLU; widths h, h/2, h/4. Everything is float32 but, with `bf16`,
the factors of matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
from flax import linen as nn

from holosoma_jax.learn.networks import Params, dense
from holosoma_jax.learn.products import bf16_dot_general

CriticParams: TypeAlias = tuple[Params, ...]
"""An ensemble. A tuple of networks, not one with a leading axis: docs/fast_sac.md says why."""

NORM_EPS = 1e-5
"""Added to the variance inside the root of a layer norm."""


def _product(bf16: bool) -> Callable[..., jax.Array]:
    return bf16_dot_general if bf16 else jax.lax.dot_general


class Trunk(nn.Module):
    """Three hidden layers: [..., in] -> [..., hidden / 4]."""

    hidden: int
    layer_norm: bool = True
    bf16: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the layers to `x` [..., in]."""
        for width in (self.hidden, self.hidden // 2, self.hidden // 4):
            x = dense(width, x.shape[-1], _product(self.bf16))(x)
            if self.layer_norm:
                x = nn.LayerNorm(NORM_EPS, use_fast_variance=False)(x)
            x = nn.silu(x)
        return x


class Actor(nn.Module):
    """A Gaussian policy: trunk and two linear heads, which start at zero.

    So it starts at the default pose with a middling spread.
    """

    hidden: int
    action_dim: int
    log_std_range: tuple[float, float]
    layer_norm: bool = True
    bf16: bool = False

    def setup(self) -> None:
        """The parts."""
        zeros, product = nn.initializers.zeros, _product(self.bf16)
        self.trunk = Trunk(self.hidden, self.layer_norm, self.bf16)
        self.mean_head = nn.Dense(self.action_dim, kernel_init=zeros, dot_general=product)
        self.log_std_head = nn.Dense(self.action_dim, kernel_init=zeros, dot_general=product)

    def __call__(self, obs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and logarithm of the standard deviation, both [..., A], for normalised `obs` [..., Da].

        The second head is squashed into `log_std_range` by tanh.
        """
        z = self.trunk(obs)
        low, high = self.log_std_range
        return self.mean_head(z), low + 0.5 * (high - low) * (jnp.tanh(self.log_std_head(z)) + 1.0)

    def mean(self, obs: jax.Array) -> jax.Array:
        """The mean alone: what is exported."""
        return self.mean_head(self.trunk(obs))


class Critic(nn.Module):
    """Logits of the return's distribution: trunk and one linear head."""

    hidden: int
    atoms: int
    layer_norm: bool = True
    bf16: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits [..., atoms] for [normalised observation, action] vectors `x` [..., in]."""
        z = Trunk(self.hidden, self.layer_norm, self.bf16, name="trunk")(x)
        return dense(self.atoms, z.shape[-1], _product(self.bf16), name="head")(z)


def actor(net: Actor, params: Params, obs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What `net` with `params` makes of `obs`."""
    return cast(tuple[jax.Array, jax.Array], net.apply({"params": params}, obs))


def float32_mean(net: Actor, params: Params, obs: jax.Array) -> jax.Array:
    """`actor`'s mean in float32, also where training is not: what a robot's runtime computes."""
    return cast(jax.Array, net.clone(bf16=False).apply({"params": params}, obs, method=Actor.mean))


def critics(net: Critic, params: CriticParams, x: jax.Array) -> tuple[jax.Array, ...]:
    """Logits [..., atoms] of every critic for `x` [..., in]."""
    return tuple(cast(jax.Array, net.apply({"params": one}, x)) for one in params)


def init(net: nn.Module, key: jax.Array, in_dim: int) -> Any:
    """Parameters of `net` before training, for inputs of `in_dim` entries."""
    return net.init(key, jnp.zeros((1, in_dim), jnp.float32))["params"]
