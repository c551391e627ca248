"""The losses of PPO: plain functions of parameters and a mini-batch, free of devices and keys.

B = rows of a mini-batch, A = actions, Da and Dc = entries of the two observation vectors.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp

from holosoma_jax.learn.arrays import ACTOR_OBS, CRITIC_OBS
from holosoma_jax.learn.networks import ActorParams, Params, forward, noise_std
from holosoma_jax.learn.pooling import weighted_mean
from holosoma_jax.learn.ppo import gaussian
from holosoma_jax.learn.ppo.state import Pair, PpoHyper, PpoStatic
from holosoma_jax.learn.symmetry import reflect

Metrics: TypeAlias = dict[str, jax.Array]
"""'Group/name' -> scalar."""

KL = "Loss/KL"
"""The metric that moves the learning rates: KL(policy that acted || policy now), pooled over rows."""


class Minibatch(NamedTuple):
    """Rows to learn from. All are finite; a row whose weight is 0 must not matter."""

    actor_obs: jax.Array
    """[B, Da] as the policy saw it (normalised)"""
    critic_obs: jax.Array
    """[B, Dc] as the critic saw it"""
    action: jax.Array
    """[B, A]"""
    log_prob: jax.Array
    """[B] of the action, when it was taken"""
    mean: jax.Array
    """[B, A] of the policy that acted"""
    std: jax.Array
    """[1, A] of the policy that acted"""
    value: jax.Array
    """[B] of the critic, when the action was taken"""
    advantage: jax.Array
    """[B] standardised over the whole rollout"""
    target: jax.Array
    """[B] return that the critic should predict"""
    weight: jax.Array
    """[B] 1 for a row that counts, 0 for one that does not"""


class Loss(Protocol):
    """A replaceable loss of both networks, such as `ppo_loss`."""

    def __call__(
        self, params: Pair, minibatch: Minibatch, hyper: PpoHyper, static: PpoStatic
    ) -> tuple[jax.Array, Metrics]:
        """The scalar to minimise and metrics; with adaptive rates, among them `KL`."""
        ...


def policy(
    params: ActorParams, obs: jax.Array, hyper: PpoHyper, static: PpoStatic
) -> tuple[jax.Array, jax.Array]:
    """Mean [..., A] and standard deviation [A] of the actions, for normalised `obs` [..., Da].

    Where the spec has a prior, its columns are raw, and the network's output is added to the action they ask for.
    """
    mean = forward(static.actor_net, params.mlp, obs)
    if static.spec.prior is not None:
        mean = mean + static.spec.prior.action(obs)
    return mean, noise_std(params.std, hyper.min_noise_std)


def value(params: Params, obs: jax.Array, static: PpoStatic) -> jax.Array:
    """Value [...] of the states with normalised `obs` [..., Dc]."""
    return forward(static.critic_net, params, obs)[..., 0]


def surrogate_loss(log_ratio: jax.Array, advantage: jax.Array, clip: jax.Array) -> jax.Array:
    """The clipped surrogate of each row (Schulman et al. 2017, equation 7), to be minimised."""
    ratio = jnp.exp(log_ratio)
    return jnp.maximum(-advantage * ratio, -advantage * jnp.clip(ratio, 1.0 - clip, 1.0 + clip))


def value_loss(
    value: jax.Array, old_value: jax.Array, target: jax.Array, clip: jax.Array | None
) -> jax.Array:
    """Squared error of each row, or the larger one of the value and of its clipped update."""
    error = jnp.square(value - target)
    if clip is None:
        return error
    clipped = old_value + jnp.clip(value - old_value, -clip, clip)
    return jnp.maximum(error, jnp.square(clipped - target))


def ppo_loss(
    params: Pair, minibatch: Minibatch, hyper: PpoHyper, static: PpoStatic
) -> tuple[jax.Array, Metrics]:
    """The loss of actor and critic (Schulman et al. 2017, equation 9, each network with its own part).

    With symmetry, every row counts a second time as its mirror image, with the log-probability, value,
    advantage and target of the original; entropy and KL are those of the original rows.

    Args:
      params: parameters of both networks.
      minibatch: rows to learn from.
      hyper: coefficients.
      static: networks, mirror and switches.

    Returns:
      The sum of the two losses (their parameters are disjoint, so its gradient is both gradients), and
      metrics under holosoma's names.
    """
    rows, mirror = minibatch, static.mirror
    mean, std = policy(params.actor, rows.actor_obs, hyper, static)
    values = value(params.critic, rows.critic_obs, static)
    surrogate, value_error = _losses(mean, std, values, rows, hyper, static)
    mirror_actor = mirror_critic = jnp.zeros(())
    if mirror is not None:
        image = rows._replace(
            actor_obs=reflect(rows.actor_obs, mirror.obs[ACTOR_OBS]),
            critic_obs=reflect(rows.critic_obs, mirror.obs[CRITIC_OBS]),
            action=reflect(rows.action, mirror.action),
        )
        image_mean, _ = policy(params.actor, image.actor_obs, hyper, static)
        image_values = value(params.critic, image.critic_obs, static)
        losses = _losses(image_mean, std, image_values, image, hyper, static)
        surrogate, value_error = 0.5 * (surrogate + losses[0]), 0.5 * (value_error + losses[1])
        asymmetry = jnp.mean(jnp.square(image_mean - reflect(mean, mirror.action)), axis=-1)
        mirror_actor = weighted_mean(asymmetry, rows.weight)
        mirror_critic = weighted_mean(jnp.square(values - image_values), rows.weight)

    entropy = gaussian.entropy(std)
    actor_loss = surrogate - hyper.entropy_coef * entropy + hyper.symmetry_actor_coef * mirror_actor
    critic_loss = hyper.value_loss_coef * value_error + hyper.symmetry_critic_coef * mirror_critic
    kl = weighted_mean(gaussian.kl(rows.mean, rows.std, mean, std), rows.weight)
    return actor_loss + critic_loss, {
        "Loss/Value": value_error,
        "Loss/Surrogate": surrogate,
        "Loss/Entropy": entropy,
        KL: jax.lax.stop_gradient(kl),
        "Loss/actor_loss": actor_loss,
        "Loss/critic_loss": critic_loss,
        "Loss/symmetry_actor_loss": mirror_actor,
        "Loss/symmetry_critic_loss": mirror_critic,
    }


def _losses(
    mean: jax.Array,
    std: jax.Array,
    values: jax.Array,
    rows: Minibatch,
    hyper: PpoHyper,
    static: PpoStatic,
) -> tuple[jax.Array, jax.Array]:
    """Mean surrogate and value losses of `rows`, given what the networks say of them."""
    log_ratio = gaussian.log_prob(rows.action, mean, std) - rows.log_prob
    # Rows that do not count hold placeholders, whose ratio could overflow: 0 * inf is NaN.
    log_ratio = jnp.where(rows.weight > 0, log_ratio, 0.0)
    surrogate = surrogate_loss(log_ratio, rows.advantage, hyper.clip_param)
    clip = hyper.clip_param if static.clip_value_loss else None
    error = value_loss(values, rows.value, rows.target, clip)
    return weighted_mean(surrogate, rows.weight), weighted_mean(error, rows.weight)
