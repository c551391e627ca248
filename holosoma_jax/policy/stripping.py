"""From a run to a run that holds its policy alone, small enough to ship and without a trace of where it was made."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from holosoma_jax import robots
from holosoma_jax.config import compose, keys
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import TrainingConfig
from holosoma_jax.config.trust import Saved
from holosoma_jax.experiment import build
from holosoma_jax.learn.policy_leaves import policy_leaves
from holosoma_jax.policy import exporting
from holosoma_jax.runs import checkpoint, origin, policy_only, run_config, saved_steps

_CLEARED = {"training": {"checkpoint": None, "warm_start": None, "output_dir": TrainingConfig().output_dir}}
"""Folders of whoever trained."""


def strip(where: str, target: Path, *, allow_code: Iterable[str] = ()) -> Path:
    """Write the policy of `where` into the new run `target`; returns the checkpoint folder.

    Args:
      where: a run directory or one of its ``checkpoints/<step>`` folders.
      target: a folder that is not there yet, or empty.
      allow_code: packages that the run's config may name functions of.

    Raises:
      ConfigError: there is no such checkpoint, or its config names files of this machine.
    """
    path = saved_steps.resolve(where, key="--checkpoint")
    if path is None:
        raise ConfigError(f"--checkpoint {where}: this run has saved no checkpoint yet.")
    meta, saved = checkpoint.read_meta(path), run_config.saved_config(path)
    config = origin.without_personal(keys.overlay(saved.config, _CLEARED), path)
    for key, value in _own_files(config):
        raise ConfigError(
            f"{path}: {key} is {value}, a file of this machine, which cannot be shipped. Train with what the "
            "package holds."
        )
    cfg = compose.from_mapping(Saved(config, saved.folder), str(path), allow_code=allow_code)
    setup = build(exporting.bench(cfg), evaluation=True)
    try:
        checkpoint.require(path, meta, robot=setup.robot.name)
        template = setup.learner.init(jax.random.key(0), setup.learner_spec, cfg.algo.config)
        leaves = policy_leaves(setup.learner, template, setup.env.spec.obs_dims)
        learner = policy_only.load(path, template, leaves)
        return policy_only.save(target, replace(meta, config=compose.to_mapping(cfg)), learner, leaves)
    finally:
        setup.bridge.close()


def _own_files(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(dotted key, value) of everything in `config` that is the path of a file outside of the package."""
    asset = config["robot"]["asset"]
    if not robots.is_built_in(robots.load(asset, report=False).mjcf):
        yield "robot.asset", asset

    def walk(node: Any, key: str) -> Iterator[tuple[str, str]]:
        for name, value in node.items() if isinstance(node, Mapping) else ():
            here = f"{key}.{name}" if key else str(name)
            if isinstance(value, str) and os.sep in value:
                yield here, value
            yield from walk(value, here)

    yield from walk(json.loads(json.dumps(config)), "")
