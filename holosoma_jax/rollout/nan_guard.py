"""Finding NaN and infinity: in simulator states, of which the last few are kept, and in what is learnt.

A simulator that diverges in one environment costs that environment its episode and a warning. A learner with a NaN in
it cannot recover: the run stops and the last good checkpoint stays. `training.nonfinite_report` writes the reports.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bridges.protocol import SimState
from holosoma_jax.parallel.devices import Devices

DEPTH = 8
"""Control steps that a report goes back."""
MAX_ENVS = 16
"""Environments whose arrays one report holds."""

MAX_TERMS = 6
"""Terms that one message names."""


class NonFiniteError(RuntimeError):
    """Parameters, losses, actions or most simulator states are NaN or infinite."""


class Frame(NamedTuple):
    """The generalised coordinates of one control step, [E, ...], or [DEPTH, E, ...] when stacked."""

    root_pos: jax.Array
    root_quat: jax.Array
    root_lin_vel: jax.Array
    root_ang_vel: jax.Array
    joint_pos: jax.Array
    joint_vel: jax.Array
    targets: jax.Array


class History(struct.PyTreeNode):
    """The last `DEPTH` frames; the next one overwrites row `count` mod DEPTH."""

    frames: Frame
    count: jax.Array  # [] int32, frames ever written
    nonfinite: (
        jax.Array
    )  # [E, 11], with an object [E, 15], bool: the arrays of the newest `SimState` that were not finite


def _frame(sim: SimState, targets: jax.Array) -> Frame:
    return Frame._make((*sim[: len(Frame._fields) - 1], targets))


def history(sim: SimState, targets: jax.Array) -> History:
    """An empty history for states of this shape."""
    frames = jax.tree.map(lambda x: jnp.zeros((DEPTH, *x.shape), x.dtype), _frame(sim, targets))
    return History(
        frames, jnp.zeros((), jnp.int32), jnp.zeros((len(sim.root_pos), len(jax.tree.leaves(sim))), bool)
    )


def remember(state: History, sim: SimState, targets: jax.Array) -> History:
    """Add one control step: the joint targets [E, J] and the state [E, ...] they led to."""
    row = state.count % DEPTH
    frames = jax.tree.map(
        lambda all_, one: jax.lax.dynamic_update_index_in_dim(all_, one, row, 0),
        state.frames,
        _frame(sim, targets),
    )
    finite = [jnp.isfinite(x).all(axis=tuple(range(1, x.ndim))) for x in jax.tree.leaves(sim)]
    return History(frames, state.count + 1, ~jnp.stack(finite, axis=1))


def gathered(state: History, devices: Devices) -> History:
    """The history of the environments of all `devices` of this process."""
    frames, nonfinite = devices.gather(state.frames, axis=1), devices.gather(state.nonfinite)
    return History(frames, devices.first(state.count), nonfinite)


def finite(tree: Any) -> jax.Array:
    """[] bool: every floating-point leaf of `tree` is finite."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.stack([jnp.isfinite(x).all() for x in leaves]).all()


def nonfinite_leaves(tree: Any) -> list[str]:
    """Paths of the floating-point leaves of `tree` that are not finite."""
    return [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
        if jnp.issubdtype(x.dtype, jnp.floating) and not bool(jnp.isfinite(x).all())
    ]


def nonfinite_arrays(state: History, rows: np.ndarray) -> list[str]:
    """The arrays of the newest simulator state that were not finite in any of the environments `rows`."""
    odd = np.any(np.asarray(state.nonfinite)[rows], axis=0)
    return [name for name, bad in zip(SimState._fields, odd, strict=False) if bad]


def oldest_first(state: History, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The frames so far of environments `rows`, [frames, len(rows), ...], in order of time."""
    count = int(state.count)
    order = np.arange(max(0, count - DEPTH), count) % DEPTH
    return {name: np.asarray(x)[order][:, rows] for name, x in state.frames._asdict().items()}
