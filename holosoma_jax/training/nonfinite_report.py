"""Reports on NaN and infinity: the states before are written to a file, and a learner that has them stops the run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from holosoma_jax.envs.nonfinite import OBSERVATION
from holosoma_jax.parallel import processes
from holosoma_jax.rollout.nan_guard import (
    MAX_ENVS,
    MAX_TERMS,
    History,
    NonFiniteError,
    nonfinite_arrays,
    nonfinite_leaves,
    oldest_first,
)

MAX_REPORTS = 5
"""Reports a run writes about environments; after that they are only counted."""

log = logging.getLogger(__name__)


class NonFiniteReporter:
    """Writes the reports of one run to `folder`, logs where they are, and keeps count."""

    def __init__(self, folder: Path):
        self._folder, self._reports = folder, 0

    def environments(self, nonfinite: jax.Array, state: History, step: int) -> None:
        """Report environments `nonfinite` [E] whose simulator state became non-finite at control `step`."""
        if self._reports >= MAX_REPORTS:
            return
        self._reports += 1
        ids = np.flatnonzero(np.asarray(nonfinite))
        shown = ids[:MAX_ENVS]
        frames = oldest_first(state, shown)
        names = nonfinite_arrays(state, shown)
        path = self._save(f"{step}.npz", env_ids=shown, **frames)
        last = " Further ones are only counted (Env/nonfinite)." if self._reports == MAX_REPORTS else ""
        log.warning(
            f"{len(ids)} environment(s) became non-finite at control step {step} "
            f"(environments {', '.join(map(str, shown))}; {', '.join(names)}) and were reset; "
            f"their last {len(frames['targets'])} states are in {path}.{last}"
        )

    def learner(
        self,
        losses: Mapping[str, float],
        state: Any,
        batch: Mapping[str, Any],
        iteration: int,
        terms: Sequence[str] = (),
    ) -> None:
        """Report a learner that is no longer finite.

        Args:
          losses: of the last updates, with the other numbers of that log line.
          state: all that is learnt.
          batch: what it last learned from, name -> [N, ...] with the environments first.
          iteration: iterations completed.
          terms: terms of the environments that gave numbers that are not finite, as `envs.nonfinite` names them.

        Raises:
          NonFiniteError: always; names what is not finite, and the report.
        """
        arrays = {name: np.asarray(x) for name, x in batch.items()}
        finite = np.stack([np.isfinite(x).reshape(len(x), -1).all(1) for x in arrays.values()])  # [array, N]
        affected = np.flatnonzero(~finite.all(0))
        rows = (affected if affected.size else np.arange(finite.shape[1]))[:MAX_ENVS]
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
            f"what it learned from last is in {path}. {_remedy(terms, numbers, arrays)}, "
            "and resume from the last checkpoint."
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
            log.warning(f"could not write the report {path}: {error}")
        return path


def _remedy(terms: Sequence[str], numbers: list[str], batch: Mapping[str, np.ndarray]) -> str:
    """What to do, given `terms` at fault, the non-finite `numbers` of a log line and the `batch` learned from."""
    replayed = {"Loss/env_rewards", "Loss/buffer_rewards"} & set(numbers)
    # A spoilt learner's actions are observed: with a reward at fault, observations are a consequence.
    if terms and not (replayed and all(name.startswith(OBSERVATION) for name in terms)):
        return f"Not finite: {', '.join(terms[:MAX_TERMS])}: fix that term"
    valid = np.asarray(batch.get("valid", True), bool)
    rewards = sorted({name.split("/rew_")[1] for name in numbers if "/rew_" in name})
    if rewards:
        odd = ~np.isfinite(batch.get("reward", np.zeros(valid.shape)))
        rows = np.flatnonzero(odd.reshape(len(odd), -1).any(1)) if odd.ndim else []
        where = f" (environments {', '.join(map(str, rows[:MAX_ENVS]))})" if len(rows) else ""
        return f"Reward term {', '.join(rewards)}{where} was not finite: fix it"
    for name in ("reward", "actor_obs", "critic_obs"):
        seen = batch.get(name, np.zeros(valid.shape))[valid]
        if not np.isfinite(seen).all() or (name == "reward" and replayed):
            return f"Some '{name}' of a sound simulator state was not finite: fix the term that makes it"
    return "Lower the learning rate or max_grad_norm"
