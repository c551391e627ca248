"""Termination terms: `View` -> [E] bool. Whether one is a failure or a time-out is the config's say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from pydantic import Field

from holosoma_jax.config.schema.types import NonNegativeFloat
from holosoma_jax.envs.terms.motion import terminations as motion
from holosoma_jax.envs.view import View

Tilt = Annotated[float, Field(gt=0, le=jnp.pi)]
"""rad from upright."""


def contact(view: View, *, force_threshold: NonNegativeFloat = 1.0) -> jax.Array:
    """A termination body touches something with more than `force_threshold` N [E].

    Reads the net force of the last physics step only, as holosoma does.
    """
    force = view.contact_force_of(view.robot.termination_bodies)
    return jnp.any(jnp.sum(jnp.square(force), -1) > force_threshold**2, -1)


def timeout(view: View) -> jax.Array:
    """The episode is over its length [E]; strict, so an episode has one step more than its length."""
    return view.episode_step > view.max_episode_steps


def tilt(view: View, *, max_angle: Tilt) -> jax.Array:
    """The base leans more than `max_angle` rad from upright [E]."""
    return view.projected_gravity[:, 2] > -jnp.cos(max_angle)


def low_base(view: View, *, min_height: NonNegativeFloat) -> jax.Array:
    """The base is lower than `min_height` m above the ground [E]."""
    return view.base_height < min_height


TERMS: dict[str, Callable[..., Any]] = {
    "contact": contact,
    "timeout": timeout,
    "tilt": tilt,
    "low_base": low_base,
    **motion.TERMS,
}
