"""The leaves that a policy is made of: all that its actions depend on, and little else."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import pytest

from holosoma_jax.learn.fast_sac.record import LEARNER as FAST_SAC
from holosoma_jax.learn.learner import Learner
from holosoma_jax.learn.policy_leaves import policy_leaves
from holosoma_jax.learn.ppo.record import LEARNER as PPO
from tests.support import small, small_sac

OBS_DIMS = {"actor_obs": 3, "critic_obs": 4}
CASES = [
    pytest.param(PPO, small.learner(empirical_normalization=True), id="ppo"),
    pytest.param(FAST_SAC, small_sac.learner(), id="fast_sac"),
]


def spoilt(state: Any, kept: frozenset[str]) -> Any:
    """`state` with NaN, or a large number, in every leaf that is not `kept`."""

    def spoil(path: Any, x: jax.Array) -> jax.Array:
        if jax.tree_util.keystr(path, simple=True, separator="/") in kept:
            return x
        return jnp.full(x.shape, jnp.nan if jnp.issubdtype(x.dtype, jnp.floating) else 77, x.dtype)

    return jax.tree_util.tree_map_with_path(spoil, state)


@pytest.mark.parametrize(("learner", "state"), CASES)
def test_actions_depend_on_these_leaves_alone(learner: Learner, state: Any, key: jax.Array) -> None:
    obs = {name: jax.random.normal(key, (5, dim)) for name, dim in OBS_DIMS.items()}
    bare = spoilt(state, policy_leaves(learner, state, OBS_DIMS))
    chex.assert_trees_all_equal(learner.mode(bare, obs["actor_obs"]), learner.mode(state, obs["actor_obs"]))
    chex.assert_trees_all_equal(learner.act(bare, obs, key)[0], learner.act(state, obs, key)[0])


@pytest.mark.parametrize(("learner", "state"), CASES)
def test_critics_and_optimisers_are_not_among_them(learner: Learner, state: Any) -> None:
    leaves = policy_leaves(learner, state, OBS_DIMS)
    assert any(name.startswith("actor/params") for name in leaves)
    assert any(name.startswith("actor_stats") for name in leaves)
    assert not [name for name in leaves if "critic" in name or "opt" in name or "target" in name]
