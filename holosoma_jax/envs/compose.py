"""An environment from the terms of a config, for any task."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from bridges.protocol import BridgeSpec
from holosoma_jax.config.schema import Config
from holosoma_jax.envs import stages, step
from holosoma_jax.envs.bind import bind
from holosoma_jax.envs.env import Env, EnvSpec, EnvState
from holosoma_jax.envs.mdp import of
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.envs.view import VELOCITY
from holosoma_jax.robots.robot import Robot


def compose(
    cfg: Config,
    robot: Robot,
    terrain: Terrain,
    bridge: BridgeSpec,
    *,
    evaluation: bool = False,
    assets: Mapping[str, Any] | None = None,
) -> Env:
    """The environment that the terms of `cfg` make.

    Args:
      cfg: a validated config.
      robot: the configured robot.
      terrain: the ground it stands on.
      bridge: names, rates and abilities of the simulator that will run it.
      evaluation: see `Scene.evaluation`. Noise and randomisation stay as configured.
      assets: see `Scene.assets`.

    Raises:
      ConfigError: see `bind.bind`.
    """
    seconds = cfg.simulator.config.sim.max_episode_length_s
    scene = Scene(
        robot=robot,
        terrain=terrain,
        num_envs=bridge.num_envs,
        control_dt=bridge.control_dt,
        decimation=bridge.decimation,
        max_episode_steps=int(np.ceil(seconds / bridge.control_dt - 1e-6)),
        evaluation=evaluation,
        assets=assets or {},
    )
    bound = bind(cfg, scene, bridge)
    clip = cfg.observation.clip_observations
    ranges = {
        axis: pair for command in bound.commands.values() for axis, pair in (command.ranges or {}).items()
    }
    spec = EnvSpec(
        num_envs=bridge.num_envs,
        action_dim=robot.num_joints,
        control_dt=bridge.control_dt,
        max_episode_steps=scene.max_episode_steps,
        layout=tuple(term for group in bound.groups for term in group.layout),
        obs_dims={group.name: group.dim for group in bound.groups},
        action_mirror_index=tuple(int(i) for i in robot.mirror_index),
        action_mirror_sign=tuple(float(s) for s in robot.mirror_sign),
        reward_names=tuple(bound.rewards),
        command_ranges=ranges or None,
        clip_observations=clip,
        pooled=frozenset(
            f"terms/{kind}/{name}/{field}"
            for kind, terms in bound.records.items()
            for name, term in terms.items()
            for field in term.pooled
        ),
        action_clip=cfg.robot.control.action_clip_value,
    )

    def velocity_command(state: EnvState) -> Any:
        return bound.values("commands", state.terms).get(VELOCITY)

    def ghost(state: EnvState) -> Any:
        view = stages.view_of(bound, state, bound.rest(state.terms).sim)
        shown = (c.ghost(view, of(state.terms, "commands", n)) for n, c in bound.commands.items() if c.ghost)
        return next(shown, None)

    return Env(
        spec=spec,
        init=partial(step.init, bound),
        pre_step=partial(step.pre_step, bound, cfg.robot.control.action_clip_value),
        post_step=partial(step.post_step, bound),
        observe=partial(step.observe, bound, clip),
        randomize_clocks=partial(step.randomize_clocks, bound),
        velocity_command=velocity_command,
        ghost=ghost,
        mdp=bound,
    )
