"""An action that observations ask for, to which a policy adds its own: residual learning (Silver et al. 2018).

A policy that imitates a clip would otherwise have to find out first, joint by joint, that the angles it is shown are
those it should ask for.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class ActionPrior:
    """Action i is asked for by entry columns[i] of 'actor_obs': scale[i] * entry + offset[i]. Hashable."""

    columns: tuple[int, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def action(self, obs: jax.Array) -> jax.Array:
        """The action [..., A] that observations [..., Da], raw in these columns, ask for."""
        asked = obs[..., np.array(self.columns)]
        scale, offset = (
            jnp.broadcast_to(np.asarray(x, np.float32), asked.shape) for x in (self.scale, self.offset)
        )
        return asked * scale + offset

    def keep_raw(self, normalized: jax.Array, raw: jax.Array) -> jax.Array:
        """`normalized` [..., Da] with the columns of the prior as they are in `raw`."""
        mine = np.zeros(raw.shape[-1], bool)
        mine[list(self.columns)] = True
        return jnp.where(jnp.broadcast_to(mine, raw.shape), raw, normalized)


def check(prior: ActionPrior | None, obs_dim: int, action_dim: int, owner: str) -> None:
    """Raise ValueError unless the prior has one entry an action, and its columns are entries of the observation."""
    if prior is None:
        return
    lengths = {len(prior.columns), len(prior.scale), len(prior.offset)}
    if lengths != {action_dim} or not all(0 <= c < obs_dim for c in prior.columns):
        raise ValueError(
            f"{owner}.prior: has {sorted(lengths)} entries, columns up to {max(prior.columns, default=-1)}; wanted "
            f"{action_dim} entries, columns below {obs_dim}."
        )
