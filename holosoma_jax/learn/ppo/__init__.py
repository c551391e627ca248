"""Proximal policy optimisation as pure functions of one state; `learner` shows how they go together."""

from __future__ import annotations

from holosoma_jax.learn.ppo.batch import PpoBatch
from holosoma_jax.learn.ppo.learner import PpoExtras, act, mode, observe, policy_fn, update, value
from holosoma_jax.learn.ppo.loss import KL, Loss, Metrics, Minibatch, ppo_loss
from holosoma_jax.learn.ppo.optimize import optimize, prepare
from holosoma_jax.learn.ppo.state import (
    Pair,
    PpoHyper,
    PpoSpec,
    PpoState,
    apply_new_hyperparams,
    hyper_from,
    init,
    reset_optimizer,
)

__all__ = [
    "KL",
    "Loss",
    "Metrics",
    "Minibatch",
    "Pair",
    "PpoBatch",
    "PpoExtras",
    "PpoHyper",
    "PpoSpec",
    "PpoState",
    "act",
    "apply_new_hyperparams",
    "hyper_from",
    "init",
    "mode",
    "observe",
    "optimize",
    "policy_fn",
    "ppo_loss",
    "prepare",
    "reset_optimizer",
    "update",
    "value",
]
