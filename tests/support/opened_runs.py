"""Runs of the toy robot that are opened, saved and left."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp

from holosoma_jax.config import compose
from holosoma_jax.config.schema import Config
from holosoma_jax.runs import checkpoint
from holosoma_jax.runs.open_run import OpenedRun, open_run
from holosoma_jax.runs.run_dir import RunDir


def resuming(cfg: Config, path: Path, **changes) -> Config:
    return replace(cfg, training=replace(cfg.training, checkpoint=str(path), **changes))


def save(run: RunDir, cfg: Config, step: int) -> Path:
    meta = checkpoint.Meta(step, "toy", "toy", 16, 3, 0.0, compose.to_mapping(cfg))
    return checkpoint.save(run.checkpoints, {"learner": {"w": jnp.ones(2)}}, meta)


def opened(cfg: Config) -> OpenedRun:
    """What a session finds that ends at once."""
    with open_run(cfg) as run:
        return run


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def replace_folder(run: Path, other: Path, kind: str) -> Path | None:
    """Let `run`'s path lead to another run, as `kind` says; returns where the run's own folder is then."""
    aside = run.parent.parent / "aside"
    if kind == "removed":
        shutil.rmtree(run)
        shutil.copytree(other, run)
        return None
    if kind == "locked":
        (run / ".lock").unlink()
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
        shutil.copytree(other / "checkpoints", run / "checkpoints")
        return None
    run.rename(aside)
    if kind == "link":
        run.symlink_to(other)
    elif kind == "dangling":
        run.symlink_to(run.parent / "nothing")
    elif kind == "file":
        run.write_text("mine")
    elif kind == "empty":
        run.mkdir()
    else:
        shutil.copytree(other, run)
    return aside
