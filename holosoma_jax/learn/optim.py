"""Optimisers as Optax chains, and the learning rate that follows the KL divergence."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from holosoma_jax.config.schema import OptimizerConfig

LR_FACTOR = 1.5
"""By how much one step of the KL rule changes a learning rate."""

NO_LIMIT = float(np.finfo(np.float32).max)
"""`max_grad_norm` of an optimiser that does not clip; finite, as everything in a checked state is."""


class TrainState(struct.PyTreeNode):
    """Parameters of one network with their optimiser; Flax's class of this name without `apply_fn`."""

    params: Any
    opt_state: optax.OptState
    tx: optax.GradientTransformation = struct.field(pytree_node=False)

    @classmethod
    def create(cls, params: Any, tx: optax.GradientTransformation) -> TrainState:
        """`params` before their first step with `tx`."""
        return cls(params=params, opt_state=tx.init(params), tx=tx)

    def apply_gradients(self, grads: Any, share: jax.Array | None = None) -> TrainState:
        """The state after one step of `tx`, or after `share` [] of one, which is a step at that share of its rate."""
        # Optax raises float32 scalars to int32 powers, which strict promotion forbids.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = self.tx.update(grads, self.opt_state, self.params)
            updates = updates if share is None else optax.tree.scale(share, updates)
            params = optax.apply_updates(self.params, updates)
        return self.replace(params=params, opt_state=opt_state)

    @property
    def lr(self) -> jax.Array | None:
        """[] the learning rate; None where `tx` does not keep it in its state."""
        return optax.tree.get(self.opt_state, "learning_rate")

    def with_hyperparams(self, **values: jax.Array | float) -> TrainState:
        """The state with other hyper-parameters, such as `learning_rate`.

        Raises:
          ValueError: `tx` does not keep one of them in its state.
        """
        arrays = {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}
        try:
            return self.replace(opt_state=optax.tree.set(self.opt_state, **arrays))
        except KeyError:
            raise ValueError(
                f"the optimiser does not keep all of {', '.join(values)} in its state. "
                "Build it with optax.inject_hyperparams, or set algo.config.schedule to fixed."
            ) from None

    def with_hyperparams_of(self, other: TrainState) -> TrainState:
        """The state with all hyper-parameters of `other`; moments and counts stay."""
        return self.with_hyperparams(**optax.tree.get(other.opt_state, "hyperparams", default={}))


def clip_by_global_norm(max_norm: jax.Array | float) -> optax.GradientTransformation:
    """Scale gradients by min(1, max_norm / (norm + 1e-6)), where norm is that of all entries together.

    As `torch.nn.utils.clip_grad_norm_`; Optax's function of this name has no 1e-6.
    """

    def clip(grads: Any, _: Any) -> Any:
        factor = jnp.minimum(1.0, max_norm / (optax.tree.norm(grads) + 1e-6))
        return jax.tree.map(lambda g: factor * g, grads)

    return optax.stateless(clip)


@optax.inject_hyperparams
def clipped_adamw(
    learning_rate: float, b1: float, b2: float, eps: float, weight_decay: float, max_grad_norm: float
) -> optax.GradientTransformationExtraArgs:
    """AdamW (Loshchilov and Hutter 2019) on clipped gradients; the numbers are leaves of its state.

    p' = p - lr (m / (sqrt(v) + eps) + weight_decay p), with the bias-corrected moments m and v. The
    decay reaches every parameter, biases and a policy's standard deviation included.
    """
    return optax.chain(
        clip_by_global_norm(max_grad_norm),
        optax.adamw(learning_rate, b1, b2, eps, weight_decay=weight_decay),
    )


ADAMW = clipped_adamw(1e-3, 0.9, 0.999, 1e-8, 0.0, NO_LIMIT)
"""One object for all configurations, whose numbers `adamw_state` sets: learners that differ only in
numbers have the same structure, so they share a compiled function and `jax.vmap` sweeps them."""


def adamw_state(params: Any, cfg: OptimizerConfig, lr: float, max_grad_norm: float = NO_LIMIT) -> TrainState:
    """`params` before their first step of AdamW."""
    return TrainState.create(params, ADAMW).with_hyperparams(
        learning_rate=lr,
        b1=cfg.b1,
        b2=cfg.b2,
        eps=cfg.eps,
        weight_decay=cfg.weight_decay,
        max_grad_norm=max_grad_norm,
    )


def adapt_lr(
    lr: jax.Array, kl: jax.Array, desired_kl: jax.Array, lr_min: jax.Array, lr_max: jax.Array
) -> jax.Array:
    """The rate after one step of the KL rule; all arguments are scalars.

    kl > 2 desired: lr / 1.5, but not below lr_min. 0 < kl < desired / 2: 1.5 lr, but not above
    lr_max. Else, and where kl is NaN: unchanged. The rule is rsl_rl's and holosoma's.
    """
    slower, faster = jnp.maximum(lr_min, lr / LR_FACTOR), jnp.minimum(lr_max, lr * LR_FACTOR)
    lr = jnp.where((kl > 0.0) & (kl < 0.5 * desired_kl), faster, lr)
    return jnp.where(kl > 2.0 * desired_kl, slower, lr)
