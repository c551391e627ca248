"""What FastSAC keeps between calls: the state, its static half, and the numbers a sweep may vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from holosoma_jax import machine
from holosoma_jax.config.schema import FastSacConfig
from holosoma_jax.learn import compiling, normalizer, optim
from holosoma_jax.learn.arrays import ACTOR_OBS, CRITIC_OBS, f32
from holosoma_jax.learn.checks import check_dims
from holosoma_jax.learn.fast_sac import networks
from holosoma_jax.learn.fast_sac.categorical import Support
from holosoma_jax.learn.fast_sac.networks import Actor, Critic, CriticParams
from holosoma_jax.learn.fast_sac.squashed import LogDet
from holosoma_jax.learn.symmetry import Mirror, check_mirror

CPU_CHUNKS = {"one core": 256, "more": 1024}
"""Rows at a time on a processor: few stay in a core's cache, more can be shared out among cores."""


@dataclass(frozen=True)
class FastSacSpec:
    """What FastSAC has to know of an environment."""

    actor_obs_dim: int
    critic_obs_dim: int
    action_dim: int
    action_scale: tuple[float, ...]
    """[A] largest action of each joint; not used without tanh"""
    mirror: Mirror | None = None
    """of the groups 'actor_obs' and 'critic_obs' and of the action; needed if `use_symmetry`"""


@dataclass(frozen=True)
class FastSacStatic:
    """What decides the compiled program: shapes, counts and switches. Hashable."""

    spec: FastSacSpec
    actor_net: Actor
    critic_net: Critic
    mirror: Mirror | None
    """None: no symmetry"""
    support: Support
    num_updates: int
    policy_frequency: int
    action_scale: tuple[float, ...] | None
    """[A] largest action of each joint; None: actions are not squashed"""
    log_det: LogDet
    unit_actions: bool
    autotune: bool
    symmetric_networks: bool
    normalize: bool
    variance_merge: normalizer.VarianceMerge
    chunk: int | None
    """rows whose gradients are taken at once; None: all. Their mean is the same"""

    @property
    def row_mirror(self) -> Mirror | None:
        """The mirror whose images are added to the rows of an update."""
        return None if self.symmetric_networks else self.mirror

    @property
    def network_mirror(self) -> Mirror | None:
        """The mirror under which policy and critics are symmetric by construction."""
        return self.mirror if self.symmetric_networks else None

    @property
    def scale(self) -> np.ndarray | None:
        """`action_scale` as an array."""
        return None if self.action_scale is None else np.array(self.action_scale, np.float32)


class FastSacHyper(struct.PyTreeNode):
    """Coefficients, as traced float32 scalars: changing one compiles nothing, `jax.vmap` sweeps them.

    Names and meanings are those of `FastSacConfig`. The optimisers' coefficients are in their states;
    the discount reaches the learner with its batch.
    """

    tau: jax.Array
    target_entropy: jax.Array
    """nats, of the scaled actions, until the learning rates fall"""
    final_entropy: jax.Array
    """the same at the end of the run"""
    total: jax.Array
    """calls of `update` in the whole run"""
    annealed: jax.Array
    """the last ones of these, over which the learning rates fall"""


class ActorMetrics(NamedTuple):
    """What the last update of the actor reported; later updates without one repeat it."""

    loss: jax.Array
    grad_norm: jax.Array
    entropy: jax.Array
    """nats, of the scaled actions"""
    std: jax.Array
    """mean over rows and actions, before tanh"""


class FastSacState(struct.PyTreeNode):
    """Everything that FastSAC changes or reads, but for the replay buffer: one frozen pytree."""

    # what is learnt: parameters, optimiser moments, learning rates
    actor: optim.TrainState
    critics: optim.TrainState
    log_alpha: optim.TrainState
    """[] logarithm of the temperature"""
    target: CriticParams
    """slow copy of the critics"""
    # statistics of raw observations; applied only if the configuration asks for it
    actor_stats: normalizer.RunningStats
    critic_stats: normalizer.RunningStats
    updates: jax.Array
    """[] int32, calls of `update` so far"""
    actor_metrics: ActorMetrics
    # coefficients (traced) and structure (static)
    hyper: FastSacHyper
    static: FastSacStatic = struct.field(pytree_node=False)


class Optimizers(NamedTuple):
    """One `optax.GradientTransformation` for each of what is learnt."""

    actor: optax.GradientTransformation = optim.ADAMW
    critics: optax.GradientTransformation = optim.ADAMW
    log_alpha: optax.GradientTransformation = optim.ADAMW


