"""FastSAC as a run sees it; the fields are those of `learn.learner.Learner`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from holosoma_jax.config.schema import FastSacConfig
from holosoma_jax.learn import fast_sac, replay
from holosoma_jax.learn.arrays import ACTOR_OBS, CRITIC_OBS
from holosoma_jax.learn.compiling import compiler_options
from holosoma_jax.learn.fast_sac import FastSacSpec, FastSacState, Losses
from holosoma_jax.learn.learner import ConsoleMetric, Learner, LearnerSpec, ReplayFns


def spec(of: LearnerSpec) -> FastSacSpec:
    """Dimensions, the range of actions, mirror."""
    dims = of.obs_dims
    return FastSacSpec(dims[ACTOR_OBS], dims[CRITIC_OBS], of.action_dim, of.action_reach, of.mirror)


def apply_new_hyperparams(
    saved: FastSacState, fresh: FastSacState, cfg: FastSacConfig, before: Mapping[str, Any]
) -> FastSacState:
    """`saved` with the coefficients and learning rates of `fresh`."""
    del cfg, before
    return fast_sac.apply_new_hyperparams(saved, fresh)


def with_loss(loss: Any) -> Any:
    """`update` that minimises `loss`; raises ValueError unless that is a `Losses`."""
    if not isinstance(loss, Losses):
        shown = getattr(loss, "__name__", type(loss).__name__)
        raise ValueError(
            f"got {shown}; wanted a holosoma_jax.learn.fast_sac.Losses, such as Losses(critic=my_critic_loss)."
        )
    return partial(fast_sac.update, loss=loss)


LEARNER = Learner(
    name="fast_sac",
    kind="off_policy",
    config=FastSacConfig,
    init=fast_sac.init,
    act=fast_sac.act,
    update=fast_sac.update,
    mode=fast_sac.mode,
    spec=spec,
    replay=ReplayFns(replay.init, replay.write, replay.sample, replay.size_bytes),
    learned=lambda state: state.replace(hyper=None),  # an infinite coefficient is meant
    apply_new_hyperparams=apply_new_hyperparams,
    with_loss=with_loss,
    compiler_options=compiler_options,
    iteration_name="step",
    console=(
        ConsoleMetric("critic loss", "Loss/qf_loss", "{:.3f}", in_line="critic loss"),
        ConsoleMetric("actor loss", "Loss/actor_loss", "{:.4f}"),
        ConsoleMetric("temperature", "Loss/alpha_value", "{:.1e}", in_line="alpha"),
        ConsoleMetric("policy entropy", "Loss/policy_entropy", "{:.2f}"),
        ConsoleMetric("action std", "Loss/action_std", "{:.3f}"),
    ),
)
