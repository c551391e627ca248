"""FastSAC as pure functions of one state: soft actor-critic for thousands of environments at once.

::

    state = fast_sac.init(key, spec, cfg)
    buffer = replay.init(cfg, spec, num_envs)
    action, _ = fast_sac.act(state, obs, key)              # each control step
    buffer = replay.write(buffer, transition)
    batch = replay.sample(buffer, key, cfg)
    state, metrics = fast_sac.update(state, batch, key)    # cfg.num_updates updates

Nothing here jits, keeps state, or draws without a key. `jax.vmap` runs many learners at once, over
seeds or over `state.hyper`; `axis_name` runs one learner on many devices. The replay buffer is a
pytree of its own (`learn/replay.py`), so that a checkpoint may leave it out.

U = updates of one call, B = transitions of one update, N = environments of this device, A = actions,
Da and Dc = entries of the two observation vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax

from holosoma_jax.learn import normalizer
from holosoma_jax.learn.arrays import ACTOR_OBS
from holosoma_jax.learn.fast_sac import loss, networks, squashed
from holosoma_jax.learn.fast_sac.batch import check_obs
from holosoma_jax.learn.fast_sac.state import FastSacState
from holosoma_jax.learn.symmetry import reflect

Observations = Mapping[str, jax.Array]
"""Observation group -> [N, dim], raw; 'actor_obs' is read."""


class FastSacExtras(NamedTuple):
    """What `act` knows beside the action: nothing, since learning starts from the replayed state."""


def act(state: FastSacState, obs: Observations, key: jax.Array) -> tuple[jax.Array, FastSacExtras]:
    """Sample an action [N, A] for each environment.

    Args:
      state: the learner; its normaliser is applied, not moved.
      obs: raw observations.
      key: random key of this step.

    Raises:
      ValueError: the actor's group is missing or of the wrong shape.
    """
    check_obs(obs, state.static.spec)
    seen = _normalized(state, obs[ACTOR_OBS])
    noise = jax.random.normal(key, (seen.shape[0], state.static.spec.action_dim))
    return loss.draw(state.actor.params, seen, noise, state.static).action, FastSacExtras()


def mode(state: FastSacState, actor_obs: jax.Array) -> jax.Array:
    """The action [..., A] without noise, for raw observations [..., Da]: for evaluation and export.

    In float32 also where training is not: it is what a robot's runtime computes.
    """
    static = state.static
    seen = _normalized(state, actor_obs)

    def mean(seen: jax.Array) -> jax.Array:
        return networks.float32_mean(static.actor_net, state.actor.params, seen)

    mirror = static.network_mirror
    if mirror is not None:
        image = mean(reflect(seen, mirror.obs[ACTOR_OBS]))
        return squashed.mode(0.5 * (mean(seen) + reflect(image, mirror.action)), static.scale)
    return squashed.mode(mean(seen), static.scale)


def policy_fn(state: FastSacState) -> Callable[[jax.Array], jax.Array]:
    """The deterministic policy, raw observations [N, Da] -> actions [N, A], normaliser included."""
    return partial(mode, state)


def _normalized(state: FastSacState, actor_obs: jax.Array) -> jax.Array:
    return normalizer.normalize(state.actor_stats, actor_obs) if state.static.normalize else actor_obs
