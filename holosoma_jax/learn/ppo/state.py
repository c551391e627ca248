"""What PPO keeps between calls: the state, its static half, and the numbers a sweep may vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from holosoma_jax.config.schema import OptimizerConfig, PpoConfig
from holosoma_jax.learn import normalizer, optim, prior, returns
from holosoma_jax.learn.arrays import ACTOR_OBS, CRITIC_OBS, f32
from holosoma_jax.learn.checks import check_dims
from holosoma_jax.learn.networks import ActorParams, Mlp, Params
from holosoma_jax.learn.prior import ActionPrior
from holosoma_jax.learn.symmetry import Mirror, check_mirror


class Pair(NamedTuple):
    """The same thing for both networks."""

    actor: Any
    critic: Any


@dataclass(frozen=True)
class PpoSpec:
    """What PPO has to know of an environment."""

    actor_obs_dim: int
    critic_obs_dim: int
    action_dim: int
    mirror: Mirror | None = None
    """of the groups 'actor_obs' and 'critic_obs' and of the action; needed if `use_symmetry`"""
    prior: ActionPrior | None = None
    """what the mean of the policy is added to"""


@dataclass(frozen=True)
class PpoStatic:
    """What decides the compiled program: shapes, counts and switches. Hashable."""

    spec: PpoSpec
    actor_net: Mlp
    critic_net: Mlp
    mirror: Mirror | None
    """None: no symmetry"""
    epochs: int
    mini_batches: int
    reshuffle: bool
    adaptive_lr: bool
    clip_value_loss: bool
    normalize: bool
    variance_merge: normalizer.VarianceMerge
    timeout_bootstrap: Literal["unless_terminated", "holosoma"]
    advantage_std: returns.AdvantageStd


class PpoHyper(struct.PyTreeNode):
    """Coefficients, as traced float32 scalars: changing one compiles nothing, `jax.vmap` sweeps them.

    Names and meanings are those of `PpoConfig`. The optimisers' coefficients are in their states.
    """

    gamma: jax.Array
    lam: jax.Array
    clip_param: jax.Array
    value_loss_coef: jax.Array
    entropy_coef: jax.Array
    symmetry_actor_coef: jax.Array
    symmetry_critic_coef: jax.Array
    desired_kl: jax.Array
    min_actor_learning_rate: jax.Array
    max_actor_learning_rate: jax.Array
    min_critic_learning_rate: jax.Array
    max_critic_learning_rate: jax.Array
    min_noise_std: jax.Array
    """minus infinity: no floor"""


class PpoState(struct.PyTreeNode):
    """Everything that PPO changes or reads: one frozen pytree, to be checkpointed whole."""

    # what is learnt: parameters, optimiser moments, learning rates
    actor: optim.TrainState
    critic: optim.TrainState
    # statistics of raw observations; applied only if the configuration asks for it
    actor_stats: normalizer.RunningStats
    critic_stats: normalizer.RunningStats
    # coefficients (traced) and structure (static)
    hyper: PpoHyper
    static: PpoStatic = struct.field(pytree_node=False)

    @property
    def params(self) -> Pair:
        """Parameters of both networks: what a loss is differentiated by."""
        return Pair(self.actor.params, self.critic.params)


def init(key: jax.Array, spec: PpoSpec, cfg: PpoConfig, tx: Pair | None = None) -> PpoState:
    """The learner before its first update.

    Args:
      key: random key for the networks' parameters.
      spec: dimensions, and the mirror.
      cfg: structure and initial values; nothing is read from it afterwards.
      tx: an `optax.GradientTransformation` for each network, in place of the configuration's clipped
        AdamW. The adaptive schedule needs a `learning_rate` in its state (`optax.inject_hyperparams`).

    Raises:
      ValueError: a dimension below 1, symmetry without a mirror, or a mirror of other dimensions.
    """
    static = _static(spec, cfg)
    actor_key, critic_key = jax.random.split(key)
    actor = ActorParams(
        mlp=_init_net(static.actor_net, actor_key, spec.actor_obs_dim),
        std=jnp.full((spec.action_dim,), cfg.init_noise_std, jnp.float32),
    )
    critic = _init_net(static.critic_net, critic_key, spec.critic_obs_dim)
    return PpoState(
        actor=_train_state("actor", actor, cfg, optim.ADAMW if tx is None else tx.actor),
        critic=_train_state("critic", critic, cfg, optim.ADAMW if tx is None else tx.critic),
        actor_stats=normalizer.init(spec.actor_obs_dim),
        critic_stats=normalizer.init(spec.critic_obs_dim),
        hyper=hyper_from(cfg),
        static=static,
    )


def hyper_from(cfg: PpoConfig) -> PpoHyper:
    """The coefficients of `cfg` as arrays."""
    actor_bounds = _bounds(cfg.actor_learning_rate, cfg.min_actor_learning_rate, cfg.max_actor_learning_rate)
    critic_bounds = _bounds(
        cfg.critic_learning_rate, cfg.min_critic_learning_rate, cfg.max_critic_learning_rate
    )
    return PpoHyper(
        gamma=f32(cfg.gamma),
        lam=f32(cfg.lam),
        clip_param=f32(cfg.clip_param),
        value_loss_coef=f32(cfg.value_loss_coef),
        entropy_coef=f32(cfg.entropy_coef),
        symmetry_actor_coef=f32(cfg.symmetry_actor_coef),
        symmetry_critic_coef=f32(cfg.symmetry_critic_coef),
        desired_kl=f32(cfg.desired_kl),
        min_actor_learning_rate=actor_bounds[0],
        max_actor_learning_rate=actor_bounds[1],
        min_critic_learning_rate=critic_bounds[0],
        max_critic_learning_rate=critic_bounds[1],
        min_noise_std=f32(float("-inf") if cfg.min_noise_std is None else cfg.min_noise_std),
    )


def reset_optimizer(state: PpoState, cfg: PpoConfig) -> PpoState:
    """`state` with fresh optimisers and the initial learning rates of `cfg`; parameters stay."""
    return state.replace(
        actor=_train_state("actor", state.actor.params, cfg, state.actor.tx),
        critic=_train_state("critic", state.critic.params, cfg, state.critic.tx),
    )


def apply_new_hyperparams(saved: PpoState, fresh: PpoState) -> PpoState:
    """`saved` with all coefficients of `fresh`, learning rates included."""
    return saved.replace(
        hyper=fresh.hyper,
        actor=saved.actor.with_hyperparams_of(fresh.actor),
        critic=saved.critic.with_hyperparams_of(fresh.critic),
    )


def _bounds(lr: float, lr_min: float | None, lr_max: float | None) -> tuple[jax.Array, jax.Array]:
    """Lowest and highest learning rate of the KL rule."""
    lowest = min(lr, 1e-5) if lr_min is None else lr_min
    return f32(lowest), f32(max(lr, 1e-2) if lr_max is None else lr_max)


def _train_state(
    role: Literal["actor", "critic"], params: Any, cfg: PpoConfig, tx: optax.GradientTransformation
) -> optim.TrainState:
    if tx is not optim.ADAMW:
        return optim.TrainState.create(params, tx)
    adamw: OptimizerConfig = getattr(cfg, f"{role}_optimizer")
    return optim.adamw_state(params, adamw, getattr(cfg, f"{role}_learning_rate"), cfg.max_grad_norm)


def _init_net(net: Mlp, key: jax.Array, obs_dim: int) -> Params:
    return net.init(key, jnp.zeros((1, obs_dim), jnp.float32))["params"]


def _static(spec: PpoSpec, cfg: PpoConfig) -> PpoStatic:
    """The switches of `cfg`, checked against `spec`."""
    dims = {ACTOR_OBS: spec.actor_obs_dim, CRITIC_OBS: spec.critic_obs_dim, "action": spec.action_dim}
    check_dims("PpoSpec", dims)
    prior.check(spec.prior, spec.actor_obs_dim, spec.action_dim, "PpoSpec")
    if cfg.use_symmetry:
        check_mirror(spec.mirror, dims, "PpoSpec")
    return PpoStatic(
        spec=spec,
        actor_net=Mlp(tuple(cfg.actor_hidden), spec.action_dim, cfg.activation),
        critic_net=Mlp(tuple(cfg.critic_hidden), 1, cfg.activation),
        mirror=spec.mirror if cfg.use_symmetry else None,
        epochs=cfg.num_learning_epochs,
        mini_batches=cfg.num_mini_batches,
        reshuffle=cfg.reshuffle_each_epoch,
        adaptive_lr=cfg.schedule == "adaptive",
        clip_value_loss=cfg.clip_value_loss,
        normalize=cfg.empirical_normalization,
        variance_merge=cfg.variance_merge,
        timeout_bootstrap=cfg.timeout_bootstrap,
        advantage_std=cfg.advantage_std,
    )
