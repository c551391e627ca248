"""Losses of one's own, for `--algo.loss`."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from holosoma_jax.learn import fast_sac, ppo
from holosoma_jax.learn.ppo.loss import policy


def small_actions(params, minibatch, hyper, static):
    """PPO's loss, with a penalty on large mean actions."""
    loss, metrics = ppo.ppo_loss(params, minibatch, hyper, static)
    size = jnp.mean(jnp.square(policy(params.actor, minibatch.actor_obs, hyper, static)[0]))
    return loss + size, {**metrics, "Loss/action_size": size}


def halved_critic(params, rows, targets, static):
    """Half of FastSAC's critic loss, under another name too."""
    loss, metrics = fast_sac.critic_loss(params, rows, targets, static)
    return 0.5 * loss, {**metrics, "Loss/halved": jax.lax.stop_gradient(0.5 * loss)}


HALVED = fast_sac.Losses(critic=halved_critic)


def not_finite(params, minibatch, hyper, static):
    """PPO's loss, gone wrong."""
    loss, metrics = ppo.ppo_loss(params, minibatch, hyper, static)
    return loss * jnp.nan, metrics
