"""Commands of the locomotion task: the velocity asked for, and the gait clock that goes with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.types import Fraction, NonNegativeFloat, PositiveFloat
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.terms import gait
from holosoma_jax.envs.terms.motion import command as motion
from holosoma_jax.envs.terms.term import Command, Range, where
from holosoma_jax.envs.view import View

AXES = ("lin_vel_x", "lin_vel_y", "ang_vel_yaw")
"""Of a velocity command [E, 3], in order: m/s forward, m/s left, rad/s."""


class VelocityDraw(NamedTuple):
    """One draw of a velocity command."""

    unit: jax.Array
    """[E, 3] in [0, 1): where in the range"""
    stand: jax.Array
    """[E] bool: 0 instead"""


def velocity_command(
    *,
    command_ranges: dict[Literal["lin_vel_x", "lin_vel_y", "ang_vel_yaw", "heading"], Range],
    stand_prob: Fraction = 0.2,
    resampling_time: PositiveFloat = 10.0,
) -> Command:
    """Uniform velocity commands, held for a while, some of them 'stand still'. State: [E, 3].

    Args:
      command_ranges: lin_vel_x, lin_vel_y in m/s and ang_vel_yaw in rad/s; 'heading' is exported but not
        used.
      stand_prob: probability that a draw asks to stand still.
      resampling_time: s between draws within an episode.

    Raises:
      ConfigError: a range is missing or reversed.
    """
    own: dict[str, Range] = {str(axis): pair for axis, pair in command_ranges.items()}
    for axis in AXES:
        low, high = own.get(axis, (1.0, 0.0))
        if low > high:
            raise ConfigError(
                f"command_ranges.{axis}: got {own.get(axis)}, wanted [low, high] with low <= high."
            )

    def init(key: jax.Array, scene: Scene) -> jax.Array:
        del key
        return jnp.zeros((scene.num_envs, 3), jnp.float32)

    def draw(key: jax.Array, scene: Scene) -> dict[str, VelocityDraw]:
        keys = dict(zip(("reset", "timer"), jax.random.split(key), strict=True))
        return {when: draw_velocity(k, scene.num_envs, stand_prob) for when, k in keys.items()}

    def velocity(view: View, drawn: VelocityDraw) -> jax.Array:
        return velocity_within({**own, **view.command_ranges}, drawn)

    def reset(view: View, mask: jax.Array, command: jax.Array, draws: Any) -> jax.Array:
        return command if view.scene.evaluation else where(mask, velocity(view, draws["reset"]), command)

    def update(view: View, command: jax.Array, draws: Any) -> jax.Array:
        if view.scene.evaluation:
            return command
        return where(is_due(view, resampling_time), velocity(view, draws["timer"]), command)

    def metrics(view: View, command: jax.Array) -> dict[str, jax.Array]:
        del view
        return {"command_speed": jnp.mean(jnp.sqrt(jnp.sum(jnp.square(command[:, :2]), -1)))}

    return Command(
        init=init,
        reset=reset,
        draw=draw,
        update=update,
        ranges=own,
        steer=lambda command, velocity: velocity,
        metrics=metrics,
    )


def draw_velocity(key: jax.Array, num_envs: int, stand_prob: float) -> VelocityDraw:
    """One draw for `num_envs` environments."""
    key_value, key_stand = jax.random.split(key)
    return VelocityDraw(
        jax.random.uniform(key_value, (num_envs, 3)), jax.random.uniform(key_stand, (num_envs,)) <= stand_prob
    )


def velocity_within(ranges: dict[str, tuple[Any, Any]], drawn: VelocityDraw) -> jax.Array:
    """Commands [E, 3] m/s, m/s, rad/s: `drawn` within `ranges`, whose limits are numbers, [] or [E]."""
    moving = []
    for i, axis in enumerate(AXES):
        low, high = (jnp.asarray(limit, jnp.float32) for limit in ranges[axis])
        moving.append(low + (high - low) * drawn.unit[:, i])
    return jnp.where(drawn.stand[:, None], 0.0, jnp.stack(moving, -1))


def is_due(view: View, resampling_time: float) -> jax.Array:
    """[E] bool: a command is drawn anew, every `resampling_time` s of an episode.

    An environment that was just reset is due as well (0 is a multiple of every interval) and draws twice.
    """
    return view.episode_step % max(1, round(resampling_time / view.control_dt)) == 0


class GaitState(struct.PyTreeNode):
    """State of the gait clock."""

    phase: jax.Array
    """[E, 2] rad in [-pi, pi], left and right foot"""
    offset: jax.Array
    """[E, 2] rad, phase at the start of the episode"""
    frequency: jax.Array
    """[E] Hz"""


def gait_clock(
    *,
    gait_period: PositiveFloat = 1.0,
    gait_period_randomization_width: NonNegativeFloat = 0.0,
    resampling_time: PositiveFloat = 10.0,
) -> Command:
    """Phases of the feet, which stop where the command asks to stand. State: `GaitState`.

    The clock reads the command as it was before this step's draw, so freezing and unfreezing follow a new
    command one step later.

    Args:
      gait_period: s.
      gait_period_randomization_width: Hz, half-width of the draw around 1 / gait_period (of the frequency,
        despite the name).
      resampling_time: s between draws of the frequency within an episode; the locomotion task sets that of the
        velocity command where a config does not say.
    """

    def init(key: jax.Array, scene: Scene) -> GaitState:
        del key
        feet = jnp.zeros((scene.num_envs, 2), jnp.float32)
        return GaitState(feet, feet, jnp.full((scene.num_envs,), 1.0 / gait_period, jnp.float32))

    def draw(key: jax.Array, scene: Scene) -> dict[str, jax.Array]:
        key_phase, key_reset, key_timer = jax.random.split(key, 3)
        width = gait_period_randomization_width

        def frequency(key: jax.Array) -> jax.Array:
            return 1.0 / gait_period + jax.random.uniform(key, (scene.num_envs,), minval=-width, maxval=width)

        return {
            "left": jax.random.uniform(key_phase, (scene.num_envs,), minval=-jnp.pi, maxval=jnp.pi),
            "reset": frequency(key_reset),
            "timer": frequency(key_timer),
        }

    def reset(view: View, mask: jax.Array, state: GaitState, draws: dict[str, jax.Array]) -> GaitState:
        left, frequency = draws["left"], draws["reset"]
        if view.scene.evaluation:  # the nominal clock, the same everywhere
            left, frequency = jnp.zeros_like(left), jnp.full_like(frequency, 1.0 / gait_period)
        offset = gait.phase_offsets(left)
        return where(mask, GaitState(offset, offset, frequency), state)

    def update(view: View, state: GaitState, draws: dict[str, jax.Array]) -> GaitState:
        phase = gait.gait_phase(view.episode_step, state.frequency, state.offset, view.control_dt)
        state = state.replace(phase=gait.freeze_when_standing(phase, view.command))
        if view.scene.evaluation:
            return state
        due = is_due(view, resampling_time)
        return state.replace(frequency=where(due, draws["timer"], state.frequency))

    return Command(init=init, reset=reset, draw=draw, update=update)


TERMS: dict[str, Callable[..., Any]] = {
    "locomotion_command": velocity_command,
    "locomotion_gait": gait_clock,
    **motion.TERMS,
}
