"""From replayed transitions to the rows of an update: statistics, mirror images, noise."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from holosoma_jax.learn import normalizer
from holosoma_jax.learn.arrays import ACTOR_OBS, CRITIC_OBS
from holosoma_jax.learn.fast_sac.batch import FastSacBatch
from holosoma_jax.learn.fast_sac.loss import Rows
from holosoma_jax.learn.fast_sac.state import FastSacState, FastSacStatic
from holosoma_jax.learn.symmetry import Reflection, reflect


def observe(state: FastSacState, batch: FastSacBatch, axis_name: str | None = None) -> FastSacState:
    """Move the normaliser's statistics by all states and successors of `batch`, and their images.

    Both are normalised with the same statistics afterwards.
    """
    static = state.static
    if not static.normalize:
        return state
    pairs = {
        ACTOR_OBS: (state.actor_stats, batch.actor_obs, batch.next_actor_obs),
        CRITIC_OBS: (state.critic_stats, batch.critic_obs, batch.next_critic_obs),
    }
    moved: dict[str, normalizer.RunningStats] = {}
    for group, (stats, *observations) in pairs.items():
        for x in observations:
            stats = normalizer.update(
                stats,
                x.reshape(-1, x.shape[-1]),
                valid=batch.valid.reshape(-1),
                reflection=static.mirror.obs[group] if static.mirror else None,
                merge=static.variance_merge,
                axis_name=axis_name,
            )
        moved[group] = stats
    return state.replace(actor_stats=moved[ACTOR_OBS], critic_stats=moved[CRITIC_OBS])


def prepare(state: FastSacState, batch: FastSacBatch) -> Rows:
    """The rows of one update, from transitions [B, ...]: mirror images appended, then normalised."""
    static, mirror = state.static, state.static.row_mirror

    def both(x: jax.Array, reflection: Reflection | None) -> jax.Array:
        if mirror is None:
            return x
        return jnp.concatenate([x, x if reflection is None else reflect(x, reflection)])

    def seen(x: jax.Array, group: str, stats: normalizer.RunningStats) -> jax.Array:
        x = both(x, mirror.obs[group] if mirror else None)
        return normalizer.normalize(stats, x) if static.normalize else x

    return Rows(
        actor_obs=seen(batch.actor_obs, ACTOR_OBS, state.actor_stats),
        critic_obs=seen(batch.critic_obs, CRITIC_OBS, state.critic_stats),
        action=both(batch.action, mirror.action if mirror else None),
        reward=both(batch.reward, None),
        discount=both(batch.discount, None),
        next_actor_obs=seen(batch.next_actor_obs, ACTOR_OBS, state.actor_stats),
        next_critic_obs=seen(batch.next_critic_obs, CRITIC_OBS, state.critic_stats),
        weight=both(batch.valid.astype(jnp.float32), None),
    )


def row_noise(key: jax.Array, rows: Rows, static: FastSacStatic, axis_name: str | None) -> jax.Array:
    """Standard normal [R, A]: of each row what a single device that holds all rows would draw."""
    copies = 1 if static.row_mirror is None else 2
    count, actions = rows.reward.shape[0], static.spec.action_dim
    share = count // copies
    if axis_name is None:
        return jax.random.normal(key, (count, actions))
    everywhere = jax.random.normal(key, (copies, share * jax.lax.axis_size(axis_name), actions))
    start = share * jax.lax.axis_index(axis_name)
    return jax.lax.dynamic_slice_in_dim(everywhere, start, share, axis=1).reshape(count, actions)
