"""Environments: `make` composes a task's pure functions from config, robot, terrain and bridge."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp

from bridges.protocol import BridgeSpec, SimState
from holosoma_jax.config.schema import Config
from holosoma_jax.envs import locomotion
from holosoma_jax.envs import observe as observation
from holosoma_jax.envs.env import Env, EnvSpec
from holosoma_jax.envs.task import LocomotionTask, build
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.envs.view import View
from holosoma_jax.robots.robot import Robot

__all__ = ["Env", "EnvSpec", "make"]


def make(cfg: Config, robot: Robot, terrain: Terrain, bridge: BridgeSpec, *, evaluation: bool = False) -> Env:
    """The environment of a config.

    Args:
      cfg: a validated config.
      robot: the configured robot.
      terrain: the ground it stands on.
      bridge: names, rates and abilities of the simulator that will run it.
      evaluation: commands are kept instead of drawn, no pushes unless their term asks for them, a
        nominal gait clock that starts the same everywhere. Noise and randomisation stay as configured.

    Raises:
      ConfigError: see `task.build` and `observe.build`.
    """
    task = build(cfg, robot, terrain, bridge, evaluation=evaluation)
    groups = observation.build(cfg.observation, robot, _example(task))
    clip = cfg.observation.clip_observations
    ranges = {name: (low, high) for name, (low, high) in task.command.command_ranges.items()}
    spec = EnvSpec(
        num_envs=bridge.num_envs,
        action_dim=robot.num_joints,
        control_dt=bridge.control_dt,
        max_episode_steps=task.max_episode_steps,
        layout=tuple(term for group in groups for term in group.terms),
        obs_dims={group.name: group.dim for group in groups},
        action_mirror_index=tuple(int(i) for i in robot.mirror_index),
        action_mirror_sign=tuple(float(s) for s in robot.mirror_sign),
        reward_names=tuple(task.rewards),
        command_ranges=ranges,
        clip_observations=clip,
    )
    return Env(
        spec=spec,
        init=partial(locomotion.init, task, groups),
        pre_step=partial(locomotion.pre_step, task, cfg.robot.control.action_clip_value),
        post_step=partial(locomotion.post_step, task, groups),
        observe=partial(locomotion.observe, task, groups, clip),
        randomize_clocks=partial(locomotion.randomize_clocks, task),
        velocity_command=lambda state: state.command,
    )


def _example(task: LocomotionTask) -> View:
    """A `View` of two environments at rest, from which term widths are read."""
    n, j, b = 2, task.robot.num_joints, task.robot.num_bodies
    shapes = [(3,), (4,), (3,), (3,), (j,), (j,), (b, 3), (b, 4), (b, 3), (b, 3), (b, 3)]
    return View(
        robot=task.robot,
        terrain=task.terrain,
        control_dt=task.control_dt,
        max_episode_steps=task.max_episode_steps,
        sim=SimState(*(jnp.zeros((n, *shape), jnp.float32) for shape in shapes)),
        action=jnp.zeros((n, j), jnp.float32),
        prev_action=jnp.zeros((n, j), jnp.float32),
        default_joint_pos=jnp.zeros((n, j), jnp.float32),
        command=jnp.zeros((n, 3), jnp.float32),
        phase=jnp.zeros((n, 2), jnp.float32),
        episode_step=jnp.zeros((n,), jnp.int32),
    )
