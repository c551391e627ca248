"""The config that a run, a checkpoint or a policy of the package was made with, and where it lies on this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from holosoma_jax.config import files, keys
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.trust import Saved
from holosoma_jax.loggers import wandb_files
from holosoma_jax.runs import checkpoint, origin, pretrained, robot_files, run_dir, saved_steps, terrain_file
from holosoma_jax.runs.checkpoint import DamagedCheckpoint, Meta


def saved_config(path: str | Path) -> Saved:
    """The resolved config of the run or checkpoint at `path` (or ``wandb://...``, ``pretrained:NAME``), and its folder.

    Without the checkpoint that its last session continued from: whoever begins with this config says where. Where
    the run was not begun in this place, also without what belongs to the person and the machine (`runs.origin`).

    Raises:
      ConfigError: there is none.
    """
    path = local(path, "training.checkpoint or training.warm_start")
    found = saved_steps.resolve(path)
    run = run_dir.of(Path(path) if found is None else found.parent)
    origin.require_no_way_out(run.path)
    if found is not None:
        config = _meta(found, Path(path)).config
    elif run.config.is_file():
        config = files.read(run.config)
    else:
        raise ConfigError(f"{run.path} has no complete checkpoint and no config.yaml; start a new run.")
    if not origin.is_here(run.path):
        config = origin.without_personal(config, Path(path))
    changes: dict[str, Any] = {"training": {"checkpoint": None}}
    if robot := robot_files.path_in(run.path):
        changes["robot"] = {"asset": robot}
    if mesh := terrain_file.path_in(run.path):
        changes["terrain"] = {"terrain_term": {"obj_file_path": mesh}}
    return Saved(keys.overlay(config, changes), run.path)


def _meta(found: Path, wanted: Path) -> Meta:
    """What checkpoint `found` says of itself; where a run was `wanted`, an earlier one instead if it is damaged."""
    others = [] if found.resolve() == wanted.resolve() else saved_steps.steps(found.parent)[-2::-1]
    try:
        return checkpoint.read_meta(found)
    except DamagedCheckpoint:
        for path in others:
            with contextlib.suppress(DamagedCheckpoint):
                return checkpoint.read_meta(path)
        raise


def local(path: str | Path, key: str) -> str | Path:
    """`path` on this machine: downloaded from Weights & Biases, or found in the package, as its name says."""
    if wandb_files.is_uri(path):
        return wandb_files.fetch(str(path))
    return pretrained.find(path, key) if pretrained.is_name(path) else path
