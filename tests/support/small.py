"""A small learner and rollouts for it: 3 + 4 observations, 2 actions, made up from a seed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax.config.schema import PpoConfig
from holosoma_jax.learn import ppo
from holosoma_jax.learn.symmetry import Mirror, Reflection

update = jax.jit(ppo.update, static_argnames=("axis_name", "loss"))
"""Compiled once for all tests that share a configuration; so are the two below."""

prepare = jax.jit(ppo.prepare)

act = jax.jit(ppo.act)

DIMS = {"actor_obs_dim": 3, "critic_obs_dim": 4, "action_dim": 2}
MIRROR = Mirror(
    obs={
        "actor_obs": Reflection((1, 0, 2), (1.0, 1.0, -1.0)),
        "critic_obs": Reflection((1, 0, 2, 3), (1.0, 1.0, -1.0, 1.0)),
    },
    action=Reflection((1, 0), (-1.0, -1.0)),
)


def config(**changes: Any) -> PpoConfig:
    """Narrow networks, two epochs of two mini-batches, no symmetry."""
    defaults = {
        "actor_hidden": (16,),
        "critic_hidden": (16,),
        "num_learning_epochs": 2,
        "num_mini_batches": 2,
        "use_symmetry": False,
        "actor_learning_rate": 1e-3,
        "critic_learning_rate": 1e-3,
    }
    return PpoConfig(**(defaults | changes))


def learner(seed: int = 0, **changes: Any) -> ppo.PpoState:
    """A fresh learner with `config(**changes)`; it has a mirror, used if `use_symmetry`."""
    return ppo.init(jax.random.key(seed), ppo.PpoSpec(**DIMS, mirror=MIRROR), config(**changes))


def rollout(state: ppo.PpoState, steps: int = 6, num_envs: int = 8, seed: int = 0) -> ppo.PpoBatch:
    """What `state` would have done: random observations, rewards and ends; all transitions valid."""
    rng = np.random.default_rng(seed)
    obs = {
        "actor_obs": rng.normal(size=(steps * num_envs, 3)).astype(np.float32),
        "critic_obs": rng.normal(size=(steps * num_envs, 4)).astype(np.float32),
    }
    action, extras = act(state, jax.tree.map(jnp.asarray, obs), jax.random.key(seed))
    truncated = rng.random((steps, num_envs)) < 0.1
    columns = jax.tree.map(lambda x: x.reshape(steps, num_envs, *x.shape[1:]), (action, extras))
    return ppo.PpoBatch(
        **columns[1]._asdict(),
        action=columns[0],
        reward=jnp.asarray(rng.normal(size=(steps, num_envs)).astype(np.float32)),
        terminated=jnp.asarray(rng.random((steps, num_envs)) < 0.1),
        truncated=jnp.asarray(truncated),
        final_value=jnp.asarray(np.where(truncated, 0.5, 0.0).astype(np.float32)),
        valid=jnp.ones((steps, num_envs), bool),
        last_value=jnp.asarray(rng.normal(size=num_envs).astype(np.float32)),
    )
