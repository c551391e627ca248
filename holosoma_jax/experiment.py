"""From a config to everything that a loop needs: robot, ground, simulator, task, learner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import bridges
from bridges.mujoco import landing
from bridges.protocol import Bridge
from holosoma_jax import envs, robots
from holosoma_jax.config import extensions
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config, SimulatorConfig
from holosoma_jax.envs import terrain
from holosoma_jax.envs.env import Env
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.learn import symmetry
from holosoma_jax.learn.arrays import ACTOR_OBS
from holosoma_jax.learn.learner import Learner, LearnerSpec
from holosoma_jax.learn.own_learner import guarded_learner, guarded_loss
from holosoma_jax.learn.prior import ActionPrior
from holosoma_jax.parallel import processes
from holosoma_jax.parallel.devices import AXIS, Devices
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
    learner: Learner
    learner_spec: Any
    """what `learner.init` has to know of the environment"""

    @property
    def devices(self) -> Devices:
        """What the run computes on. `env` has the environments of one of them."""
        return Devices(self.cfg.training.devices)


def build(cfg: Config, *, evaluation: bool = False, adapt: Callable[[Robot], Robot] | None = None) -> Setup:
    """Make the parts that `cfg` names.

    Args:
      cfg: a validated config.
      evaluation: ask the task for its evaluation commands; all environments are on one device of this process.
      adapt: last word on the robot's record (a policy file may bring its own gains).

    Raises:
      ConfigError: a name, count or combination in `cfg` that a part does not accept.
    """
    if evaluation:
        cfg = replace(cfg, training=replace(cfg.training, devices=1))
    learner = load_learner(cfg)
    devices = Devices(cfg.training.devices)
    num_envs = cfg.training.num_envs
    if not evaluation:
        num_envs = processes.local_share(num_envs, len(devices.local))
    robot = robots.configure(robots.load(cfg.robot.asset), cfg.robot)
    if not robots.is_built_in(robot.mjcf):
        landing.require(robot, cfg.simulator)
    robot = robot_xml.with_visual_model(adapt(robot) if adapt else robot, cfg.viewer.robot_xml)
    ground = terrain.build(cfg.terrain, cfg.training.seed)
    bridge = bridges.make(
        simulator_config(cfg),
        robot,
        ground.ground,
        num_envs,
        self_collisions=cfg.robot.enable_self_collisions,
        devices=devices.count,
        axis_name=AXIS,
    )
    try:
        own = replace(bridge.spec, num_envs=num_envs // devices.count)
        env = envs.make(cfg, robot, ground, own, evaluation=evaluation)
        return Setup(cfg, robot, ground, bridge, env, learner, learner_spec(cfg, env, robot, learner))
    except BaseException:
        bridge.close()
        raise


def simulator_config(cfg: Config) -> SimulatorConfig:
    """What the bridge is made from: ``training.deterministic`` goes for the physics, too."""
    if not cfg.training.deterministic:
        return cfg.simulator
    settings = cfg.simulator.config
    warp = replace(settings.mujoco_warp, deterministic=True)
    return replace(cfg.simulator, config=replace(settings, mujoco_warp=warp))


def load_learner(cfg: Config) -> Learner:
    """The learner that `algo.name` names, with the loss of `algo.loss` if that names one.

    Raises:
      ConfigError: there is no such learner or loss, or the learner does not take it.
    """
    learner = extensions.resolve(extensions.LEARNERS, cfg.algo.name, "algo.name")
    if not isinstance(learner, Learner):
        raise ConfigError(
            f"algo.name: '{cfg.algo.name}' is a {type(learner).__name__}; wanted a holosoma_jax.learn.learner.Learner."
        )
    learner = guarded_learner(learner, f"algo.name: '{cfg.algo.name}'")
    if cfg.algo.loss is not None:
        loss = guarded_loss(extensions.imported(cfg.algo.loss, "algo.loss"), f"algo.loss: '{cfg.algo.loss}'")
        learner = learner.replace_loss(loss, "algo.loss")
    return learner


def learner_spec(
    cfg: Config, env: Env, robot: Robot, learner: Learner, *, bounded_by: Robot | None = None
) -> Any:
    """What `learner` must know of `env` and `robot`: sizes, ranges, and the mirror if it is asked for.

    Args:
      cfg: of the run.
      env: its environments.
      robot: what acts in them.
      learner: the algorithm.
      bounded_by: the robot whose joint ranges bound the actions, where it is not `robot`: a policy that was trained
        on another model of the robot keeps the bounds that it learned with.

    Raises:
      ConfigError: a mirror is asked for, and an observation term has none.
    """
    spec, algo = env.spec, cfg.algo.config
    mirror = None
    if getattr(algo, "use_symmetry", False):
        for term in spec.layout:
            if not term.mirror_index:
                raise ConfigError(
                    f"observation.groups.{term.group}.terms.{term.name}: '{term.func}' does not say how it looks in "
                    "the mirror. Decorate it with envs.terms.observations.mirrored, or pass "
                    "--algo.config.use-symmetry False."
                )
        mirror = symmetry.mirror_from(
            spec.layout,
            spec.action_mirror_index,
            spec.action_mirror_sign,
            getattr(algo, "phase_mirror", "swap"),
        )
    bounds = bounded_by or robot
    reach = bounds.action_reach
    if getattr(algo, "action_bounds", "limits") == "holosoma" and _scaled_by_effort(cfg):
        reach = reach * bounds.torque_limit / bounds.kp
    prior = _reference_prior(env, robot) if getattr(algo, "reference_action", False) else None
    return learner.spec(LearnerSpec(spec.obs_dims, spec.action_dim, tuple(map(float, reach)), mirror, prior))


def _reference_prior(env: Env, robot: Robot) -> ActionPrior:
    """The action whose joint targets are the reference's angles: (angle - default) / scale.

    Raises:
      ConfigError: the task has no reference, or the policy does not see it, or sees it scaled.
    """
    reference = env.task.reference_term
    if reference is None:
        raise ConfigError(
            f"algo.config.reference_action: the task '{env.task.name}' has no reference; leave it false."
        )
    matches = [t for t in env.spec.layout if t.group == ACTOR_OBS and t.func == reference and t.scale == 1.0]
    if not matches:
        raise ConfigError(
            f"algo.config.reference_action: '{ACTOR_OBS}' has no term '{reference}' of scale 1, which shows the "
            "policy what it adds to."
        )
    newest = matches[0].start + (matches[0].history_length - 1) * matches[0].dim
    return ActionPrior(
        columns=tuple(range(newest, newest + robot.num_joints)),
        scale=tuple(map(float, 1.0 / robot.action_scale)),
        offset=tuple(map(float, -robot.default_joint_pos / robot.action_scale)),
    )


def _scaled_by_effort(cfg: Config) -> bool:
    return cfg.robot.control.action_scales_by_effort_limit_over_p_gain
