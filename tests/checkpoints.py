"""A G1 checkpoint of an untrained policy with a small network, written once per test session."""

from __future__ import annotations

from pathlib import Path

import jax
import pytest

from holosoma_jax.config import compose
from holosoma_jax.learn import ppo
from holosoma_jax.loop import checkpoint, setup

STEP = 7


@pytest.fixture(scope="session")
def g1_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with ``checkpoints/7``; its simulator is one that is not installed."""
    cfg = compose.load(
        [
            "exp:g1-29dof",
            "terrain:terrain-locomotion-plane",
            "--training.num-envs=2",
            "--algo.config.actor-hidden=[32]",
            "--algo.config.critic-hidden=[16]",
        ]
    )
    parts = setup.build(cfg)
    init = jax.jit(lambda key: ppo.init(key, parts.learner, cfg.algo.config))  # pyright: ignore
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
    )
    run = tmp_path_factory.mktemp("runs") / "20260102_030405-g1"
    checkpoint.save(run / "checkpoints", {"learner": learner}, meta)
    parts.bridge.close()
    return run
