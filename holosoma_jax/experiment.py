"""From a config to everything that a loop needs: robot, ground, simulator, task, learner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType

import bridges
from bridges.mujoco import landing
from bridges.protocol import Bridge
from holosoma_jax import envs, robots
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config, SimulatorConfig
from holosoma_jax.envs import terrain
from holosoma_jax.envs.env import Env
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.learn import fast_sac, ppo, symmetry
from holosoma_jax.parallel import processes
from holosoma_jax.render import robot_xml
from holosoma_jax.robots.robot import Robot


@dataclass(frozen=True, eq=False)
class Setup:
    """The parts of a run, made from its config by `build`, or by hand in a notebook."""

    cfg: Config
    robot: Robot
    terrain: Terrain
    bridge: Bridge
    env: Env
    learner: ppo.PpoSpec | fast_sac.FastSacSpec


def build(cfg: Config, *, evaluation: bool = False, adapt: Callable[[Robot], Robot] | None = None) -> Setup:
    """Make the parts that `cfg` names.

    Args:
      cfg: a validated config.
      evaluation: ask the task for its evaluation commands; all environments are this process'.
      adapt: last word on the robot's record (a policy file may bring its own gains).

    Raises:
      ConfigError: a name, count or combination in `cfg` that a part does not accept.
    """
    robot = robots.configure(robots.load(cfg.robot.asset), cfg.robot)
    if not robots.is_built_in(robot.mjcf):
        landing.require(robot, cfg.simulator)
    robot = robot_xml.with_visual_model(adapt(robot) if adapt else robot, cfg.viewer.robot_xml)
    ground = terrain.build(cfg.terrain, cfg.training.seed)
    bridge = bridges.make(
        simulator_config(cfg),
        robot,
        ground.ground,
        cfg.training.num_envs if evaluation else processes.local_share(cfg.training.num_envs),
        self_collisions=cfg.robot.enable_self_collisions,
    )
    env = envs.make(cfg, robot, ground, bridge.spec, evaluation=evaluation)
    return Setup(cfg, robot, ground, bridge, env, learner_spec(cfg, env, robot))


def simulator_config(cfg: Config) -> SimulatorConfig:
    """What the bridge is made from: ``training.deterministic`` goes for the physics, too."""
    if not cfg.training.deterministic:
        return cfg.simulator
    settings = cfg.simulator.config
    warp = replace(settings.mujoco_warp, deterministic=True)
    return replace(cfg.simulator, config=replace(settings, mujoco_warp=warp))


def learner_module(cfg: Config) -> ModuleType:
    """The module of the learner that `cfg` names; `init`, `mode` and `policy_fn` are common to all."""
    return {"ppo": ppo, "fast_sac": fast_sac}[cfg.algo.name]


def iteration_name(cfg: Config) -> str:
    """What an iteration of this run is called: off-policy learners count control steps."""
    return "iteration" if cfg.algo.name == "ppo" else "step"


def learner_spec(cfg: Config, env: Env, robot: Robot) -> ppo.PpoSpec | fast_sac.FastSacSpec:
    """What the learner must know of `env` and `robot`: sizes, ranges, and the mirror if it is asked for."""
    spec, algo = env.spec, cfg.algo.config
    mirror = None
    if algo.use_symmetry:
        for term in spec.layout:
            if not term.mirror_index:
                raise ConfigError(
                    f"observation.groups.{term.group}.terms.{term.name}: '{term.func}' does not say how it looks in "
                    "the mirror. Decorate it with envs.terms.observations.mirrored, or pass "
                    "--algo.config.use-symmetry False."
                )
        mirror = symmetry.mirror_from(
            spec.layout, spec.action_mirror_index, spec.action_mirror_sign, algo.phase_mirror
        )
    actor, critic = spec.obs_dims["actor_obs"], spec.obs_dims["critic_obs"]
    if cfg.algo.name == "ppo":
        return ppo.PpoSpec(actor, critic, spec.action_dim, mirror)
    reach = tuple(map(float, robot.action_reach))
    return fast_sac.FastSacSpec(actor, critic, spec.action_dim, reach, mirror)
