"""Proximal policy optimisation as pure functions of one state.

::

    state = ppo.init(key, spec, cfg)
    state = ppo.observe(state, obs)                 # each control step: the normaliser's statistics
    action, extras = ppo.act(state, obs, key)
    state, metrics = ppo.update(state, batch, key)  # once per rollout

Nothing here jits, keeps state, or draws without a key. `jax.vmap` runs many learners at once, over
seeds or over `state.hyper`; `axis_name` runs one learner on many devices.

T = control steps of a rollout, N = environments of this device, A = actions, Da and Dc = entries of
the two observation vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from holosoma_jax.learn import normalizer
from holosoma_jax.learn.arrays import ACTOR_OBS, CRITIC_OBS
from holosoma_jax.learn.ppo import gaussian
from holosoma_jax.learn.ppo import loss as losses
from holosoma_jax.learn.ppo.batch import PpoBatch, check_batch, check_obs
from holosoma_jax.learn.ppo.loss import Loss, Metrics, ppo_loss
from holosoma_jax.learn.ppo.optimize import optimize, prepare
from holosoma_jax.learn.ppo.state import PpoState
from holosoma_jax.learn.symmetry import reflect

Observations = Mapping[str, jax.Array]
"""Observation group -> [N, dim], raw; 'actor_obs' and 'critic_obs' are read."""


class PpoExtras(NamedTuple):
    """What `act` knows beside the action, to be stored with the transition."""

    actor_obs: jax.Array
    """[N, Da] normalised"""
    critic_obs: jax.Array
    """[N, Dc] normalised"""
    log_prob: jax.Array
    """[N] of the action"""
    mean: jax.Array
    """[N, A] of the policy"""
    value: jax.Array
    """[N]"""


def observe(state: PpoState, obs: Observations, axis_name: str | None = None) -> PpoState:
    """Move the normaliser's statistics by one batch of raw observations [N, dim].

    To be called once per control step, before `act` sees the same observations; not in evaluation. It
    does nothing unless the configuration normalises. With symmetry the mirror images are counted too:
    only a mirror-symmetric normaliser commutes with the mirror.
    """
    static = state.static
    if not static.normalize:
        return state
    check_obs(obs, static)
    stats: list[normalizer.RunningStats] = []
    for group, before in ((ACTOR_OBS, state.actor_stats), (CRITIC_OBS, state.critic_stats)):
        x = obs[group]
        if static.mirror is not None:
            x = jnp.concatenate([x, reflect(x, static.mirror.obs[group])])
        stats.append(normalizer.update(before, x, merge=static.variance_merge, axis_name=axis_name))
    return state.replace(actor_stats=stats[0], critic_stats=stats[1])


def act(state: PpoState, obs: Observations, key: jax.Array) -> tuple[jax.Array, PpoExtras]:
    """Sample an action [N, A] for each environment.

    Args:
      state: the learner; its normaliser is applied, not moved.
      obs: raw observations.
      key: random key of this step.

    Returns:
      Unclipped actions, and what `update` needs to know of them.

    Raises:
      ValueError: a group is missing or of the wrong shape.
    """
    check_obs(obs, state.static)
    actor_obs = _seen(state, obs[ACTOR_OBS])
    critic_obs = _normalized(state, state.critic_stats, obs[CRITIC_OBS])
    mean, std = losses.policy(state.actor.params, actor_obs, state.hyper, state.static)
    action = gaussian.sample(key, mean, std)
    return action, PpoExtras(
        actor_obs=actor_obs,
        critic_obs=critic_obs,
        log_prob=gaussian.log_prob(action, mean, std),
        mean=mean,
        value=losses.value(state.critic.params, critic_obs, state.static),
    )


def mode(state: PpoState, actor_obs: jax.Array) -> jax.Array:
    """The most likely action [..., A] for raw observations [..., Da]: what evaluation and export use."""
    obs = _seen(state, actor_obs)
    return losses.policy(state.actor.params, obs, state.hyper, state.static)[0]


def policy_fn(state: PpoState) -> Callable[[jax.Array], jax.Array]:
    """The deterministic policy, raw observations [N, Da] -> actions [N, A], normaliser included."""
    return partial(mode, state)


def value(state: PpoState, critic_obs: jax.Array) -> jax.Array:
    """Value [...] of the states with raw critic observations [..., Dc]."""
    obs = _normalized(state, state.critic_stats, critic_obs)
    return losses.value(state.critic.params, obs, state.static)


def update(
    state: PpoState,
    batch: PpoBatch,
    key: jax.Array,
    axis_name: str | None = None,
    loss: Loss = ppo_loss,
) -> tuple[PpoState, Metrics]:
    """Learn from one rollout: epochs times mini-batches of steps on both networks.

    Args:
      state: the learner that acted; safe to donate.
      batch: its rollout on this device.
      key: random key of this iteration's permutation.
      axis_name: devices that learn together. Gradients, KL and the advantages' moments are pooled, so
        all hold the same state afterwards. Each permutes its own rows, and the k-th mini-batches of
        all devices make one step.
      loss: what to minimise; see `Loss` and `docs/ppo.md`.

    Returns:
      The new state, and metrics averaged over all steps (learning rates and spread: the last ones).

    Raises:
      ValueError: an array of the batch has the wrong shape, or there are too few rows.
    """
    check_batch(batch, state.static)
    rows = prepare(state, batch, axis_name)
    return optimize(state, rows, key, axis_name, loss)


def _seen(state: PpoState, obs: jax.Array) -> jax.Array:
    """Raw observations [..., Da] as the policy takes them."""
    normalized, prior = _normalized(state, state.actor_stats, obs), state.static.spec.prior
    return normalized if prior is None else prior.keep_raw(normalized, obs)


def _normalized(state: PpoState, stats: normalizer.RunningStats, obs: jax.Array) -> jax.Array:
    return normalizer.normalize(stats, obs) if state.static.normalize else obs
