"""Which leaves of a learner's state its policy acts with: what is kept of a learner that learns no more."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.extend import core

from holosoma_jax.learn.arrays import ACTOR_OBS
from holosoma_jax.learn.learner import Learner, State


def policy_leaves(learner: Learner, state: State, obs_dims: Mapping[str, int]) -> frozenset[str]:
    """Paths of the leaves of `state` on which the actions of `learner` depend, with and without exploration noise.

    Found by tracing `mode` and the action of `act` and following both back to their inputs, so that no learner has
    to list them. The critics that `act` may call for its extras are not among them.

    Args:
      learner: any.
      state: its state, or the shapes of it.
      obs_dims: observation group -> entries of its vector.

    Returns:
      Paths as `runs.meta.describe` writes them.
    """
    obs = {name: jax.ShapeDtypeStruct((1, dim), jnp.float32) for name, dim in obs_dims.items()}

    def actions(state: State, obs: Mapping[str, jax.Array], key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return learner.mode(state, obs[ACTOR_OBS]), learner.act(state, obs, key)[0]

    program = jax.make_jaxpr(actions)(state, obs, jax.random.key(0)).jaxpr
    read = {value for value in program.outvars if not isinstance(value, core.Literal)}
    for equation in reversed(program.eqns):
        if read.intersection(equation.outvars):
            read.update(value for value in equation.invars if not isinstance(value, core.Literal))
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return frozenset(
        jax.tree_util.keystr(path, simple=True, separator="/")
        for (path, _), value in zip(leaves, program.invars, strict=False)
        if value in read
    )
