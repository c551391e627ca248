"""Which terms gave numbers that are not finite: what a report says once something is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Array, SimState
from holosoma_jax.envs.env import Env, EnvSpec, EnvState

MAX_ENVS = 8
"""Environments that are listed of one term"""
OBSERVATION = "observation"
"""How the entry of an observation begins"""
_SINGULAR = {"commands": "command", "rewards": "reward", "terminations": "termination"}


def traces(state: EnvState) -> dict[str, Any]:
    """The part of an environment state that `culprits` looks at; a task without terms has none."""
    values = {"terms": getattr(state, "terms", {}), "reward_sums": getattr(state, "reward_sums", None)}
    return jax.tree.map(lambda x: x if jnp.issubdtype(x.dtype, jnp.floating) else None, values)


def marks(env: Env, state: EnvState, sim: SimState, after: EnvState) -> tuple[Any, Any]:
    """Where a control step's traces and observations are not finite, small enough to be kept in a compiled loop.

    Args:
      env: the environment.
      state: its state before the step.
      sim: the simulator's state before it.
      after: the environment's state after the step and its resets; sums of rewards are looked at there, too.

    Returns:
      Bool trees for `culprits_of`: of the traces, [N] of a leaf [N, ...]; observation group -> [E, dim].
    """

    def odd(x: jax.Array) -> jax.Array:
        return ~jnp.isfinite(x)

    def odd_rows(x: jax.Array) -> jax.Array:
        return odd(x).any(axis=tuple(range(1, x.ndim)))

    found, (_, observed) = traces(state), env.observe(without_bad_action(state), sim)
    sums = jax.tree.map(lambda x, y: odd(x) | odd(y), found["reward_sums"], traces(after)["reward_sums"])
    return {"terms": jax.tree.map(odd_rows, found["terms"]), "reward_sums": sums}, {
        group: odd(obs) for group, obs in observed.items()
    }


def culprits_of(spec: EnvSpec, marked: tuple[Any, Any]) -> list[str]:
    """`culprits`, of what `marks` noted."""
    state, observed = jax.tree.map(
        lambda x: np.where(np.asarray(x), np.float32(np.nan), np.float32(0.0)), marked
    )
    return culprits(spec, state, {}, observed)


def without_bad_action(state: EnvState) -> EnvState:
    """`state` with the previous action where the newest is not finite, which is a consequence; for `Env.observe`."""
    if not (hasattr(state, "action") and hasattr(state, "prev_action")):
        return state
    return state.replace(action=jnp.where(jnp.isfinite(state.action), state.action, state.prev_action))


def culprits(
    spec: EnvSpec,
    state: Mapping[str, Any],
    batch: Mapping[str, Array],
    now: Mapping[str, Array] | None = None,
) -> list[str]:
    """Terms with a value that is not finite, causes first.

    A command is observed, observations give the action, and states of randomisation may hold actions, so commands
    and curricula come first, then observations, rewards, and all other states.

    Args:
      spec: of the environment.
      state: `traces` of its state, of all environments.
      batch: what was collected last: observation group -> [N, dim] or [N, T, dim], normalised or not; other
        entries are not looked at.
      now: observation group -> [E, dim], as the environment gives them now: where they are not finite either, they
        say in which environments.

    Returns:
      One entry a term, such as ``observation 'base_lin_vel' of actor_obs (environments 3, 7)``.
    """
    return [f"{name} ({_listed(rows)})" for name, rows in _found(spec, state, batch, now or {})]


def _found(
    spec: EnvSpec, state: Mapping[str, Any], batch: Mapping[str, Array], now: Mapping[str, Array]
) -> Iterator[tuple[str, np.ndarray | None]]:
    """Term, and the rows [n] at fault; None: all of them."""
    first = [kind for kind in ("commands", "curriculum") if kind in state["terms"]]
    for kind in first:
        yield from _states(spec, kind, state["terms"][kind])
    for term in spec.layout:
        last = term.start + term.dim * term.history_length
        for source in (now, batch):
            if term.group not in source:
                continue
            odd = _rows(np.asarray(source[term.group])[..., term.start : last])
            if odd.any():
                yield f"{OBSERVATION} '{term.name}' of {term.group}", np.flatnonzero(odd)
                break
    if state["reward_sums"] is not None:
        odd = ~np.isfinite(np.asarray(state["reward_sums"]))
        for name, column in zip(spec.reward_names, odd.T, strict=True):
            if column.any():
                yield f"reward '{name}'", np.flatnonzero(column)
    for kind, terms in state["terms"].items():
        if kind not in first:
            yield from _states(spec, kind, terms)


def _states(spec: EnvSpec, kind: str, terms: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray | None]]:
    """Terms of a kind whose state is not finite."""
    for name, leaves in terms.items():
        odd, per_env = False, []
        for path, leaf in jax.tree_util.tree_leaves_with_path(leaves):
            x = np.asarray(leaf)
            if np.isfinite(x).all():
                continue
            odd, field = True, jax.tree_util.keystr(path, simple=True, separator="/")
            pooled = f"terms/{kind}/{name}/{field}" in spec.pooled
            if x.ndim and not pooled and len(x) % spec.num_envs == 0:
                per_env.append(x)
        if odd:
            rows = np.flatnonzero(_rows(per_env[0])) if per_env else None
            yield f"{_SINGULAR.get(kind, kind)} '{name}'", rows


def _rows(array: np.ndarray) -> np.ndarray:
    """[N] bool: rows of `array` [N, ...] that hold a number that is not finite."""
    return np.asarray(~np.isfinite(array).reshape(len(array), -1).all(1))


def _listed(rows: np.ndarray | None) -> str:
    if rows is None:
        return "all environments"
    more = f" and {len(rows) - MAX_ENVS} more" if len(rows) > MAX_ENVS else ""
    return f"environment{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:MAX_ENVS]))}{more}"
