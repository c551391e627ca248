"""Pushes of whole-body tracking: six random components are added to the root's velocity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from holosoma_jax.config.schema.types import NonNegativeFloat
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.terms.disturbances import PushState
from holosoma_jax.envs.terms.motion.reference import MOTION, MotionState
from holosoma_jax.envs.terms.physics import PositiveRange, require_ordered, uniform
from holosoma_jax.envs.terms.term import Randomization, RootVelocity, where
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
    require_ordered(push_interval_s=push_interval_s)

    def init(key: jax.Array, scene: Scene) -> PushState:
        del key
        steps = jnp.zeros((scene.num_envs,), jnp.int32)
        return PushState(steps, steps)

    def draw(key: jax.Array, scene: Scene) -> dict[str, jax.Array]:
        key_interval, key_velocity = jax.random.split(key)
        seconds = uniform(key_interval, (scene.num_envs,), push_interval_s)
        unit = jax.random.uniform(key_velocity, (scene.num_envs, 6), minval=-1.0, maxval=1.0)
        return {
            "interval": jnp.floor(seconds / scene.control_dt).astype(jnp.int32),
            "velocity": jnp.asarray(max_push_vel, jnp.float32)[None] * unit,
        }

    def reset(view: View, mask: jax.Array, state: PushState, draws: dict[str, jax.Array]) -> PushState:
        del view
        return where(mask, PushState(jnp.zeros_like(state.counter), draws["interval"]), state)

    def act(view: View, state: PushState, draws: dict[str, jax.Array]) -> tuple[RootVelocity, PushState]:
        counter = state.counter + 1
        due = counter >= state.interval
        motion = view.commands.get(MOTION)
        if isinstance(motion, MotionState):
            due = due & ~motion.replaced
        if not enabled or (view.scene.evaluation and not in_evaluation):
            due = jnp.zeros_like(due)
        state = PushState(jnp.where(due, 0, counter), jnp.where(due, draws["interval"], state.interval))
        lin, ang = (
            view.sim.root_lin_vel + draws["velocity"][:, :3],
            view.sim.root_ang_vel + draws["velocity"][:, 3:],
        )
        return RootVelocity(due, lin, ang), state

    return Randomization(init=init, reset=reset, draw=draw, push=act, disturbance="pushes")


TERMS: dict[str, Callable[..., Any]] = {"push_root": push_root}
