"""A learner of one's own: REINFORCE (Williams 1992) with reward to go and a linear Gaussian policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from holosoma_jax.learn.learner import ConsoleMetric, Learner

STD = 0.3


@dataclass(frozen=True)
class PolicyGradientConfig:
    """Settings of `LEARNER`."""

    num_learning_iterations: int = 100
    """Iterations in total."""
    num_steps_per_env: int = 24
    """Control steps per environment in one iteration."""
    save_interval: int = 50
    """Iterations between checkpoints."""
    learning_rate: float = 0.05
    """Step size."""
    gamma: float = 0.95
    """Discount per control step."""


class State(struct.PyTreeNode):
    """What is learnt, and the settings it is learnt with."""

    weight: jax.Array  # [A, D]
    bias: jax.Array  # [A]
    learning_rate: jax.Array
    gamma: jax.Array


class Extras(NamedTuple):
    """What `act` says beside the action."""

    obs: jax.Array


class Batch(NamedTuple):
    """What `update` gets of a rollout, [T, N, ...]."""

    obs: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    valid: jax.Array


def init(key, spec, cfg: PolicyGradientConfig) -> State:
    """A policy that does next to nothing."""
    shape = (spec.action_dim, spec.obs_dims["actor_obs"])
    return State(
        weight=0.01 * jax.random.normal(key, shape),
        bias=jnp.zeros(spec.action_dim),
        learning_rate=jnp.float32(cfg.learning_rate),
        gamma=jnp.float32(cfg.gamma),
    )


def mode(state: State, obs):
    """The mean action [..., A] for observations [..., D]."""
    return jnp.einsum("ad,...d->...a", state.weight, obs) + jnp.broadcast_to(
        state.bias, (*obs.shape[:-1], len(state.bias))
    )


def act(state: State, obs, key):
    """The mean action and noise."""
    mean = mode(state, obs["actor_obs"])
    return mean + STD * jax.random.normal(key, mean.shape), Extras(obs["actor_obs"])


def reward_to_go(reward, done, gamma):
    """Discounted sums [T, N] of the rewards up to the end of the episode or of the rollout."""

    def add(after, now):
        total = now[0] + gamma * jnp.where(now[1], 0.0, after)
        return total, total

    return jax.lax.scan(add, jnp.zeros_like(reward[0]), (reward, done), reverse=True)[1]


def update(state: State, batch: Batch, key, axis_name=None):
    """One step along the gradient of sum log pi(a|s) (G - mean G)."""
    del key
    togo = reward_to_go(batch.reward, batch.terminated | batch.truncated, state.gamma)
    weight = batch.valid.astype(jnp.float32)
    advantage = togo - (weight * togo).sum() / weight.sum()
    advantage = advantage / (jnp.sqrt((weight * advantage**2).sum() / weight.sum()) + 1e-6)

    def loss(params):
        mean = mode(state.replace(weight=params[0], bias=params[1]), batch.obs)
        log_prob = -0.5 * jnp.square((batch.action - mean) / STD).sum(-1)
        return -(weight * advantage * log_prob).sum() / weight.sum()

    params = (state.weight, state.bias)
    value, grads = jax.value_and_grad(loss)(params)
    if axis_name is not None:
        grads = jax.lax.pmean(grads, axis_name)
    norm = jnp.sqrt(sum(jnp.sum(g**2) for g in grads))
    scale = state.learning_rate / jnp.maximum(norm, 1.0)
    moved = jax.tree.map(lambda p, g: p - scale * g, params, grads)
    return state.replace(weight=moved[0], bias=moved[1]), {"Loss/policy": value, "Loss/grad_norm": norm}


def apply_new_hyperparams(saved: State, fresh: State, cfg, before) -> State:
    """The saved policy with this session's settings."""
    return saved.replace(learning_rate=fresh.learning_rate, gamma=fresh.gamma)


def check(config, refuse) -> None:
    """What the types of the settings cannot say."""
    if not 0.0 <= config.algo.config.gamma < 1.0:
        refuse("algo.config.gamma", config.algo.config.gamma, "at least 0 and less than 1")


LEARNER = Learner(
    name="policy_gradient",
    kind="on_policy",
    config=PolicyGradientConfig,
    init=init,
    act=act,
    update=update,
    mode=mode,
    batch=Batch,
    apply_new_hyperparams=apply_new_hyperparams,
    check=check,
    console=(ConsoleMetric("policy loss", "Loss/policy", "{:.3f}", in_line="policy loss"),),
)