def init(key: jax.Array, spec: FastSacSpec, cfg: FastSacConfig, tx: Optimizers | None = None) -> FastSacState:
    """The learner before its first update.

    Args:
      key: random key for the networks' parameters.
      spec: dimensions, the actions' range, and the mirror.
      cfg: structure and initial values; of what `update` needs, nothing is read from it afterwards.
      tx: optimisers in place of the configuration's clipped AdamW.

    Raises:
      ValueError: a dimension below 1, an unusable action scale, symmetry without a mirror, a mirror of
        other dimensions, or an actor that would never be updated.
    """
    static = _static(spec, cfg)
    actor_key, *critic_keys = jax.random.split(key, 1 + cfg.num_critics)
    actor = networks.init(static.actor_net, actor_key, spec.actor_obs_dim)
    inputs = spec.critic_obs_dim + spec.action_dim
    critics = tuple(networks.init(static.critic_net, critic_key, inputs) for critic_key in critic_keys)
    return FastSacState(
        **_train_states(actor, critics, cfg, Optimizers() if tx is None else tx),
        target=jax.tree.map(jnp.copy, critics),  # apart, so that both can be donated
        actor_stats=normalizer.init(spec.actor_obs_dim),
        critic_stats=normalizer.init(spec.critic_obs_dim),
        updates=jnp.zeros((), jnp.int32),
        actor_metrics=ActorMetrics(*(f32(0.0) for _ in ActorMetrics._fields)),
        hyper=hyper_from(spec, cfg),
        static=static,
    )


def hyper_from(spec: FastSacSpec, cfg: FastSacConfig) -> FastSacHyper:
    """The coefficients of `cfg` as arrays."""
    first, last = cfg.target_entropy_ratio, cfg.final_target_entropy_ratio
    return FastSacHyper(
        tau=f32(cfg.tau),
        target_entropy=f32(-first * spec.action_dim),
        final_entropy=f32(-(first if last is None else last) * spec.action_dim),
        total=f32(cfg.num_learning_iterations),
        annealed=f32(cfg.anneal_share * cfg.num_learning_iterations),
    )


def apply_new_hyperparams(saved: FastSacState, fresh: FastSacState) -> FastSacState:
    """`saved` with all coefficients of `fresh`, learning rates included."""
    return saved.replace(
        hyper=fresh.hyper,
        actor=saved.actor.with_hyperparams_of(fresh.actor),
        critics=saved.critics.with_hyperparams_of(fresh.critics),
        log_alpha=saved.log_alpha.with_hyperparams_of(fresh.log_alpha),
    )


def _train_states(
    actor: Any, critics: Any, cfg: FastSacConfig, tx: Optimizers
) -> dict[str, optim.TrainState]:
    """What is learnt, before its first step."""
    limit = cfg.max_grad_norm or optim.NO_LIMIT
    log_alpha = jnp.log(f32(cfg.alpha_init))
    adamw = {
        "actor": (actor, cfg.actor_optimizer, cfg.actor_learning_rate, limit),
        "critics": (critics, cfg.critic_optimizer, cfg.critic_learning_rate, limit),
        "log_alpha": (log_alpha, cfg.alpha_optimizer, cfg.alpha_learning_rate, optim.NO_LIMIT),
    }
    return {
        name: optim.adamw_state(*arguments)
        if (own := getattr(tx, name)) is optim.ADAMW
        else optim.TrainState.create(arguments[0], own)
        for name, arguments in adamw.items()
    }


def _static(spec: FastSacSpec, cfg: FastSacConfig) -> FastSacStatic:
    """The switches of `cfg`, checked against `spec`."""
    dims = {ACTOR_OBS: spec.actor_obs_dim, CRITIC_OBS: spec.critic_obs_dim, "action": spec.action_dim}
    check_dims("FastSacSpec", dims)
    scale = spec.action_scale
    if cfg.use_tanh and (len(scale) != spec.action_dim or not all(0 < s < float("inf") for s in scale)):
        raise ValueError(
            f"FastSacSpec.action_scale is {scale}, expected {spec.action_dim} finite numbers above 0. Take "
            "`action_reach` of the robot's record, or set algo.config.use_tanh to false."
        )
    if cfg.num_updates > 1 and cfg.policy_frequency < 2:
        raise ValueError(
            f"algo.config.policy_frequency is {cfg.policy_frequency} with num_updates = {cfg.num_updates}, so "
            "the actor would never be updated (updates i with i mod policy_frequency = 1 do). Take 2 or more."
        )
    if cfg.use_symmetry:
        check_mirror(spec.mirror, dims, "FastSacSpec")
    bf16 = compiling.quick_bf16() if cfg.bf16 is None else cfg.bf16
    log_std_range = cfg.log_std_min, cfg.log_std_max
    return FastSacStatic(
        spec=spec,
        actor_net=Actor(cfg.actor_hidden_dim, spec.action_dim, log_std_range, cfg.use_layer_norm, bf16),
        critic_net=Critic(cfg.critic_hidden_dim, cfg.num_atoms, cfg.use_layer_norm, bf16),
        mirror=spec.mirror if cfg.use_symmetry else None,
        support=Support(cfg.v_min, cfg.v_max, cfg.num_atoms),
        num_updates=cfg.num_updates,
        policy_frequency=cfg.policy_frequency,
        action_scale=tuple(scale) if cfg.use_tanh else None,
        log_det=cfg.tanh_log_det,
        unit_actions=cfg.unit_actions,
        autotune=cfg.use_autotune,
        symmetric_networks=cfg.symmetric_networks,
        normalize=cfg.obs_normalization,
        variance_merge=cfg.variance_merge,
        chunk=_cpu_chunk() if jax.default_backend() == "cpu" else None,
    )


def _cpu_chunk() -> int:
    """Rows at a time on the cores that this process may use; docs/fast_sac.md has the figures."""
    return CPU_CHUNKS["one core" if machine.usable_cores() == 1 else "more"]
