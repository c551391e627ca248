"""From a config to everything that a loop needs: robot, ground, simulator, task, learner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import bridges
from bridges.protocol import Bridge
from holosoma_jax import envs, robots
from holosoma_jax.config.schema import Config
from holosoma_jax.envs import terrain
from holosoma_jax.envs.env import Env
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.learn import ppo, symmetry
from holosoma_jax.loop import parallel
from holosoma_jax.robots.robot import Robot


@dataclass(frozen=True, eq=False)
class Setup:
    """The parts of a run, made from its config by `build`, or by hand in a notebook."""

    cfg: Config
    robot: Robot
    terrain: Terrain
    bridge: Bridge
    env: Env
    learner: ppo.PpoSpec


def build(cfg: Config, *, evaluation: bool = False, adapt: Callable[[Robot], Robot] | None = None) -> Setup:
    """Make the parts that `cfg` names.

    Args:
      cfg: a validated config.
      evaluation: ask the task for its evaluation commands.
      adapt: last word on the robot's record (a policy file may bring its own gains).

    Raises:
      ConfigError: a name, count or combination in `cfg` that a part does not accept.
    """
    robot = robots.configure(robots.load(cfg.robot.asset), cfg.robot)
    robot = adapt(robot) if adapt else robot
    ground = terrain.build(cfg.terrain, cfg.training.seed)
    bridge = bridges.make(
        cfg.simulator,
        robot,
        ground.ground,
        parallel.local_share(cfg.training.num_envs),
        self_collisions=cfg.robot.enable_self_collisions,
    )
    env = envs.make(cfg, robot, ground, bridge.spec, evaluation=evaluation)
    return Setup(cfg, robot, ground, bridge, env, learner_spec(cfg, env))


def learner_spec(cfg: Config, env: Env) -> ppo.PpoSpec:
    """Sizes that the learner must have for `env`, and its mirror if the config asks for symmetry."""
    spec, algo = env.spec, cfg.algo.config
    mirror = None
    if algo.use_symmetry:
        mirror = symmetry.mirror_from(
            spec.layout, spec.action_mirror_index, spec.action_mirror_sign, algo.phase_mirror
        )
    return ppo.PpoSpec(
        actor_obs_dim=spec.obs_dims["actor_obs"],
        critic_obs_dim=spec.obs_dims["critic_obs"],
        action_dim=spec.action_dim,
        mirror=mirror,
    )
