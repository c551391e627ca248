"""The losses of FastSAC: plain functions of parameters, rows and noise, free of devices and keys.

R = rows, A = actions, Da and Dc = entries of the two observation vectors, n = atoms.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax.learn.arrays import ACTOR_OBS, CRITIC_OBS
from holosoma_jax.learn.fast_sac import categorical, networks, squashed
from holosoma_jax.learn.fast_sac.networks import CriticParams
from holosoma_jax.learn.fast_sac.state import FastSacStatic
from holosoma_jax.learn.networks import Params
from holosoma_jax.learn.pooling import weighted_mean
from holosoma_jax.learn.symmetry import reflect

Metrics: TypeAlias = dict[str, jax.Array]
"""'Group/name' -> scalar."""


class Rows(NamedTuple):
    """What one update learns from; all finite, normalised, mirror images included."""

    actor_obs: jax.Array
    """[R, Da]"""
    critic_obs: jax.Array
    """[R, Dc]"""
    action: jax.Array
    """[R, A]"""
    reward: jax.Array
    """[R]"""
    discount: jax.Array
    """[R] of the successor's value, 0 where nothing follows"""
    next_actor_obs: jax.Array
    """[R, Da]"""
    next_critic_obs: jax.Array
    """[R, Dc]"""
    weight: jax.Array
    """[R] 1 for a row that counts, 0 for one that does not"""


class Draw(NamedTuple):
    """Actions drawn from the policy."""

    action: jax.Array
    """[R, A]"""
    log_prob: jax.Array
    """[R] of the action"""
    log_std: jax.Array
    """[R, A] before squashing"""


def policy(params: Params, obs: jax.Array, static: FastSacStatic) -> tuple[jax.Array, jax.Array]:
    """Mean and log standard deviation [R, A] before squashing, for normalised `obs` [R, Da].

    With symmetric networks the mean of what the network says here and, mirrored back, of the mirror image:
    pi(M s) = M pi(s) for any parameters (Abdolhosseini et al. 2019).
    """
    mirror = static.network_mirror
    if mirror is None:
        return networks.actor(static.actor_net, params, obs)
    both = jnp.concatenate([obs, reflect(obs, mirror.obs[ACTOR_OBS])])
    mean, log_std = networks.actor(static.actor_net, params, both)
    (mean, image_mean), (log_std, image_log_std) = jnp.split(mean, 2), jnp.split(log_std, 2)
    swapped = image_log_std[..., np.array(mirror.action.index)]
    return 0.5 * (mean + reflect(image_mean, mirror.action)), 0.5 * (log_std + swapped)


def draw(params: Params, obs: jax.Array, noise: jax.Array, static: FastSacStatic) -> Draw:
    """One action for each row of normalised `obs` [R, Da], from standard normal `noise` [R, A]."""
    mean, log_std = policy(params, obs, static)
    action, log_prob = squashed.sample(mean, log_std, noise, static.scale, static.log_det)
    return Draw(action, log_prob, log_std)


def logits(
    params: CriticParams, critic_obs: jax.Array, action: jax.Array, static: FastSacStatic
) -> tuple[jax.Array, ...]:
    """Logits [R, n] of every critic, for normalised `critic_obs` [R, Dc] and `action` [R, A].

    With symmetric networks their mean over the pair and its mirror image: Q(M s, M a) = Q(s, a).
    """
    mirror = static.network_mirror
    if mirror is not None:
        image = reflect(critic_obs, mirror.obs[CRITIC_OBS]), reflect(action, mirror.action)
        critic_obs, action = (jnp.concatenate(pair) for pair in zip((critic_obs, action), image, strict=True))
    if static.unit_actions and static.scale is not None:
        action = action / static.scale[None]
    values = networks.critics(static.critic_net, params, jnp.concatenate([critic_obs, action], axis=-1))
    if mirror is None:
        return values
    halves = (jnp.split(value, 2) for value in values)
    return tuple(0.5 * (given + mirrored) for given, mirrored in halves)


def critic_targets(
    target: CriticParams, rows: Rows, following: Draw, alpha: jax.Array, static: FastSacStatic
) -> tuple[jax.Array, ...]:
    """The distribution [R, n] that each critic should predict (Bellemare et al. 2017, algorithm 1).

    Every target network's own distribution of the successor's value, moved by the soft reward (Haarnoja
    et al. 2018): there is no minimum over the ensemble.

    Args:
      target: the slow critics.
      rows: transitions.
      following: the policy's actions in the successors.
      alpha: [] temperature.
      static: support and switches.
    """
    soft_reward = rows.reward - rows.discount * alpha * following.log_prob
    positions = categorical.atom_positions(soft_reward, rows.discount, static.support)
    values = logits(target, rows.next_critic_obs, following.action, static)
    return tuple(categorical.project_distribution(jax.nn.softmax(v, axis=-1), positions) for v in values)


def critic_loss(
    params: CriticParams, rows: Rows, targets: tuple[jax.Array, ...], static: FastSacStatic
) -> tuple[jax.Array, Metrics]:
    """Sum over critics of the mean cross-entropy with their targets [R, n], and the same as a metric."""
    values = logits(params, rows.critic_obs, rows.action, static)
    losses = [
        weighted_mean(-jnp.sum(wanted * jax.nn.log_softmax(given, axis=-1), axis=-1), rows.weight)
        for wanted, given in zip(targets, values, strict=True)
    ]
    total = jnp.sum(jnp.stack(losses))
    return total, {"Loss/qf_loss": total}


def alpha_loss(log_alpha: jax.Array, log_prob: jax.Array, target_entropy: jax.Array) -> jax.Array:
    """-alpha (log pi + target), for the mean [] of log pi: falls with alpha while the entropy is too high."""
    return -jnp.exp(log_alpha) * (log_prob + target_entropy)


def actor_loss(
    params: Params,
    critics: CriticParams,
    rows: Rows,
    noise: jax.Array,
    alpha: jax.Array,
    static: FastSacStatic,
) -> tuple[jax.Array, Draw]:
    """Mean of alpha log pi - Q, where Q is the mean over the ensemble; and the actions it is of."""
    drawn = draw(params, rows.actor_obs, noise, static)
    values = [
        categorical.expectation(jax.nn.softmax(v, axis=-1), static.support)
        for v in logits(critics, rows.critic_obs, drawn.action, static)
    ]
    value = jnp.mean(jnp.stack(values), axis=0)
    return weighted_mean(alpha * drawn.log_prob - value, rows.weight), drawn


class CriticLoss(Protocol):
    """A replaceable loss of the critics, such as `critic_loss`: means over the rows by `Rows.weight`."""

    def __call__(
        self, params: CriticParams, rows: Rows, targets: tuple[jax.Array, ...], static: FastSacStatic
    ) -> tuple[jax.Array, Metrics]:
        """The scalar to minimise, and metrics."""
        ...


class ActorLoss(Protocol):
    """A replaceable loss of the actor, such as `actor_loss`: a mean over the rows by `Rows.weight`."""

    def __call__(
        self,
        params: Params,
        critics: CriticParams,
        rows: Rows,
        noise: jax.Array,
        alpha: jax.Array,
        static: FastSacStatic,
    ) -> tuple[jax.Array, Draw]:
        """The scalar to minimise, and the actions that entropy and spread are logged of."""
        ...


class Losses(NamedTuple):
    """What `fast_sac.update` minimises. On a CPU it calls them with a part of the rows at a time."""

    critic: CriticLoss = critic_loss
    actor: ActorLoss = actor_loss


LOSSES = Losses()
"""The ones of this module."""
