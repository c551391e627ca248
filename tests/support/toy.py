"""Runs of an analytic robot and task, for fast tests of the loop without a simulator: configs and parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Ground
from holosoma_jax.config import compose
from holosoma_jax.config.schema import Config, TrainingConfig
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.experiment import Setup, learner_spec, load_learner
from holosoma_jax.parallel import processes
from holosoma_jax.robots.robot import Robot
from holosoma_jax.rollout.overlapped import Pair
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.training import loop, run_state
from holosoma_jax.training.run_state import RunState
from tests.support.toy_bridge import BODIES, HEIGHT, JOINTS, MASS, RANGE, ToyBridge
from tests.support.toy_task import make_env


def config(**changes: Any) -> Config:
    """A small run; `changes` are fields of `TrainingConfig` or `PpoConfig`."""
    base = compose.load(["exp:g1-29dof"])
    training: dict[str, Any] = {
        "num_envs": 16,
        "seed": 3,
        "project": "toy",
        "name": "run",
        "export_onnx": False,
    }
    algo: dict[str, Any] = {
        "num_learning_iterations": 4,
        "num_steps_per_env": 8,
        "num_learning_epochs": 2,
        "num_mini_batches": 2,
        "actor_hidden": (16,),
        "critic_hidden": (16,),
        "actor_learning_rate": 1e-3,
        "critic_learning_rate": 1e-3,
        "empirical_normalization": True,
        "save_interval": 2,
    }
    training |= _training(changes)
    algo |= {k: v for k, v in changes.items() if k not in training}
    return replace(
        base,
        training=replace(base.training, **training),
        algo=replace(base.algo, config=replace(base.algo.config, **algo)),
        logger=replace(base.logger, type="console", video=replace(base.logger.video, enabled=False)),
    )


def fast_sac(**changes: Any) -> Config:
    """A small run of FastSAC; `changes` are fields of `TrainingConfig` or `FastSacConfig`."""
    algo: dict[str, Any] = {
        "num_learning_iterations": 24,
        "num_updates": 2,
        "policy_frequency": 2,
        "batch_size": 32,
        "buffer_size": 16,
        "learning_starts": 3,
        "actor_hidden_dim": 16,
        "critic_hidden_dim": 16,
        "num_atoms": 21,
        "bf16": False,  # the same products on every machine
        "save_interval": 12,
        "logging_interval": 4,
    }
    base, changed = compose.load(["exp:g1-29dof-fast-sac"]), config(**_training(changes))
    algo |= {k: v for k, v in changes.items() if k not in _training(changes)}
    settings = replace(base.algo.fast_sac, **algo)
    return replace(changed, exp=base.exp, algo=replace(base.algo, config=settings))


def _training(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in changes.items() if k in TrainingConfig.__dataclass_fields__}


def setup(
    cfg: Config | None = None, *, robot: str = "toy", poison_at: int | None = None, jump_every: int = 0
) -> Setup:
    """The parts of a toy run; each call makes a fresh simulator."""
    cfg = cfg or config()
    num_envs = processes.local_share(cfg.training.num_envs, cfg.training.devices)
    bridge = ToyBridge(num_envs, poison_at=poison_at)
    env = make_env(num_envs // cfg.training.devices, jump_every=jump_every)
    named = toy_robot(robot)
    ground = cast("Terrain", SimpleNamespace(ground=Ground()))
    learner = load_learner(cfg)
    return Setup(cfg, named, ground, bridge, env, learner, learner_spec(cfg, env, named, learner))


def toy_robot(name: str = "toy") -> Robot:
    """A record of the robot; no model file is read."""
    joints = np.zeros(JOINTS, np.float32)
    return Robot(
        name=name, mjcf=Path("toy.xml"), joint_names=tuple(f"joint_{i}" for i in range(JOINTS)), body_names=BODIES,
        default_joint_pos=joints, kp=joints + 1, kd=joints + 1, torque_limit=joints + 1, velocity_limit=joints + 1,
        armature=joints, joint_lower=joints - np.float32(RANGE), joint_upper=joints + np.float32(RANGE),
        action_scale=joints + 1, mirror_index=np.arange(JOINTS, dtype=np.int32), mirror_sign=joints + 1,
        init_pos=(0.0, 0.0, HEIGHT), init_quat=(1.0, 0.0, 0.0, 0.0), root_body="base", torso_body="base",
        feet_bodies=("foot", "foot"), foot_height_bodies=("foot", "foot"), termination_bodies=("base",),
        randomized_mass_bodies=("base",), body_mass=np.array([MASS, 1.0], np.float32),
    )  # fmt: skip


class Rows(list[tuple[int, dict[str, float]]]):
    """A sink that keeps what it is given, without the clock's share of it."""

    def write(self, step: int, scalars: dict[str, float]) -> None:
        kept = {name: value for name, value in scalars.items() if not name.startswith("Perf/")}
        self.append((step, kept))


def go(setup: Setup, folder: Path, saved: Path | None = None, **kwargs: Any) -> loop.Result:
    """One session of training in `folder`."""
    driver, state = run_state.create_or_restore(setup, saved)
    return loop.train(setup, driver, state, RunDir(folder), **kwargs)


def everything(setup: Setup, state: RunState) -> dict[str, Any]:
    """All that a run is, as arrays on the host: learner, environments, simulator, keys, counters."""

    def fetch(x: jax.Array) -> np.ndarray:
        return np.array(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)

    learner, replay, pending, rollout = state.runner
    parts = {"learner": learner, "carry": rollout.carry, "sim": rollout.sim, "replay": replay}
    if isinstance(pending, Pair):  # the spare one is to be filled again
        parts["to learn from"] = pending.full
    elif setup.learner.kind == "off_policy":  # else it is a buffer to be filled again
        parts["to learn from"] = pending
    physics = dict(setup.bridge.get_state(rollout.physics))
    return {"iteration": state.iteration, "physics": physics, **jax.tree.map(fetch, parts)}
