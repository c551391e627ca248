"""Non-finite numbers: what was going on is written to a file, and only what must stop stops.

A simulator that diverges in one environment costs that environment its episode and a warning. A
learner with a NaN in it is beyond repair: the run stops and the last good checkpoint stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bridges.protocol import SimState
from holosoma_jax.parallel import processes

DEPTH = 8
"""Control steps that a report goes back."""
MAX_REPORTS = 5
"""Reports a run writes about environments; after that they are only counted."""
MAX_ENVS = 16
"""Environments whose arrays one report holds."""


class NonFiniteError(RuntimeError):
    """The learner's parameters or losses are no longer numbers; the text names the report."""


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


def _frame(sim: SimState, targets: jax.Array) -> Frame:
    return Frame._make((*sim[: len(Frame._fields) - 1], targets))


def history(sim: SimState, targets: jax.Array) -> History:
    """An empty history for states of this shape."""
    frames = jax.tree.map(lambda x: jnp.zeros((DEPTH, *x.shape), x.dtype), _frame(sim, targets))
    return History(frames, jnp.zeros((), jnp.int32))


def remember(state: History, sim: SimState, targets: jax.Array) -> History:
    """Add one control step: the joint targets [E, J] and the state [E, ...] they led to."""
    row = state.count % DEPTH
    frames = jax.tree.map(
        lambda all_, one: jax.lax.dynamic_update_index_in_dim(all_, one, row, 0),
        state.frames,
        _frame(sim, targets),
    )
    return History(frames, state.count + 1)


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


class Guard:
    """Writes the reports of one run to `folder`, says so through `warn`, and keeps count."""

    def __init__(self, folder: Path, warn: Callable[[str], None]):
        self._folder, self._warn, self._reports = folder, warn, 0

    def environments(self, bad: jax.Array, state: History, step: int) -> None:
        """Report environments `bad` [E] whose simulator state became non-finite at control `step`."""
        if self._reports >= MAX_REPORTS:
            return
        self._reports += 1
        ids = np.flatnonzero(np.asarray(bad))
        shown = ids[:MAX_ENVS]
        frames = _oldest_first(state, shown)
        names = [n for n, x in frames.items() if not np.isfinite(x[-1]).all()]
        path = self._save(f"{step}.npz", env_ids=shown, **frames)
        last = " Further ones are only counted (Env/nonfinite)." if self._reports == MAX_REPORTS else ""
        self._warn(
            f"{len(ids)} environment(s) became non-finite at control step {step} "
            f"(environments {', '.join(map(str, shown))}; {', '.join(names) or 'body arrays'}) and were reset; "
            f"their last {len(frames['targets'])} states are in {path}.{last}"
        )

    def learner(
        self, losses: Mapping[str, float], state: Any, batch: Mapping[str, Any], iteration: int
    ) -> None:
        """Report a learner that is no longer finite.

        Args:
          losses: of the last updates, with the other numbers of that log line.
          state: all that is learnt.
          batch: what it last learned from, name -> [N, ...] with the environments first.
          iteration: iterations completed.

        Raises:
          NonFiniteError: always; names what is not finite, and the report.
        """
        arrays = {name: np.asarray(x) for name, x in batch.items()}
        finite = np.stack([np.isfinite(x).reshape(len(x), -1).all(1) for x in arrays.values()])  # [array, N]
        spoilt = np.flatnonzero(~finite.all(0))
        rows = (spoilt if spoilt.size else np.arange(finite.shape[1]))[:MAX_ENVS]
        leaves = nonfinite_leaves(state)
        path = self._save(
            f"learner-{iteration}.npz",
            nonfinite_parameters=np.array(leaves, dtype=str),
            loss_names=np.array(list(losses), dtype=str),
            loss_values=np.array(list(losses.values())),
            env_ids=rows,
            **{name: x[rows] for name, x in arrays.items()},
        )
        numbers = [name for name, value in losses.items() if not np.isfinite(value)]
        raise NonFiniteError(
            f"the learner is not finite after iteration {iteration} (first: {', '.join([*leaves, *numbers][:3])}); "
            f"what it learned from last is in {path}. {_remedy(numbers, arrays)}, and resume from the last checkpoint."
        )

    def simulator(self, share: float) -> None:
        """Stop when `share` of an iteration's transitions were non-finite, which no policy survives.

        Raises:
          NonFiniteError: the share is above one half.
        """
        if share > 0.5:
            raise NonFiniteError(
                f"{share:.0%} of this iteration's simulator states were not finite; see {self._folder}. "
                "A smaller physics step (simulator.config.sim.fps) or weaker randomisation usually helps."
            )

    def _save(self, name: str, **arrays: Any) -> Path:
        path = self._folder / (name if processes.size() == 1 else f"process{processes.index()}-{name}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            np.savez(path, **arrays)
        except OSError as error:
            self._warn(f"could not write the report {path}: {error}")
        return path


def _remedy(numbers: list[str], batch: Mapping[str, np.ndarray]) -> str:
    """What to do, given the non-finite `numbers` of a log line and the `batch` learned from."""
    terms = sorted({name.split("/rew_")[1] for name in numbers if "/rew_" in name})
    if terms:
        return f"Reward term {', '.join(terms)} was not finite: mend it"
    valid = np.asarray(batch.get("valid", True), bool)
    replayed = {"Loss/env_rewards", "Loss/buffer_rewards"} & set(numbers)
    for name in ("reward", "actor_obs", "critic_obs"):
        seen = batch.get(name, np.zeros(valid.shape))[valid]
        if not np.isfinite(seen).all() or (name == "reward" and replayed):
            return f"Some '{name}' of a sound simulator state was not finite: mend the term that makes it"
    return "Lower the learning rate or max_grad_norm"


def _oldest_first(state: History, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The frames so far of environments `rows`, [frames, len(rows), ...], in order of time."""
    count = int(state.count)
    order = np.arange(max(0, count - DEPTH), count) % DEPTH
    return {name: np.asarray(x)[order][:, rows] for name, x in state.frames._asdict().items()}
