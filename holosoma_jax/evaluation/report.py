"""The outcome of an evaluation, for people (a table) and for programs (a mapping for JSON)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table

from holosoma_jax import __version__
from holosoma_jax.config.schema import Config
from holosoma_jax.envs.perturbations import Perturbations
from holosoma_jax.envs.task import Measure
from holosoma_jax.evaluation.scores import Scores


def tables(scores: Scores, names: Mapping[str, Measure]) -> Group:
    """Scores as tables, with the task's `names`; the column of later episodes appears if there was one."""
    fell = any(value is not None for value in scores.later.values())
    life = Table(show_header=False, box=None)
    life.add_row("survival", f"{scores.survival_rate:.1%}")
    life.add_row("mean episode length", f"{scores.episode_length_s:.2f} s")
    life.add_row("falls", f"{scores.falls} ({scores.falls_per_minute:.2f} per minute of episodes)")
    if scores.nonfinite:
        life.add_row("non-finite simulator states", str(scores.nonfinite))
    measures = Table("", "unit", "mean", *(["after a fall"] if fell else []), box=None)
    for name, measure in names.items():
        if scores.first[name] is None and scores.later[name] is None:
            continue  # such as the error of an object, without one
        later = [_number(scores.later[name])] if fell else []
        measures.add_row(measure.label, measure.unit, _number(scores.first[name]), *later)
    rewards = Table("reward term", "per second", box=None)
    for name, value in scores.rewards_per_second.items():
        rewards.add_row(name, _number(value))
    return Group(life, "", measures, "", rewards)


def group_table(scores: Scores, names: Mapping[str, Measure]) -> Table:
    """One row a group: survival, and the task's measures over its first episodes."""
    names = {n: m for n, m in names.items() if any(g.first[n] is not None for g in scores.groups.values())}
    result = Table(box=None, padding=(0, 1, 0, 0))
    result.add_column("", no_wrap=True)
    for head in ("survival", *("\n".join((*name.split("_"), m.unit)) for name, m in names.items())):
        result.add_column(head, justify="right", no_wrap=True)
    for group, found in scores.groups.items():
        measured = (_number(found.first[name]) for name in names)
        result.add_row(group, f"{found.survival_rate:.1%}", *measured)
    return result


def record(
    scores: Scores,
    cfg: Config,
    conditions: Perturbations,
    names: Mapping[str, Measure],
    *,
    policy: str,
    robot: str,
    steps: int,
    control_dt: float,
    velocity: tuple[float, float, float] | None,
    commands: Mapping[str, tuple[float, float, float]] | None = None,
) -> dict[str, Any]:
    """Scores with all that is needed to get them again, ready for JSON (None for 'never measured')."""
    return {
        "holosoma_jax_version": __version__,
        "policy": policy,
        "robot": robot,
        "simulator": cfg.simulator.name,
        "terrain": cfg.terrain.terrain_term.mesh_type,
        "num_envs": cfg.training.num_envs,
        "steps": steps,
        "control_dt": control_dt,
        "seed": cfg.training.seed,
        "velocity": velocity,
        "commands": commands,
        "conditions": dataclasses.asdict(conditions),
        "scores": _rounded(dataclasses.asdict(scores)),
        "units": {name: measure.unit for name, measure in names.items()},
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _rounded(value: Any) -> Any:
    """Floats with the digits that float32 sums support; JSON has no NaN, so that becomes None."""
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value
