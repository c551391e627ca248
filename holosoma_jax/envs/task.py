"""The locomotion task's terms, bound to their parameters once, and what they draw in a step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import BridgeSpec, PhysicsParams, Pose
from holosoma_jax import rotations
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.envs.state import Draws
from holosoma_jax.envs.terms import commands, curriculum, randomization, registry
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.envs.view import View
from holosoma_jax.robots.robot import Robot

log = logging.getLogger(__name__)

PhysicsTerm = Callable[[jax.Array, Robot, int], PhysicsParams]


@dataclass(frozen=True, eq=False)
class LocomotionTask:
    """Static: robot, rates and terms. Every method is a pure function of its arguments."""

    robot: Robot
    terrain: Terrain
    num_envs: int
    control_dt: float
    decimation: int
    max_episode_steps: int
    evaluation: bool
    rewards: Mapping[str, Callable[[View], jax.Array]]
    weights: np.ndarray
    """[R]"""
    tagged: np.ndarray
    """[R] bool: scaled by the penalty curriculum"""
    only_positive: bool
    failures: Mapping[str, Callable[[View], jax.Array]]
    timeouts: Mapping[str, Callable[[View], jax.Array]]
    command: commands.VelocityCommand
    gait: commands.Gait
    push: randomization.Push
    delay: randomization.ActionDelay
    torque_noise: randomization.TorqueNoise
    actuator: randomization.ActuatorRandomizer
    joint_bias: randomization.JointBias
    reset_joints: randomization.ResetJoints
    reset_root: randomization.ResetRoot
    once: Mapping[str, PhysicsTerm]
    """physics drawn when the environments are created"""
    each_episode: Mapping[str, PhysicsTerm]
    """physics drawn at every reset"""
    tracker: curriculum.AverageEpisodeTracker
    penalty: curriculum.PenaltyCurriculum

    @property
    def resampling_steps(self) -> int:
        """Control steps between command draws."""
        return max(1, round(self.command.resampling_time / self.control_dt))

    def physics(self, terms: Mapping[str, PhysicsTerm], key: jax.Array) -> PhysicsParams:
        """The combined parameters of `terms`: ratios multiply, offsets add, the last friction rules."""
        merged = PhysicsParams()
        for index, sample in enumerate(terms.values()):
            merged = _merge(merged, sample(jax.random.fold_in(key, index), self.robot, self.num_envs))
        return merged

    def draw(self, key: jax.Array, origin: jax.Array) -> Draws:
        """All random values of one control step; `origin` [E, 3] m places the reset poses."""
        keys = iter(jax.random.split(key, 12))
        left = jax.random.uniform(next(keys), (self.num_envs,), minval=-jnp.pi, maxval=jnp.pi)
        return Draws(
            pose=self._pose(next(keys), origin),
            params=self.physics(self.each_episode, next(keys)),
            delay=self.delay.sample(next(keys), self.num_envs),
            torque_noise=self._torque_noise(next(keys)),
            push_interval=self.push.sample_interval(next(keys), self.num_envs, self.control_dt),
            push_velocity=self.push.sample_velocity(next(keys), self.num_envs),
            phase_left=jnp.zeros_like(left) if self.evaluation else left,
            reset_command=self.command.sample(next(keys), self.num_envs),
            reset_frequency=self._frequency(next(keys)),
            timer_command=self.command.sample(next(keys), self.num_envs),
            timer_frequency=self._frequency(next(keys)),
            noise_key=next(keys),
        )

    def _frequency(self, key: jax.Array) -> jax.Array:
        if self.evaluation:
            return jnp.full((self.num_envs,), 1.0 / self.gait.gait_period, jnp.float32)
        return self.gait.sample(key, self.num_envs)

    def _torque_noise(self, key: jax.Array) -> jax.Array:
        shape = (self.num_envs, self.robot.num_joints)
        if not self.torque_noise.enabled:
            return jnp.zeros(shape, jnp.float32)
        limits = self.actuator.rfi_lim_range if self.actuator.enable_rfi_lim else (1.0, 1.0)
        limit = jnp.asarray(self.robot.torque_limit, jnp.float32)[None]
        return self.torque_noise.rfi_lim * limit * randomization.uniform(key, shape, limits)

    def _pose(self, key: jax.Array, origin: jax.Array) -> Pose:
        """Start pose: default joints and initial root pose on the tile, with the reset noise."""
        key_joint, key_xy, key_yaw, key_lin, key_ang = jax.random.split(key, 5)
        default = jnp.asarray(self.robot.default_joint_pos, jnp.float32)[None]
        joint_pos, joint_vel = self.reset_joints.sample(
            key_joint, self.robot, jnp.broadcast_to(default, (self.num_envs, self.robot.num_joints))
        )
        spawn, shape = self.terrain.spawn, (self.num_envs, 3)
        offset = spawn.xy_offset_range * jax.random.uniform(key_xy, (self.num_envs, 2), minval=-1.0)
        place = origin.at[:, :2].add(offset)
        if spawn.query_terrain_height:
            place = place.at[:, 2].set(self.terrain.spawn_height(place[:, :2]))
        yaw = randomization.uniform(key_yaw, (self.num_envs,), self.reset_root.yaw_range)
        turn = jnp.stack([jnp.cos(yaw / 2), 0.0 * yaw, 0.0 * yaw, jnp.sin(yaw / 2)], -1)
        upright = jnp.broadcast_to(jnp.asarray(self.robot.init_quat, jnp.float32)[None], turn.shape)
        return Pose(
            root_pos=place + jnp.asarray(self.robot.init_pos, jnp.float32)[None],
            root_quat=rotations.multiply(turn, upright),
            root_lin_vel=randomization.uniform(key_lin, shape, self.reset_root.lin_vel_range),
            root_ang_vel=randomization.uniform(key_ang, shape, self.reset_root.ang_vel_range),
            joint_pos=joint_pos,
            joint_vel=joint_vel,
        )


def build(
    cfg: Config, robot: Robot, terrain: Terrain, bridge: BridgeSpec, *, evaluation: bool
) -> LocomotionTask:
    """Bind every term of a config.

    Raises:
      ConfigError: a term is unknown or wrongly parameterised, a required one is missing, the
        simulator cannot randomise what is asked for, the robot and the bridge disagree.
    """
    if bridge.joint_names != robot.joint_names or bridge.body_names != robot.body_names:
        raise ConfigError(
            f"the simulator's joints or bodies are not those of robot '{robot.name}', in its order; "
            "build the bridge from the same robot record."
        )
    reward_terms = {n: t for n, t in cfg.reward.terms.items() if t.weight != 0.0}
    setup = _bind_all("randomization", cfg.randomization.setup_terms)
    reset = _bind_all("randomization", cfg.randomization.reset_terms)
    curricula = _bind_all("curriculum", cfg.curriculum.setup_terms)
    command_terms = _bind_all("commands", cfg.command.setup_terms)
    endings = {
        n: (t.is_timeout, registry.bind("terminations", n, t.func, t.params))
        for n, t in cfg.termination.terms.items()
    }
    penalty = _pick(curricula, curriculum.PenaltyCurriculum) or curriculum.PenaltyCurriculum(enabled=False)
    command = _pick(command_terms, commands.VelocityCommand)
    if command is None:
        raise ConfigError("command.setup_terms: 'locomotion_command' is missing; add command:locomotion.")
    physics = {
        n: t for n, t in (setup | reset).items() if hasattr(t, "sample") and hasattr(t, "each_episode")
    }
    custom_once = {n: t for n, t in setup.items() if not hasattr(t, "sample") and _is_function(t)}
    custom_each = {n: t for n, t in reset.items() if not hasattr(t, "sample") and _is_function(t)}
    once = {n: t.sample for n, t in physics.items() if not t.each_episode} | custom_once
    each = {n: t.sample for n, t in physics.items() if t.each_episode} | custom_each
    ignore = cfg.randomization.ignore_unsupported
    disabled_actuator = randomization.ActuatorRandomizer(enable_pd_gain=False)
    return LocomotionTask(
        robot=robot,
        terrain=terrain,
        num_envs=bridge.num_envs,
        control_dt=bridge.control_dt,
        decimation=bridge.decimation,
        max_episode_steps=int(
            np.ceil(cfg.simulator.config.sim.max_episode_length_s / bridge.control_dt - 1e-6)
        ),
        evaluation=evaluation,
        rewards={n: registry.bind("rewards", n, t.func, t.params) for n, t in reward_terms.items()},
        weights=np.array([t.weight for t in reward_terms.values()], np.float32),
        tagged=np.array([penalty.tag in t.tags for t in reward_terms.values()], bool),
        only_positive=cfg.reward.only_positive_rewards,
        failures={n: f for n, (is_timeout, f) in endings.items() if not is_timeout},
        timeouts={n: f for n, (is_timeout, f) in endings.items() if is_timeout},
        command=command,
        gait=_pick(command_terms, commands.Gait) or commands.Gait(),
        push=_pick(setup, randomization.Push) or randomization.Push(enabled=False),
        delay=_pick(setup, randomization.ActionDelay) or randomization.ActionDelay(enabled=False),
        torque_noise=_pick(setup, randomization.TorqueNoise) or randomization.TorqueNoise(),
        actuator=_pick(setup, randomization.ActuatorRandomizer) or disabled_actuator,
        joint_bias=_pick(setup, randomization.JointBias) or randomization.JointBias(),
        reset_joints=_pick(reset, randomization.ResetJoints) or _exact_joints(),
        reset_root=_pick(reset, randomization.ResetRoot) or randomization.ResetRoot(),
        once=_supported(once, robot, bridge, ignore),
        each_episode=_supported(each, robot, bridge, ignore),
        tracker=_pick(curricula, curriculum.AverageEpisodeTracker) or curriculum.AverageEpisodeTracker(),
        penalty=penalty,
    )


def _exact_joints() -> randomization.ResetJoints:
    return randomization.ResetJoints(joint_pos_scale_range=(1.0, 1.0))


def _bind_all(kind: str, terms: Mapping[str, Any]) -> dict[str, Any]:
    """Each term of a config group: an instance for a class, a partial for a function."""
    bound = {}
    for name, term in terms.items():
        made = registry.bind(kind, name, term.func, term.params)
        bound[name] = made() if isinstance(made.func, type) else made
    return bound


def _pick(terms: Mapping[str, Any], kind: type) -> Any:
    return next((t for t in terms.values() if isinstance(t, kind)), None)


def _is_function(term: Any) -> bool:
    return not hasattr(term, "__dataclass_fields__")


def _supported(
    terms: Mapping[str, PhysicsTerm], robot: Robot, bridge: BridgeSpec, ignore: bool
) -> dict[str, PhysicsTerm]:
    """The terms whose parameters the simulator can change; the others stop or are skipped."""
    kept = {}
    for name, sample in terms.items():
        made = jax.eval_shape(lambda key, f=sample: f(key, robot, bridge.num_envs), jax.random.key(0))
        missing = [f for f in made._fields if getattr(made, f) is not None and f not in bridge.randomizes]
        if not missing:
            kept[name] = sample
        elif ignore:
            log.warning(
                "randomization '%s' skipped: %s cannot change %s.", name, bridge.simulator, missing[0]
            )
        else:
            raise ConfigError(
                f"randomization.setup_terms.{name}: simulator '{bridge.simulator}' cannot change "
                f"{missing[0]}; use --randomization.ignore_unsupported=True to go on without it."
            )
    return kept


def _merge(a: PhysicsParams, b: PhysicsParams) -> PhysicsParams:
    def join(name: str, x: Any, y: Any) -> Any:
        if x is None or y is None:
            return y if x is None else x
        if name == "com_offset":
            return x + y
        return y if name == "friction" else x * y

    return PhysicsParams(*(join(n, getattr(a, n), getattr(b, n)) for n in PhysicsParams._fields))
