"""A policy that was read from a file, with what the file and its neighbours say about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.evaluation import PolicyArgs
from holosoma_jax.policy import metadata_checks
from holosoma_jax.policy.foreign import metadata as foreign_metadata
from holosoma_jax.policy.foreign import observed_terms

INPUT_NAME = "actor_obs"
"""holosoma's name of a policy's input, and of the observation group that it reads."""


class PolicyFileError(ConfigError):
    """The file is not a policy that can be run here; one line that says why."""


@dataclass(frozen=True, eq=False)
class LoadedPolicy:
    """A deterministic policy with what its file says about it; J = joints = action entries."""

    path: Path
    obs_dim: int
    action_dim: int
    metadata: Mapping[str, Any]
    """as `foreign_metadata.normalize` returns it; it may hold little but names and gains"""
    dof_names: tuple[str, ...]
    """[J] order of the action"""
    kp: np.ndarray | None
    """[J] N m/rad; None where the file does not say"""
    kd: np.ndarray | None
    """[J] N m s/rad; None where the file does not say"""
    action_scale: np.ndarray | None
    """[J] rad per unit of action; None where the file does not say"""
    observation_layout: tuple[Mapping[str, Any], ...] | None
    """terms of the input, in order; None where the file does not say"""
    iteration: int | None
    batched: bool
    """True: one call for all rows; False: one call a row"""
    run: Callable[[np.ndarray], np.ndarray]
    """[N, obs_dim] float32 -> [N, J] float32, unchecked"""
    clip: tuple[str, ...] = ()
    """outputs of the graph that hold a motion clip; none of a policy that tracks no clip of its own"""
    action_bound: np.ndarray | None = None
    """[J] the b of an action that is b * tanh(...); None of one that is none"""

    def __call__(self, observations: Any) -> np.ndarray:
        """Actions [N, J] of observations [N, obs_dim] (NumPy or JAX; read as float32)."""
        rows = np.ascontiguousarray(observations, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.obs_dim:
            raise ValueError(f"{self.path.name}: observations are {rows.shape}, wanted [N, {self.obs_dim}].")
        return self.run(rows)


def describe(
    path: Path,
    meta: Mapping[str, Any],
    stated: Mapping[str, Any],
    obs_dim: int,
    action_dim: int,
    run: Callable[[np.ndarray], np.ndarray],
    *,
    batched: bool,
    clip: tuple[str, ...] = (),
    action_bound: np.ndarray | None = None,
) -> LoadedPolicy:
    """A policy with its metadata, checked.

    Args:
      path: of the file.
      meta: decoded metadata of the file.
      stated: what is stated otherwise, under the same keys; it wins.
      obs_dim: entries of the input.
      action_dim: entries of the output.
      run: see `LoadedPolicy.run`.
      batched: see `LoadedPolicy.batched`.
      clip: see `LoadedPolicy.clip`.
      action_bound: see `LoadedPolicy.action_bound`.

    Raises:
      PolicyFileError: nothing names the joints, or the metadata contradicts itself or the graph.
    """
    meta = dict(meta)
    replaced = (
        ("dof_names", ("joint_names",)),
        ("observation_layout", ("observation_names", *observed_terms.EACH)),
    )
    for ours, others in replaced:
        if ours in stated or others[0] in stated:
            meta = {key: value for key, value in meta.items() if key not in (ours, *others)}
    if {**meta, **stated}.get(
        "observation_layout"
    ) is not None:  # it says these; only stated ones replace them
        meta = {key: value for key, value in meta.items() if key not in observed_terms.RESTATED}
    meta |= stated
    if clip:
        meta = observed_terms.of_tracking(meta, clip, obs_dim, action_dim)
    try:
        meta = foreign_metadata.normalize(meta, INPUT_NAME)
    except ValueError as error:
        raise PolicyFileError(f"{path}: {error}") from None
    if meta.get("dof_names") is None:
        raise PolicyFileError(
            f"{path}: metadata 'dof_names' is missing, so nothing says which robot's joints its {action_dim} "
            "actions move; give --policy.joint-names, or --policy.joint-order mjcf or isaaclab and --robot.asset."
        )
    problems = metadata_checks.check_metadata(meta, obs_dim=obs_dim, action_dim=action_dim, required=())
    if problems:
        more = f" ({len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise PolicyFileError(f"{path}: metadata {problems[0]}{more}{_instead(problems[0])}.")
    layout = meta.get("observation_layout")

    def per_joint(key: str) -> np.ndarray | None:
        value = meta.get(key)
        return None if value is None else np.broadcast_to(np.asarray(value, np.float32), (action_dim,))

    return LoadedPolicy(
        path=path,
        obs_dim=obs_dim,
        action_dim=action_dim,
        metadata=meta,
        dof_names=tuple(meta["dof_names"]),
        kp=per_joint("kp"),
        kd=per_joint("kd"),
        action_scale=per_joint("action_scale"),
        observation_layout=None if layout is None else tuple(layout),
        iteration=meta.get("iteration"),
        batched=batched,
        run=run,
        clip=clip,
        action_bound=action_bound,
    )


def _instead(problem: str) -> str:
    """The flag that states what the metadata key at the start of `problem` gets wrong; '' if there is none."""
    key = re.split(r"[.\[']", problem.removeprefix("'"))[0]
    flag = {"dof_names": "joint_names", "observation_layout": "observation_names"}.get(key, key)
    known = flag in [field.name for field in fields(PolicyArgs)]
    return f"; give --policy.{flag.replace('_', '-')}" if known else ""
