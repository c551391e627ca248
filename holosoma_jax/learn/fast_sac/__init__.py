"""FastSAC, soft actor-critic for thousands of environments; `learner` shows how its functions go together."""

from __future__ import annotations

from holosoma_jax.learn.fast_sac.batch import FastSacBatch, check_batch
from holosoma_jax.learn.fast_sac.learner import FastSacExtras, act, mode, policy_fn
from holosoma_jax.learn.fast_sac.loss import Losses, Metrics, actor_loss, critic_loss
from holosoma_jax.learn.fast_sac.optimize import update
from holosoma_jax.learn.fast_sac.state import (
    FastSacHyper,
    FastSacSpec,
    FastSacState,
    FastSacStatic,
    Optimizers,
    apply_new_hyperparams,
    hyper_from,
    init,
)

__all__ = [
    "FastSacBatch",
    "FastSacExtras",
    "FastSacHyper",
    "FastSacSpec",
    "FastSacState",
    "FastSacStatic",
    "Losses",
    "Metrics",
    "Optimizers",
    "act",
    "actor_loss",
    "apply_new_hyperparams",
    "check_batch",
    "critic_loss",
    "hyper_from",
    "init",
    "mode",
    "policy_fn",
    "update",
]
