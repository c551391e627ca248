"""Environments of the G1 with terms from elsewhere."""

from __future__ import annotations

from dataclasses import replace

from bridges.protocol import BridgeSpec, PhysicsParams
from holosoma_jax import envs, robots
from holosoma_jax.config import compose
from holosoma_jax.config.schema import TermConfig
from holosoma_jax.envs import terrain
from holosoma_jax.envs.env import Env
from tests.envs.test_locomotion import N

SMALL = ("--terrain.terrain-term.num-rows=3", "--terrain.terrain-term.num-cols=2")
"""Arguments for a small map."""
NO_GAIT = (
    "--reward.terms.feet-phase=null",
    *(
        f"--observation.groups.{g}.terms.{t}=null"
        for g in ("actor-obs", "critic-obs")
        for t in ("cos-phase", "sin-phase")
    ),
)
"""Without the terms that read the gait clock."""


def build(*argv: str, **terms: TermConfig) -> Env:
    """An environment of `N` G1s, without a simulator behind it; `terms` replace those of their names."""
    cfg = compose.load([*argv, f"--training.num-envs={N}"])
    for group in ("command", "curriculum", "randomization"):
        section = getattr(cfg, group)
        own = {name: terms.get(name, term) for name, term in section.setup_terms.items()}
        cfg = replace(cfg, **{group: replace(section, setup_terms=own)})
    robot = robots.configure(robots.load("g1"), cfg.robot)
    fields = frozenset(PhysicsParams._fields)
    spec = BridgeSpec("test", N, robot.joint_names, robot.body_names, 0.005, 4, fields)
    return envs.make(cfg, robot, terrain.build(cfg.terrain, 0), spec)
