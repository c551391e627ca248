"""One robot, alone, told to walk: the video at the end of a training, and what `replay` shows of a policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Array, Pose, SimState
from holosoma_jax import envs, experiment
from holosoma_jax.config import compose
from holosoma_jax.config.schema import Config
from holosoma_jax.evaluation import evaluate, perturbations
from holosoma_jax.policy import exporting
from holosoma_jax.policy.policies import Policy, PolicySource
from holosoma_jax.render.recording import Recorder
from holosoma_jax.rollout.state import StepInfo

COMMAND = (0.5, 0.0, 0.0)
"""m/s forward, m/s left, rad/s"""


def walk(
    cfg: Config, act: Callable[[Array], Array], show: Callable[[SimState, Array | None, Pose | None], None]
) -> None:
    """Let a policy act in one environment, for the length of a video; told `COMMAND` if the task takes commands.

    Args:
      cfg: of the training.
      act: raw observations [1, obs_dim] -> actions [1, A].
      show: gets state, command and ghost of each control step; they are borrowed.
    """
    parts = experiment.build(replace(cfg, training=replace(cfg.training, num_envs=1)), evaluation=True)
    try:
        spec = parts.env.spec
        command = None if parts.env.task.steering is None else jnp.array([COMMAND])
        steps = min(round(cfg.logger.video.length_s / spec.control_dt), spec.max_episode_steps - 1)
        key = jax.random.key(0)
        evaluate.run(
            parts,
            Policy("final", act),
            command,
            steps,
            key,
            lambda info: show(info.sim, info.command, info.ghost),
        )
    finally:
        parts.bridge.close()


def record(
    source: PolicySource, target: Path, length_s: float, velocity: tuple[float, float, float] | None = None
) -> Path:
    """Write what a policy does, undisturbed, on a plane in MuJoCo; `replay` and `render.recording_file.read` read it.

    A mesh in a clip's coordinates stays, as the clip is made on it.

    Args:
      source: the policy.
      target: the .npz file; its folder is made.
      length_s: s, at most; the episode's end ends it, too.
      velocity: m/s forward, m/s left, rad/s; default: `COMMAND`, if the task takes commands.

    Raises:
      ConfigError: the policy does not fit its environment, or takes no commands and `velocity` gives one.
      OSError: nothing can be written.
    """
    saved = compose.from_mapping(source.config, str(source.path))
    cfg, ground = exporting.bench(saved), saved.terrain.terrain_term
    if ground.mesh_type == "load_obj" and ground.spawn.at_world_origin:  # the clip was made on it
        cfg = replace(cfg, terrain=saved.terrain)
    cfg = envs.task_of(cfg).perturb(cfg, perturbations.MODES["clean"])
    parts = experiment.build(cfg, evaluation=True, adapt=source.adapt)
    try:
        spec, recorder, command = parts.env.spec, Recorder(parts.robot, ground=parts.terrain.ground), None
        if velocity is not None or parts.env.task.steering is not None:
            evaluate.steering(parts)
            command = jnp.array([velocity or COMMAND])
        told = None if command is None else np.asarray(command)

        def add(info: StepInfo) -> None:
            recorder.add(
                info.sim, told, info.pending.action, info.targets, bool(info.pending.starts[0]), info.ghost
            )

        policy = source.policy(parts)
        steps = max(1, min(round(length_s / spec.control_dt), spec.max_episode_steps - 1))
        evaluate.run(parts, policy, command, steps, jax.random.key(cfg.training.seed), add)
        target.parent.mkdir(parents=True, exist_ok=True)
        facts = {"policy": policy.name, "simulator": cfg.simulator.name, "seed": cfg.training.seed}
        return recorder.save(
            target, control_dt=spec.control_dt, decimation=parts.bridge.spec.decimation, **facts
        )
    finally:
        parts.bridge.close()
