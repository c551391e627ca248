"""The scores of a policy: totals of what its task measures in each control step, and the means of them.

Pure functions of arrays; `evaluate.py` drives them. E environments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from holosoma_jax.envs.env import StepResult
from holosoma_jax.envs.task import Measure, Measurement

_PER_SECOND = "PerSecond/rew_"


class EvalAccumulator(struct.PyTreeNode):
    """Running totals of an evaluation. Index 0 of a pair: first episodes; 1: the ones after a fall."""

    over: jax.Array
    """[E] bool: the first episode has ended"""
    failed: jax.Array
    """[E] bool: ... by a fall, or by a simulator state that was not finite"""
    life: jax.Array
    """[E] int32, control steps of the first episode"""
    falls: jax.Array
    """[] int32, of all episodes"""
    nonfinite: jax.Array
    """[] int32, control steps lost to non-finite simulator states"""
    totals: dict[str, jax.Array]
    """measure -> [2, E] weighted sum"""
    weights: dict[str, jax.Array]
    """measure -> [2, E]"""
    rewards: dict[str, jax.Array]
    """reward term -> [] weighted sum over the episodes that ended"""
    reward_seconds: jax.Array
    """[] s, their length"""


def empty_accumulator(
    num_envs: int, reward_names: tuple[str, ...], measures: Iterable[str]
) -> EvalAccumulator:
    """Nothing measured yet."""
    measures = tuple(measures)
    return EvalAccumulator(  # no two leaves share an array: the accumulator is donated
        over=jnp.zeros(num_envs, bool),
        failed=jnp.zeros(num_envs, bool),
        life=jnp.zeros(num_envs, jnp.int32),
        falls=jnp.zeros((), jnp.int32),
        nonfinite=jnp.zeros((), jnp.int32),
        totals={name: jnp.zeros((2, num_envs)) for name in measures},
        weights={name: jnp.zeros((2, num_envs)) for name in measures},
        rewards={name: jnp.zeros(()) for name in reward_names},
        reward_seconds=jnp.zeros(()),
    )


def accumulate(
    state: EvalAccumulator, samples: Mapping[str, Measurement], result: StepResult
) -> EvalAccumulator:
    """Add one control step: its samples, and what `result` says of ends and rewards."""
    later = state.over
    place = jnp.stack([~later, later]) & ~result.nonfinite[None]  # [2, E]

    def add(old: jax.Array, value: jax.Array) -> jax.Array:
        return old + jnp.where(place, value[None], 0.0)

    failed = result.terminated | result.nonfinite
    ended = failed | result.truncated
    rewards, seconds = dict(state.rewards), state.reward_seconds
    for name in rewards:
        total, life = result.metrics[_PER_SECOND + name]
        rewards[name] = rewards[name] + total
        seconds = state.reward_seconds + life
    return state.replace(
        over=state.over | ended,
        failed=state.failed | (failed & ~state.over),
        life=state.life + (~state.over).astype(jnp.int32),
        falls=state.falls + result.terminated.sum(dtype=jnp.int32),
        nonfinite=state.nonfinite + result.nonfinite.sum(dtype=jnp.int32),
        totals={name: add(state.totals[name], s.value * s.weight) for name, s in samples.items()},
        weights={name: add(state.weights[name], s.weight) for name, s in samples.items()},
        rewards=rewards,
        reward_seconds=seconds,
    )


@dataclass(frozen=True)
class GroupScores:
    """The first episodes of some environments."""

    survival_rate: float
    """share of environments whose first episode did not fail"""
    episode_length_s: float
    """s, mean length of the first episodes; those that survived count as the whole evaluation"""
    first: Mapping[str, float | None]
    """measure -> mean over the control steps of first episodes; None: never measured"""


@dataclass(frozen=True)
class Scores(GroupScores):
    """The outcome of an evaluation of E environments over some control steps."""

    falls: int
    """failures in all episodes"""
    falls_per_minute: float
    """falls over the time that all environments lived together"""
    nonfinite: int
    """control steps lost to non-finite simulator states"""
    later: Mapping[str, float | None]
    """`first` for the episodes that followed a failure"""
    rewards_per_second: Mapping[str, float]
    """reward term -> weighted sum over seconds lived, all episodes"""
    groups: Mapping[str, GroupScores] = field(default_factory=dict)
    """name -> first episodes of the environments of that group"""


def summarize(
    state: EvalAccumulator,
    steps: int,
    control_dt: float,
    running: Mapping[str, jax.Array],
    running_steps: jax.Array,
    measures: Mapping[str, Measure] | None = None,
    groups: Mapping[str, np.ndarray] | None = None,
) -> Scores:
    """Scores on the host, in float64.

    Args:
      state: after the last step.
      steps: control steps of the evaluation.
      control_dt: s.
      running: reward term -> [E] weighted sum of the episodes that were not over at the end.
      running_steps: [E] int32, their control steps.
      measures: of the task; None: all are averaged as they are.
      groups: name -> [E] bool, environments whose first episodes are summarised apart.
    """
    host: EvalAccumulator = jax.device_get(state)
    everyone = np.ones(host.life.shape, bool)
    seconds = float(host.reward_seconds) + control_dt * float(np.sum(np.asarray(running_steps)))

    def mean(name: str, pair: int, rows: np.ndarray) -> float | None:
        weight = np.sum(host.weights[name][pair][rows], dtype=np.float64)
        total = host.totals[name][pair][rows]
        if measures and measures[name].magnitude:
            total = np.abs(total)
        return float(np.sum(total, dtype=np.float64) / weight) if weight > 0 else None

    def first_episodes(rows: np.ndarray) -> GroupScores:
        return GroupScores(
            survival_rate=float(1.0 - host.failed[rows].mean()),
            episode_length_s=float(host.life[rows].mean() * control_dt),
            first={name: mean(name, 0, rows) for name in host.totals},
        )

    def reward(name: str) -> float:
        over, unfinished = float(host.rewards[name]), np.sum(np.asarray(running[name]), dtype=np.float64)
        return (over + float(unfinished)) / max(seconds, control_dt)

    return Scores(
        **vars(first_episodes(everyone)),
        falls=int(host.falls),
        falls_per_minute=60.0 * int(host.falls) / (control_dt * steps * host.life.size),
        nonfinite=int(host.nonfinite),
        later={name: mean(name, 1, everyone) for name in host.totals},
        rewards_per_second={name: reward(name) for name in host.rewards},
        groups={name: first_episodes(rows) for name, rows in (groups or {}).items()},
    )
