"""A small FastSAC learner and batches for it: 3 + 4 observations, 2 actions, made up from a seed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax.config.schema import FastSacConfig
from holosoma_jax.learn import fast_sac
from tests.support.small import DIMS, MIRROR

update = jax.jit(fast_sac.update, static_argnames="axis_name")
"""Compiled once for all tests that share a configuration; so are the two below."""

act = jax.jit(fast_sac.act)

_init = jax.jit(fast_sac.init, static_argnames=("spec", "cfg"))

SPEC = fast_sac.FastSacSpec(**DIMS, action_scale=(2.0, 2.0), mirror=MIRROR)


def config(**changes: Any) -> FastSacConfig:
    """Narrow networks and few atoms; four updates, of which the second moves the actor."""
    defaults = {
        "actor_hidden_dim": 16,
        "critic_hidden_dim": 16,
        "num_atoms": 11,
        "v_min": -5.0,
        "v_max": 5.0,
        "num_updates": 4,
        "batch_size": 16,
        "buffer_size": 8,
        "alpha_init": 0.1,
        "bf16": False,
    }
    return FastSacConfig(**(defaults | changes))


def learner(seed: int = 0, **changes: Any) -> fast_sac.FastSacState:
    """A fresh learner with `config(**changes)`."""
    return _init(jax.random.key(seed), SPEC, config(**changes))


def batch(updates: int = 4, rows: int = 16, seed: int = 0) -> fast_sac.FastSacBatch:
    """Random transitions, all valid; a fifth of them end in failure."""
    rng = np.random.default_rng(seed)

    def normal(*dim: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=(updates, rows, *dim)).astype(np.float32))

    return fast_sac.FastSacBatch(
        actor_obs=normal(3),
        critic_obs=normal(4),
        action=normal(2),
        reward=normal(),
        discount=jnp.asarray(np.where(rng.random((updates, rows)) < 0.2, 0.0, 0.97).astype(np.float32)),
        next_actor_obs=normal(3),
        next_critic_obs=normal(4),
        valid=jnp.ones((updates, rows), bool),
    )
