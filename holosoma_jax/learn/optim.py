"""One optimiser step of one network: norm clip, AdamW, and a learning rate that follows the KL."""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from flax import struct

LR_FACTOR = 1.5
"""By how much one step of the KL rule changes a learning rate."""


class AdamHyper(struct.PyTreeNode):
    """Settings of one optimiser that a sweep may vary: scalars, traced."""

    b1: jax.Array
    b2: jax.Array
    eps: jax.Array
    weight_decay: jax.Array
    lr_min: jax.Array
    lr_max: jax.Array


class Trainable(struct.PyTreeNode):
    """Parameters with what moves them."""

    params: Any
    adam: optax.ScaleByAdamState
    """first and second moment, and the number of steps taken"""
    lr: jax.Array
    """[] the learning rate; the KL rule changes it"""


def fresh(params: Any, lr: float) -> Trainable:
    """`params` before their first step, with the initial learning rate `lr`."""
    adam = cast(optax.ScaleByAdamState, optax.scale_by_adam().init(params))
    return Trainable(params=params, adam=adam, lr=jnp.asarray(lr, jnp.float32))


def adapt_lr(
    lr: jax.Array, kl: jax.Array, desired_kl: jax.Array, lr_min: jax.Array, lr_max: jax.Array
) -> jax.Array:
    """The rate after one step of the KL rule (PPO spec, section 10); all arguments are scalars.

    kl > 2 desired: lr / 1.5, but not below lr_min. 0 < kl < desired / 2: 1.5 lr, but not above
    lr_max. Else, and where kl is NaN: unchanged.
    """
    slower, faster = jnp.maximum(lr_min, lr / LR_FACTOR), jnp.minimum(lr_max, lr * LR_FACTOR)
    lr = jnp.where((kl > 0.0) & (kl < 0.5 * desired_kl), faster, lr)
    return jnp.where(kl > 2.0 * desired_kl, slower, lr)


def clip_by_norm(grads: Any, max_norm: jax.Array) -> Any:
    """`grads` scaled by min(1, max_norm / (norm + 1e-6)), where norm is that of all entries together."""
    norm = optax.tree.norm(grads)
    factor = jnp.minimum(1.0, max_norm / (norm + 1e-6))
    return jax.tree.map(lambda g: factor * g, grads)


def descend(trainable: Trainable, grads: Any, hyper: AdamHyper, max_norm: jax.Array) -> Trainable:
    """One step of AdamW (Loshchilov and Hutter 2019) along the clipped gradients.

    p' = p - lr (m / (sqrt(v) + eps) + weight_decay p), with the bias-corrected moments m and v. The
    decay reaches every parameter, biases and the policy's standard deviation included.
    """
    grads = clip_by_norm(grads, max_norm)
    # Optax raises float32 scalars to int32 powers, which strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"):
        scale = optax.scale_by_adam(hyper.b1, hyper.b2, hyper.eps)
        direction, adam = scale.update(grads, trainable.adam)
    params = jax.tree.map(
        lambda p, d: p - trainable.lr * (d + hyper.weight_decay * p), trainable.params, direction
    )
    return trainable.replace(params=params, adam=cast(optax.ScaleByAdamState, adam))
