"""What a learner does around the control step, as functions, and learning where a condition holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from holosoma_jax.envs.env import EnvSpec
from holosoma_jax.rollout.state import EnvStep

Act = Callable[..., tuple[Any, Any, Any, jax.Array, Mapping[str, Any]]]
Process = Callable[[Any, Any, EnvStep], tuple[Any, Mapping[str, Any]]]


class Lagged(NamedTuple):
    """Acting and learning as two functions, so that a rollout is learned from while the next one is under way."""

    act: Act
    """as `RolloutFns.act`, without learning; its replay is None"""
    learn: Callable[..., tuple[Any, Any, Any, Mapping[str, Any]]]
    """learner, replay, pending of the rollout before, the observation that it led to, step, keys, axis_name ->
    learner, replay, pending to be filled again, metrics"""


class RolloutFns(NamedTuple):
    """What a learner does around the control step: `on_policy.rollout_fns`, `off_policy.rollout_fns`.

    All are pure. `axis_name` is the axis of the devices that learn together, or None.
    """

    init_pending: Callable[[Any, EnvSpec], Any]
    """learner, spec -> `RunnerState.pending` before the first step"""
    act: Act
    """learner, replay, pending, obs, step, keys, axis_name -> learner, replay, pending, action, metrics"""
    process: Process
    """learner, pending, what the environments did -> pending, metrics"""
    update: Callable[..., tuple[Any, Any, Mapping[str, jax.Array], jax.Array]]
    """learner, pending, next obs, iteration, keys, axis_name -> learner, pending, losses, whether all that is learnt
    is finite: at the end of a rollout"""
    learned: Callable[[Any], Any]
    """learner -> all of it that is learnt, which has to stay finite"""
    horizon: int
    """control steps of an iteration"""
    learns_in_act: bool
    """whether `act` changes parameters, or at most statistics"""
    report: Callable[[Any], Mapping[str, Any]]
    """pending -> name -> [E, ...] what was learned from last, for the report on a non-finite learner"""
    compiler_options: Callable[[], dict[str, str]] = dict
    """for XLA, where it compiles an update"""
    lagged: Lagged | None = None
    """acting and learning apart from each other, for the overlapped driver; None: the learner cannot"""


def learn_if(
    ready: jax.Array, update: Callable[[Any], tuple[Any, dict[str, jax.Array]]], state: Any
) -> tuple[Any, dict[str, tuple[jax.Array, jax.Array]]]:
    """`update(state)` where `ready`, else `state`.

    Args:
      ready: [] bool.
      update: learner -> learner, losses [].
      state: the learner.

    Returns:
      The learner, and the losses as metrics: sum and count, both 0 where nothing was learned.
    """

    def rest(state: Any) -> tuple[Any, dict[str, jax.Array]]:
        return state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(update, state)[1])

    state, losses = jax.lax.cond(ready, update, rest, state)
    return state, {name: (value, ready.astype(jnp.float32)) for name, value in losses.items()}
