"""G1 checkpoints of small, untrained policies, written once per test session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import pytest

from holosoma_jax import experiment
from holosoma_jax.config import compose
from holosoma_jax.robots.record import record
from holosoma_jax.runs import checkpoint

STEP = 7


@pytest.fixture(scope="session")
def g1_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with ``checkpoints/7``; its simulator is one that is not installed."""
    narrow = ["--algo.config.actor-hidden=[32]", "--algo.config.critic-hidden=[16]"]
    return write_run(tmp_path_factory.mktemp("runs") / "20260102_030405-g1", "g1-29dof", narrow)


@pytest.fixture(scope="session")
def g1_fast_sac_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Likewise of FastSAC; its actor acts: what is zero at first is not, and the normaliser has seen something."""
    narrow = ["--algo.config.actor-hidden-dim=32", "--algo.config.critic-hidden-dim=16"]
    narrow += ["--algo.config.bf16=True"]  # as on an accelerator; exported files compute in float32
    folder = tmp_path_factory.mktemp("runs") / "20260102_030405-g1-fast-sac"
    return write_run(folder, "g1-29dof-fast-sac", narrow, shaken)


def shaken(learner: Any) -> Any:
    """`learner` with noise on the actor's parameters, and statistics of nothing in particular."""
    leaves, tree = jax.tree.flatten(learner.actor.params)
    keys = jax.random.split(jax.random.key(6), len(leaves) + 2)
    noisy = [x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys[2:], strict=True)]
    stats = learner.actor_stats.replace(
        mean=jax.random.normal(keys[0], learner.actor_stats.mean.shape),
        var=jax.random.uniform(keys[1], learner.actor_stats.var.shape, minval=0.5, maxval=4.0),
    )
    actor = learner.actor.replace(params=jax.tree.unflatten(tree, noisy))
    return learner.replace(actor=actor, actor_stats=stats)


def write_run(
    folder: Path, preset: str, overrides: Sequence[str], change: Any = lambda learner: learner
) -> Path:
    """`folder`, with a checkpoint of `change(learner)`, untrained, at step `STEP`."""
    plane = "terrain:terrain-locomotion-plane"
    cfg = compose.load([f"exp:{preset}", plane, "--training.num-envs=2", *overrides])
    parts = experiment.build(cfg)
    init = jax.jit(lambda key: change(parts.learner.init(key, parts.learner_spec, cfg.algo.config)))
    learner = init(jax.random.key(5))
    meta = checkpoint.Meta(
        step=STEP,
        robot="g1",
        simulator="isaacgym",
        num_envs=2,
        seed=0,
        elapsed_s=0.0,
        config=compose.to_mapping(
            compose.load(["simulator:isaacgym"], base=compose.to_mapping(cfg)),
        ),
        robot_record=record(parts.robot),
    )
    checkpoint.save(folder / "checkpoints", {"learner": learner}, meta)
    parts.bridge.close()
    return folder
