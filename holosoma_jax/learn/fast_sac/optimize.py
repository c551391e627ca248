"""From replayed transitions to new networks: `fast_sac.update` and the steps of each network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from holosoma_jax.learn.arrays import zero_invalid
from holosoma_jax.learn.fast_sac import categorical
from holosoma_jax.learn.fast_sac import loss as losses
from holosoma_jax.learn.fast_sac.batch import FastSacBatch, check_batch
from holosoma_jax.learn.fast_sac.loss import ActorLoss, CriticLoss, Losses, Metrics, Rows
from holosoma_jax.learn.fast_sac.networks import CriticParams
from holosoma_jax.learn.fast_sac.state import (
    ActorMetrics,
    FastSacHyper,
    FastSacState,
    FastSacStatic,
)
from holosoma_jax.learn.fast_sac.update_rows import observe, prepare, row_noise
from holosoma_jax.learn.optim import TrainState
from holosoma_jax.learn.pooling import pmean_weighted, weighted_mean

LEAST_RATE = 0.02
"""Share of its learning rate that is left to a run at its end, or beyond."""


class Learner(NamedTuple):
    """What one update changes."""

    actor: TrainState
    critics: TrainState
    log_alpha: TrainState
    target: CriticParams
    actor_metrics: ActorMetrics


def update(
    state: FastSacState,
    batch: FastSacBatch,
    key: jax.Array,
    axis_name: str | None = None,
    loss: Losses = losses.LOSSES,
) -> tuple[FastSacState, Metrics]:
    """Learn from one batch: `num_updates` updates of critics and temperature, some of the actor.

    In this order: the normaliser's statistics move once, by the states and successors of the whole batch;
    then each update takes its rows, adds their mirror images, normalises both, and steps critics,
    temperature, actor if it is its turn, and target.

    Args:
      state: the learner; safe to donate.
      batch: replayed transitions of this device.
      key: random key of the policy's draws.
      axis_name: devices that learn together. Gradients and statistics are pooled, so all hold the same
        state afterwards, and it is the one that a single device with all rows would hold.
      loss: what to minimise; see `Losses` and `docs/fast_sac.md`.

    Returns:
      The new state, and metrics averaged over the updates.

    Raises:
      ValueError: an array of the batch has the wrong shape or type.
    """
    static = state.static
    check_batch(batch, static)
    state = observe(state, batch, axis_name)
    turns = actor_turns(static, state.updates)

    share = annealing(state.hyper, state.updates)
    hyper = state.hyper.replace(target_entropy=entropy_target(state.hyper, share))

    def one(learner: Learner, inputs: tuple[FastSacBatch, jax.Array, jax.Array]) -> tuple[Learner, Metrics]:
        part, key, turn = inputs
        rows = prepare(state, zero_invalid(part, part.valid))
        return step(learner, rows, key, turn, hyper, static, axis_name, loss, share)

    learner = Learner(state.actor, state.critics, state.log_alpha, state.target, state.actor_metrics)
    keys = jax.random.split(key, static.num_updates)
    learner, history = jax.lax.scan(one, learner, (batch, keys, turns))
    state = state.replace(**learner._asdict(), updates=state.updates + 1)
    return state, jax.tree.map(jnp.mean, history)


def annealing(hyper: FastSacHyper, updates: jax.Array) -> jax.Array:
    """[] what the learning rates are multiplied by after `updates` calls: 1, in the end falling to `LEAST_RATE`."""
    left = hyper.total - updates.astype(jnp.float32)
    share = jnp.clip(left / jnp.maximum(hyper.annealed, 1.0), LEAST_RATE, 1.0)
    return jnp.where(hyper.annealed > 0.0, share, 1.0)


def entropy_target(hyper: FastSacHyper, share: jax.Array) -> jax.Array:
    """[] nats: from the first target to the last one as the `share` of the learning rates falls from 1 to 0."""
    return hyper.final_entropy + share * (hyper.target_entropy - hyper.final_entropy)


def actor_turns(static: FastSacStatic, updates: jax.Array) -> jax.Array:
    """Which of the U updates [U] move the actor: i mod K = 1, or with one update every K-th call."""
    if static.num_updates == 1:
        return (updates % static.policy_frequency == 0)[None]
    return jnp.asarray(np.arange(static.num_updates) % static.policy_frequency == 1)


def step(
    learner: Learner,
    rows: Rows,
    key: jax.Array,
    actor_turn: jax.Array,
    hyper: FastSacHyper,
    static: FastSacStatic,
    axis_name: str | None = None,
    loss: Losses = losses.LOSSES,
    share: jax.Array | None = None,
) -> tuple[Learner, Metrics]:
    """One update, in the order critics, temperature, actor if it is its turn, target."""
    next_key, policy_key = jax.random.split(key)
    noise = partial(row_noise, rows=rows, static=static, axis_name=axis_name)
    learner, metrics = critic_step(
        learner, rows, noise(next_key), hyper, static, axis_name, loss.critic, share
    )
    learner = jax.lax.cond(
        actor_turn,
        lambda learner: actor_step(learner, rows, noise(policy_key), static, axis_name, loss.actor, share),
        lambda learner: learner,
        learner,
    )
    last = learner.actor_metrics
    metrics |= {
        "Loss/actor_loss": last.loss,
        "Loss/actor_grad_norm": last.grad_norm,
        "Loss/policy_entropy": last.entropy,
        "Loss/action_std": last.std,
    }
    return polyak_update(learner, hyper), metrics


def critic_step(
    learner: Learner,
    rows: Rows,
    noise: jax.Array,
    hyper: FastSacHyper,
    static: FastSacStatic,
    axis_name: str | None = None,
    loss: CriticLoss = losses.critic_loss,
    share: jax.Array | None = None,
) -> tuple[Learner, Metrics]:
    """A step of the critics, and one of the temperature from the same next actions.

    Args:
      learner: networks and temperature.
      rows: transitions.
      noise: [R, A] standard normal, of the successors' actions.
      hyper: coefficients.
      static: structure.
      axis_name: devices to pool, or None.
      loss: of the critics.
      share: of a step of the critics, []; None: a whole one.
    """
    log_alpha = learner.log_alpha
    actor, target, critics = learner.actor.params, learner.target, learner.critics.params

    def part(rows: Rows, noise: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        following = losses.draw(actor, rows.next_actor_obs, noise, static)
        alpha = jnp.exp(log_alpha.params)
        targets = losses.critic_targets(target, rows, following, alpha, static)
        gradient = jax.value_and_grad(loss, has_aux=True)
        (_, metrics), grads = gradient(critics, rows, targets, static)
        log_prob = weighted_mean(following.log_prob, rows.weight)
        reward = weighted_mean(rows.reward, rows.weight)
        return (metrics, grads, log_prob, reward), _range(targets, rows.weight, static.support)

    means, (low, high) = _mean_of_chunks(part, rows, noise, static.chunk)
    metrics, grads, log_prob, reward = pmean_weighted(means, rows.weight, axis_name)
    if axis_name is not None:
        low, high = jax.lax.pmin(low, axis_name), jax.lax.pmax(high, axis_name)
    moved = learner.critics.apply_gradients(grads, share)
    gradient = jax.value_and_grad(losses.alpha_loss)
    dual, slope = gradient(log_alpha.params, log_prob, hyper.target_entropy)
    if static.autotune:
        log_alpha = log_alpha.apply_gradients(slope)
    return learner._replace(critics=moved, log_alpha=log_alpha), {
        **metrics,
        "Loss/qf_max": high,
        "Loss/qf_min": low,
        "Loss/critic_grad_norm": optax.tree.norm(grads),
        "Loss/buffer_rewards": reward,
        "Loss/alpha_loss": dual,
        "Loss/alpha_value": jnp.exp(log_alpha.params),
    }


def actor_step(
    learner: Learner,
    rows: Rows,
    noise: jax.Array,
    static: FastSacStatic,
    axis_name: str | None = None,
    loss: ActorLoss = losses.actor_loss,
    share: jax.Array | None = None,
) -> Learner:
    """`share` of a step of the actor, from `noise` [R, A], with critics and temperature as they are now."""
    alpha = jnp.exp(learner.log_alpha.params)
    actor, critics = learner.actor.params, learner.critics.params

    def part(rows: Rows, noise: jax.Array) -> tuple[Any, None]:
        gradient = jax.value_and_grad(loss, has_aux=True)
        (value, drawn), grads = gradient(actor, critics, rows, noise, alpha, static)
        entropy = -weighted_mean(drawn.log_prob, rows.weight)
        std = weighted_mean(jnp.mean(jnp.exp(drawn.log_std), axis=-1), rows.weight)
        return (value, grads, entropy, std), None

    means, _ = _mean_of_chunks(part, rows, noise, static.chunk)
    value, grads, entropy, std = pmean_weighted(means, rows.weight, axis_name)
    metrics = ActorMetrics(loss=value, grad_norm=optax.tree.norm(grads), entropy=entropy, std=std)
    return learner._replace(actor=learner.actor.apply_gradients(grads, share), actor_metrics=metrics)


def polyak_update(learner: Learner, hyper: FastSacHyper) -> Learner:
    """The target moved towards the critics by the share tau (Lillicrap et al. 2016)."""
    target = optax.incremental_update(learner.critics.params, learner.target, hyper.tau)
    return learner._replace(target=target)


def _mean_of_chunks(
    part: Callable[[Rows, jax.Array], tuple[Any, Any]], rows: Rows, noise: jax.Array, chunk: int | None
) -> tuple[Any, Any]:
    """`part` of all rows at once, or, so that less memory is touched at a time, of one chunk after another.

    Args:
      part: rows and their noise -> (means over the rows by weight, (a minimum, a maximum) or None).
      rows: R rows.
      noise: [R, A].
      chunk: rows at a time; where R is no larger, or no multiple, all rows are one chunk.
    """
    count = rows.reward.shape[0]
    if chunk is None or count <= chunk or count % chunk:
        return part(rows, noise)
    chunks = jax.tree.map(lambda x: x.reshape(-1, chunk, *x.shape[1:]), (rows, noise))
    weights = jnp.sum(chunks[0].weight, axis=1)
    shares = weights / jnp.maximum(jnp.sum(weights), 1.0)

    def add(sums: Any, inputs: tuple[tuple[Rows, jax.Array], jax.Array]) -> tuple[Any, Any]:
        (rows, noise), share = inputs
        means, extremes = part(rows, noise)
        return jax.tree.map(lambda total, mean: total + share * mean, sums, means), extremes

    shapes = jax.eval_shape(part, *jax.tree.map(lambda x: x[0], chunks))[0]
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    means, extremes = jax.lax.scan(add, nothing, (chunks, shares))
    return means, extremes and (jnp.min(extremes[0]), jnp.max(extremes[1]))


def _range(
    targets: tuple[jax.Array, ...], weight: jax.Array, support: categorical.Support
) -> tuple[jax.Array, jax.Array]:
    """Lowest and highest expected target of any critic and row that counts."""
    values = jnp.stack([categorical.expectation(probs, support) for probs in targets])
    counts = (weight > 0)[None]
    low = jnp.min(jnp.where(counts, values, support.v_max))
    return low, jnp.max(jnp.where(counts, values, support.v_min))
