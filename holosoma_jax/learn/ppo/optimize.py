"""The two halves of `ppo.update`: a rollout becomes rows, and the rows become optimiser steps."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from holosoma_jax.learn import optim, returns
from holosoma_jax.learn.arrays import zero_invalid
from holosoma_jax.learn.networks import noise_std
from holosoma_jax.learn.pooling import pmean_weighted
from holosoma_jax.learn.ppo.batch import PpoBatch
from holosoma_jax.learn.ppo.loss import KL, Loss, Metrics, Minibatch, ppo_loss
from holosoma_jax.learn.ppo.state import Pair, PpoHyper, PpoState, PpoStatic

KL_ROUNDING = 1e-8
"""A KL below this, before the first step of an iteration, is rounding: see `_first_kl`."""


def prepare(state: PpoState, batch: PpoBatch, axis_name: str | None = None) -> Minibatch:
    """The rollout as T * N rows (time-major), with advantages and targets; `update`'s first half."""
    hyper, static = state.hyper, state.static
    last_value = zero_invalid(batch.last_value, batch.valid[-1])
    steps = batch._replace(last_value=batch.value)  # all [T, N, ...]
    batch = zero_invalid(steps, batch.valid)._replace(last_value=last_value)
    ended = batch.terminated | batch.truncated
    usable = returns.valid_steps(batch.valid, ended)
    weight = usable.astype(batch.value.dtype)
    bootstrap_failures = static.timeout_bootstrap == "holosoma"
    terminated = batch.terminated & ~batch.truncated if bootstrap_failures else batch.terminated
    advantage = returns.gae(
        batch.reward,
        batch.value,
        returns.next_values(batch.value, batch.last_value, batch.final_value, ended),
        terminated,
        # the advantage of a step that cannot be learnt from reaches no other
        batch.truncated | ~returns.shift_left(usable),
        gamma=hyper.gamma,
        lam=hyper.lam,
    )
    rows = Minibatch(
        actor_obs=batch.actor_obs,
        critic_obs=batch.critic_obs,
        action=batch.action,
        log_prob=batch.log_prob,
        mean=batch.mean,
        std=noise_std(state.actor.params.std, hyper.min_noise_std)[None, None],
        value=batch.value,
        advantage=returns.normalize_advantages(advantage, weight, static.advantage_std, axis_name),
        target=advantage + batch.value,
        weight=weight,
    )
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)


def optimize(
    state: PpoState,
    rows: Minibatch,
    key: jax.Array,
    axis_name: str | None = None,
    loss: Loss = ppo_loss,
) -> tuple[PpoState, Metrics]:
    """Epochs of steps on `rows` [T * N, ...]; `update`'s second half."""
    static = state.static
    keys = jax.random.split(key, static.epochs)
    # One permutation for all epochs also means one gather.
    fixed = None if static.reshuffle else _mini_batches(rows, keys[0], static.mini_batches)

    def epoch(carry: _Learner, key: jax.Array) -> tuple[_Learner, Metrics]:
        batches = _mini_batches(rows, key, static.mini_batches) if fixed is None else fixed
        return jax.lax.scan(step, carry, batches)

    step = partial(_step, hyper=state.hyper, static=static, axis_name=axis_name, loss=loss)
    carry = _Learner(state.actor, state.critic, jnp.zeros((), jnp.int32))
    carry, history = jax.lax.scan(epoch, carry, keys)
    state = state.replace(actor=carry.actor, critic=carry.critic)
    metrics = jax.tree.map(jnp.mean, history)
    for role, lr in (("actor", carry.actor.lr), ("critic", carry.critic.lr)):
        if lr is not None:
            metrics[f"Loss/{role}_learning_rate"] = lr
    metrics["Policy/mean_noise_std"] = jnp.mean(noise_std(carry.actor.params.std, state.hyper.min_noise_std))
    return state, metrics


class _Learner(NamedTuple):
    """What one optimiser step changes."""

    actor: optim.TrainState
    critic: optim.TrainState
    steps: jax.Array
    """[] int32, taken in this iteration"""


def _step(
    learner: _Learner,
    minibatch: Minibatch,
    *,
    hyper: PpoHyper,
    static: PpoStatic,
    axis_name: str | None,
    loss: Loss,
) -> tuple[_Learner, Metrics]:
    """One mini-batch: gradients, pooled over devices; the KL rule; a step of each network."""
    actor, critic = learner.actor, learner.critic
    gradient = jax.value_and_grad(loss, has_aux=True)
    (_, metrics), grads = gradient(Pair(actor.params, critic.params), minibatch, hyper, static)
    grads, metrics = pmean_weighted((grads, metrics), minibatch.weight, axis_name)
    if static.adaptive_lr:
        if KL not in metrics:
            raise ValueError(
                f"the loss returned the metrics {sorted(metrics)}, but algo.config.schedule=adaptive needs "
                f"'{KL}'. Return it, or set algo.config.schedule to fixed."
            )
        kl = _first_kl(metrics[KL], learner.steps)
        actor = _adapt(
            actor, kl, hyper.desired_kl, hyper.min_actor_learning_rate, hyper.max_actor_learning_rate
        )
        critic = _adapt(
            critic, kl, hyper.desired_kl, hyper.min_critic_learning_rate, hyper.max_critic_learning_rate
        )
    actor, critic = actor.apply_gradients(grads.actor), critic.apply_gradients(grads.critic)
    return _Learner(actor, critic, learner.steps + 1), metrics


def _adapt(
    net: optim.TrainState, kl: jax.Array, desired_kl: jax.Array, lr_min: jax.Array, lr_max: jax.Array
) -> optim.TrainState:
    """`net` with the learning rate that the KL rule gives it."""
    if net.lr is None:
        raise ValueError(
            "algo.config.schedule=adaptive needs an optimiser that keeps its learning_rate in its state. "
            "Build it with optax.inject_hyperparams, or set algo.config.schedule to fixed."
        )
    return net.with_hyperparams(learning_rate=optim.adapt_lr(net.lr, kl, desired_kl, lr_min, lr_max))


def _first_kl(kl: jax.Array, steps: jax.Array) -> jax.Array:
    """The KL that the rate rule sees.

    Before the first step of an iteration the policy is the one that acted, so its KL is 0 but for
    rounding. The rule leaves the rates alone at exactly 0 and raises them at any tiny positive value:
    which it is would depend on the build. So the first one is always read as tiny and positive, as it
    nearly always was in holosoma.
    """
    return jnp.where((steps == 0) & (kl < KL_ROUNDING), KL_ROUNDING, kl)


def _mini_batches(rows: Minibatch, key: jax.Array, count: int) -> Minibatch:
    """`rows` in random order as [count, B, ...]; what does not fill the last one is left out."""
    total = rows.weight.shape[0]
    size = total // count
    order = jax.random.permutation(key, total)[: count * size].reshape(count, size)
    std = jnp.broadcast_to(rows.std[None], (count, *rows.std.shape))
    batches = jax.tree.map(lambda x: x[order], rows._replace(std=rows.weight))
    return batches._replace(std=std)
