"""The gait clock: two phases half a turn apart, a function of the episode's step count."""

from __future__ import annotations

import jax
import jax.numpy as jnp

STAND_THRESHOLD = 0.01
"""m/s and rad/s: a command below it in speed and in yaw rate asks to stand."""


def phase_offsets(left: jax.Array) -> jax.Array:
    """Offsets [E, 2] rad of both feet from the left one [E] in [-pi, pi): the right is half a turn off."""
    right = jnp.fmod(left + 2.0 * jnp.pi, 2.0 * jnp.pi) - jnp.pi
    return jnp.stack([left, right], axis=-1)


def gait_phase(episode_step: jax.Array, frequency: jax.Array, offset: jax.Array, dt: float) -> jax.Array:
    """Phases [E, 2] rad in [-pi, pi) after `episode_step` [E] control steps of dt s at `frequency` [E] Hz.

    The phase follows from the absolute step count, so it jumps when the frequency is redrawn.
    """
    turned = episode_step.astype(jnp.float32) * (2.0 * jnp.pi * dt) * frequency
    return jnp.fmod(turned[:, None] + offset + jnp.pi, 2.0 * jnp.pi) - jnp.pi


def is_standing(command: jax.Array) -> jax.Array:
    """[E] bool: the command [E, 3] asks to stand still."""
    speed = jnp.sqrt(jnp.sum(jnp.square(command[:, :2]), -1))
    return (speed < STAND_THRESHOLD) & (jnp.abs(command[:, 2]) < STAND_THRESHOLD)


def freeze_when_standing(phase: jax.Array, command: jax.Array) -> jax.Array:
    """Phases [E, 2], both pi (feet down) where the command asks to stand."""
    return jnp.where(is_standing(command)[:, None], jnp.pi, phase)


def swing_height_target(phase: jax.Array, swing_height: float) -> jax.Array:
    """Sole height [...] in m that the gait asks for at `phase` [...] rad.

    Zero at +-pi, `swing_height` at 0, two smoothsteps 3 u^2 - 2 u^3 in between.
    """
    x = (phase + jnp.pi) / (2.0 * jnp.pi)
    rising, falling = _smoothstep(2.0 * x), _smoothstep(2.0 * x - 1.0)
    return swing_height * jnp.where(x <= 0.5, rising, 1.0 - falling)


def _smoothstep(u: jax.Array) -> jax.Array:
    return (3.0 - 2.0 * u) * u * u
