"""Velocity-tracking locomotion: the robot walks as a velocity command says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp

from bridges.protocol import Array, BridgeSpec, SimState
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.envs.compose import compose
from holosoma_jax.envs.env import Env, EnvState
from holosoma_jax.envs.task import Measurement, Steering, Task
from holosoma_jax.envs.tasks import locomotion_metrics
from holosoma_jax.envs.terms import gait, registry
from holosoma_jax.envs.terms.commands import AXES, GaitState, gait_clock
from holosoma_jax.envs.terms.term import Command
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.envs.view import GAIT, VELOCITY
from holosoma_jax.robots.robot import Robot


def build(
    cfg: Config, robot: Robot, terrain: Terrain, bridge: BridgeSpec, *, evaluation: bool = False
) -> Env:
    """The locomotion environment of `cfg`.

    Raises:
      ConfigError: there is no command `VELOCITY`; see `bind.bind` for others.
    """
    if VELOCITY not in cfg.command.setup_terms:
        raise ConfigError(
            f"command.setup_terms: '{VELOCITY}' is missing, which the task 'locomotion' follows; add "
            f"command:{robot.name}-{robot.num_joints}dof-locomotion or a command of your own of that name, or choose "
            "task:tracking."
        )
    cfg = _with_common_timer(cfg)
    return compose(cfg, robot, terrain, bridge, evaluation=evaluation)


def _with_common_timer(cfg: Config) -> Config:
    """The gait's frequency is drawn when the velocity command is, unless the config says otherwise."""
    terms = cfg.command.setup_terms
    clock, every = terms.get(GAIT), terms[VELOCITY].params.get("resampling_time")
    if clock is None or every is None or "resampling_time" in clock.params:
        return cfg
    if registry.resolve("commands", GAIT, clock.func) is not gait_clock:
        return cfg
    clock = replace(clock, params={**clock.params, "resampling_time": every})
    return replace(cfg, command=replace(cfg.command, setup_terms={**terms, GAIT: clock}))


def _velocity(env: Env) -> Command:
    """The velocity command, which can be steered.

    Raises:
      ConfigError: it cannot.
    """
    command = env.mdp.commands[VELOCITY]
    if command.steer is None:
        raise ConfigError(f"command.setup_terms.{VELOCITY}: its term has no `steer`, so nobody can set it.")
    return command


def limits(env: Env) -> Mapping[str, tuple[float, float]]:
    """Range of every axis of the velocity command, m/s and rad/s.

    Raises:
      ConfigError: the command cannot be steered, or does not say an axis' range.
    """
    ranges = _velocity(env).ranges or {}
    for axis in AXES:
        if axis not in ranges:
            raise ConfigError(
                f"command.setup_terms.{VELOCITY}: its term has no range of '{axis}'; pass Command(ranges=...) with "
                f"{', '.join(AXES)}."
            )
    return {axis: ranges[axis] for axis in AXES}


def sample(env: Env, key: jax.Array) -> jax.Array:
    """Velocity commands [E, 3] as training draws them at the start of an episode."""
    mdp, command = env.mdp, _velocity(env)
    training = replace(mdp, scene=replace(mdp.scene, evaluation=False))
    key_init, key_draw = jax.random.split(key)
    states = mdp.init(key_init)
    everyone = jnp.ones((mdp.scene.num_envs,), bool)
    state = command.init(key_init, training.scene)
    draws = command.draw(key_draw, training.scene) if command.draw else ()
    return command.value(command.start_episodes(training.rest(states), everyone, state, draws))


def set_velocity(env: Env, state: EnvState, velocity: jax.Array) -> EnvState:
    """The state under the command `velocity` [E, 3], in the middle of a gait that continues unless it is to stand."""
    return _with_velocity(env, state, velocity, lambda clock: clock.phase)


def begin_with(env: Env, state: EnvState, velocity: jax.Array) -> EnvState:
    """The first state under the command `velocity` [E, 3], with the gait at its start."""
    return _with_velocity(env, state, velocity, lambda clock: clock.offset)


def _with_velocity(
    env: Env, state: EnvState, velocity: jax.Array, phase: Callable[[GaitState], jax.Array]
) -> EnvState:
    commands, steer = dict(state.terms["commands"]), _velocity(env).steer
    assert steer is not None
    commands[VELOCITY] = steer(commands[VELOCITY], velocity)
    clock = commands.get(GAIT)
    if isinstance(clock, GaitState):
        commands[GAIT] = clock.replace(phase=gait.freeze_when_standing(phase(clock), velocity))
    return state.replace(terms={**state.terms, "commands": commands})


def measure(env: Env, state: EnvState, sim: SimState, targets: Array) -> Mapping[str, Measurement]:
    """See `locomotion_metrics.measure`."""
    return locomotion_metrics.measure(
        env.mdp.scene.robot,
        env.spec.control_dt,
        sim,
        command=env.mdp.values("commands", state.terms)[VELOCITY],
        targets=targets,
        action_change=state.action - state.prev_action,
        first_step=state.episode_step == 0,
    )


TASK = Task(
    name="locomotion",
    build=build,
    measures=locomotion_metrics.MEASURES,
    measure=measure,
    steering=Steering(limits=limits, sample=sample, set=set_velocity, begin=begin_with),
)
