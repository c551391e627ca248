"""Pushes of whole-body tracking: six random components are added to the root's velocity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from holosoma_jax.config.schema.types import NonNegativeFloat
from holosoma_jax.envs.terms.disturbances import timed_pushes
from holosoma_jax.envs.terms.motion.reference import MOTION, MotionState
from holosoma_jax.envs.terms.physics import PositiveRange
from holosoma_jax.envs.terms.term import Randomization
from holosoma_jax.envs.view import View

_Six = tuple[
    NonNegativeFloat,
    NonNegativeFloat,
    NonNegativeFloat,
    NonNegativeFloat,
    NonNegativeFloat,
    NonNegativeFloat,
]


def push_root(
    *,
    push_interval_s: PositiveRange = (1.0, 3.0),
    max_push_vel: _Six = (0.5, 0.5, 0.2, 0.52, 0.52, 0.78),
    enabled: bool = True,
    in_evaluation: bool = False,
) -> Randomization:
    """Random changes of the root's velocity, linear and angular, at random intervals. State: `PushState`.

    An environment that is due while its clip ends is pushed one step later: it is placed anew in this one.

    Args:
      push_interval_s: s between pushes.
      max_push_vel: m/s x, y, z and rad/s x, y, z: uniform within +- these, added, world frame.
      enabled: False switches them off.
      in_evaluation: also push while a policy is evaluated.

    Raises:
      ConfigError: the interval is reversed.
    """

    def velocity(view: View, drawn: jax.Array) -> tuple[jax.Array, jax.Array]:
        return view.sim.root_lin_vel + drawn[:, :3], view.sim.root_ang_vel + drawn[:, 3:]

    def held(view: View) -> jax.Array | None:
        motion = view.commands.get(MOTION)
        return motion.replaced if isinstance(motion, MotionState) else None

    active = in_evaluation if enabled else None
    return timed_pushes(velocity, max_push_vel, push_interval_s, in_evaluation=active, held=held)


TERMS: dict[str, Callable[..., Any]] = {"push_root": push_root}
