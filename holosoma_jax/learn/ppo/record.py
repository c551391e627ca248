"""PPO as a run sees it; the fields are those of `learn.learner.Learner`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from holosoma_jax.config.schema import PpoConfig
from holosoma_jax.learn import ppo
from holosoma_jax.learn.arrays import ACTOR_OBS, CRITIC_OBS
from holosoma_jax.learn.compiling import compiler_options
from holosoma_jax.learn.learner import ConsoleMetric, Learner, LearnerSpec, takes_arguments
from holosoma_jax.learn.ppo import KL, PpoBatch, PpoSpec, PpoState


def spec(of: LearnerSpec) -> PpoSpec:
    """Dimensions, mirror and prior."""
    return PpoSpec(of.obs_dims[ACTOR_OBS], of.obs_dims[CRITIC_OBS], of.action_dim, of.mirror, of.prior)


def apply_new_hyperparams(
    saved: PpoState, fresh: PpoState, cfg: PpoConfig, before: Mapping[str, Any]
) -> PpoState:
    """`saved` under the settings `cfg`, which `fresh` was made with.

    Coefficients (`PpoHyper`) are those of `cfg`. Learning rates stay as the KL rule left them, unless `cfg` has
    other initial ones than `before`, fixed ones, or narrower bounds.
    """
    state = ppo.apply_new_hyperparams(saved, fresh)
    if not cfg.load_optimizer:
        return ppo.reset_optimizer(state, cfg)

    def rate(role: str) -> jax.Array:
        name = f"{role}_learning_rate"
        if cfg.schedule == "fixed" or before.get(name) != getattr(cfg, name):
            return getattr(fresh, role).lr
        lowest, highest = (getattr(fresh.hyper, f"{end}_{name}") for end in ("min", "max"))
        return jnp.clip(getattr(saved, role).lr, lowest, highest)

    roles = ("actor", "critic")
    return state.replace(
        **{role: getattr(state, role).with_hyperparams(learning_rate=rate(role)) for role in roles}
    )


def with_loss(loss: Any) -> Any:
    """`update` that minimises `loss` (see `loss.Loss`); raises ValueError unless it is a function of its arguments."""
    return partial(ppo.update, loss=takes_arguments(loss, ("params", "minibatch", "hyper", "static")))


LEARNER = Learner(
    name="ppo",
    kind="on_policy",
    config=PpoConfig,
    init=ppo.init,
    act=ppo.act,
    update=ppo.update,
    mode=ppo.mode,
    spec=spec,
    batch=PpoBatch,
    observe=ppo.observe,
    value=lambda state, obs: ppo.value(state, obs[CRITIC_OBS]),
    learned=lambda state: state.replace(hyper=None),  # a floor of -inf among the coefficients is meant
    apply_new_hyperparams=apply_new_hyperparams,
    with_loss=with_loss,
    compiler_options=partial(compiler_options, bf16=False),
    console=(
        ConsoleMetric("KL", KL, "{:.4f}", in_line="KL"),
        ConsoleMetric("learning rate", "Loss/actor_learning_rate", "{:.1e}", in_line="lr"),
        ConsoleMetric("value loss", "Loss/Value", "{:.4f}"),
        ConsoleMetric("surrogate loss", "Loss/Surrogate", "{:.4f}"),
        ConsoleMetric("entropy", "Loss/Entropy", "{:.2f}"),
        ConsoleMetric("noise std", "Policy/mean_noise_std", "{:.3f}"),
    ),
)
