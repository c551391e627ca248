"""What disturbs a running episode: pushes, action delay, torque noise, errors of the joints' zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import struct
from pydantic import Field

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.types import NonNegativeFloat
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.terms import actions
from holosoma_jax.envs.terms.physics import NonNegativeRange, PositiveRange, require_ordered, uniform
from holosoma_jax.envs.terms.term import Actuation, Randomization, Range, RootVelocity, where
from holosoma_jax.envs.view import View

Delay = Annotated[int, Field(ge=0, le=1000)]
"""Control steps."""


class PushState(struct.PyTreeNode):
    """State of the pushes."""

    counter: jax.Array
    """[E] int32, control steps since the last push or reset"""
    interval: jax.Array
    """[E] int32, control steps between pushes"""


def push(
    *,
    push_interval_s: PositiveRange = (5.0, 10.0),
    max_push_vel: NonNegativeRange = (1.0, 1.0),
    enabled: bool = True,
    in_evaluation: bool = False,
) -> Randomization:
    """Sudden changes of the root's horizontal velocity, at random intervals. State: `PushState`.

    Args:
      push_interval_s: s between pushes.
      max_push_vel: m/s, x and y: the new velocity is uniform within +- these, world frame.
      enabled: False switches them off.
      in_evaluation: also push while a policy is evaluated.

    Raises:
      ConfigError: the interval is reversed.
    """

    def velocity(view: View, drawn: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.concatenate([drawn, view.sim.root_lin_vel[:, 2:]], axis=-1), view.sim.root_ang_vel

    active = in_evaluation if enabled else None
    return timed_pushes(velocity, max_push_vel, push_interval_s, in_evaluation=active)


def timed_pushes(
    velocity: Callable[[View, jax.Array], tuple[jax.Array, jax.Array]],
    limits: tuple[float, ...],
    push_interval_s: PositiveRange,
    *,
    in_evaluation: bool | None,
    held: Callable[[View], jax.Array | None] = lambda view: None,
) -> Randomization:
    """Pushes at random intervals. State: `PushState`.

    Args:
      velocity: view, draws [E, n] -> linear m/s and angular rad/s velocity [E, 3] of the root, world frame.
      limits: [n] the draws are uniform within +- these.
      push_interval_s: s between pushes.
      in_evaluation: also push while a policy is evaluated; None: never push.
      held: view -> [E] bool, environments whose push waits for the next step.

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
        unit = jax.random.uniform(key_velocity, (scene.num_envs, len(limits)), minval=-1.0, maxval=1.0)
        return {
            "interval": jnp.floor(seconds / scene.control_dt).astype(jnp.int32),
            "velocity": jnp.asarray(limits, jnp.float32)[None] * unit,
        }

    def reset(view: View, mask: jax.Array, state: PushState, draws: dict[str, jax.Array]) -> PushState:
        del view
        return where(mask, PushState(jnp.zeros_like(state.counter), draws["interval"]), state)

    def act(view: View, state: PushState, draws: dict[str, jax.Array]) -> tuple[RootVelocity, PushState]:
        counter = state.counter + 1
        due, waiting = counter >= state.interval, held(view)
        if waiting is not None:
            due = due & ~waiting
        if in_evaluation is None or (view.scene.evaluation and not in_evaluation):
            due = jnp.zeros_like(due)
        lin, ang = velocity(view, draws["velocity"])
        state = PushState(jnp.where(due, 0, counter), jnp.where(due, draws["interval"], state.interval))
        return RootVelocity(due, lin, ang), state

    return Randomization(init=init, reset=reset, draw=draw, push=act, disturbance="pushes")


class DelayState(struct.PyTreeNode):
    """State of the action delay."""

    queue: jax.Array
    """[E, max_delay + 1, J] clipped actions, newest first"""
    delay: jax.Array
    """[E] int32 control steps"""


def action_delay(
    *, ctrl_delay_step_range: tuple[Delay, Delay] = (0, 1), enabled: bool = True
) -> Randomization:
    """Whole control steps between an action and its effect, per episode. State: `DelayState`.

    Args:
      ctrl_delay_step_range: control steps, both ends included.
      enabled: False: no delay.

    Raises:
      ConfigError: the range is reversed or negative.
    """
    low, high = ctrl_delay_step_range
    if low < 0 or low > high:
        raise ConfigError(
            f"ctrl_delay_step_range: got [{low}, {high}], wanted [low, high] control steps with 0 <= low <= high."
        )
    low, high = (low, high) if enabled else (0, 0)

    def init(key: jax.Array, scene: Scene) -> DelayState:
        del key
        queue = jnp.zeros((scene.num_envs, high + 1, scene.robot.num_joints), jnp.float32)
        return DelayState(queue, jnp.zeros((scene.num_envs,), jnp.int32))

    def reset(view: View, mask: jax.Array, state: DelayState, delay: jax.Array) -> DelayState:
        del view
        return where(mask, DelayState(jnp.zeros_like(state.queue), delay), state)

    def actuate(
        scene: Scene, actuation: Actuation, state: DelayState, draws: Any
    ) -> tuple[Actuation, DelayState]:
        del scene, draws
        queue = actions.push_queue(state.queue, actuation.action)
        held = actions.delayed(queue, state.delay)
        return actuation._replace(action=held), state.replace(queue=queue)

    return Randomization(
        init=init,
        reset=reset,
        draw=lambda key, scene: jax.random.randint(key, (scene.num_envs,), low, high + 1),
        actuate=actuate,
        disturbance="delay",
    )


def torque_noise(*, enabled: bool = False, rfi_lim: NonNegativeFloat = 0.1) -> Randomization:
    """Random force injection: uniform torque noise at every physics step.

    Args:
      enabled: False: none.
      rfi_lim: half-width, as a fraction of each joint's torque limit.
    """

    def actuate(scene: Scene, actuation: Actuation, state: Any, unit: jax.Array) -> tuple[Actuation, Any]:
        if not enabled:
            return actuation, state
        noise = unit * (rfi_lim * jnp.asarray(scene.robot.torque_limit, jnp.float32)[None, None])
        total = noise if actuation.torque is None else actuation.torque + noise
        return actuation._replace(torque=total), state

    def draw(key: jax.Array, scene: Scene) -> jax.Array:
        shape = (scene.num_envs, scene.decimation, scene.robot.num_joints)
        return jax.random.uniform(key, shape, minval=-1.0)

    return Randomization(draw=draw, actuate=actuate)


def joint_bias(*, dof_pos_bias_range: Range = (-0.01, 0.01), enabled: bool = False) -> Randomization:
    """A constant error of each joint's zero, per environment: shifts targets and observations. Once.

    State: [E, J] rad.

    Args:
      dof_pos_bias_range: rad.
      enabled: False: none.

    Raises:
      ConfigError: the range is reversed.
    """
    require_ordered(dof_pos_bias_range=dof_pos_bias_range)

    def init(key: jax.Array, scene: Scene) -> jax.Array:
        limits = dof_pos_bias_range if enabled else (0.0, 0.0)
        return uniform(key, (scene.num_envs, scene.robot.num_joints), limits)

    return Randomization(init=init, joint_bias=lambda bias: bias)
