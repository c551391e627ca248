"""How well a velocity policy does: what is measured in each control step, and the running totals.

Pure functions of arrays; `evaluate.py` drives them. E environments, J joints, B bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bridges.protocol import SimState
from holosoma_jax import rotations
from holosoma_jax.envs.env import StepResult
from holosoma_jax.robots.robot import Robot

CONTACT = 1.0
"""N of net contact force above which a foot counts as standing, as in the contact termination."""

UNITS: Mapping[str, str] = {
    "lin_vel_error": "m/s",
    "yaw_rate_error": "rad/s",
    "action_rate": "rad/s",
    "power": "W",
    "foot_slip": "m/s",
}
"""Measure -> unit, in the order of reports."""

_PER_SECOND = "PerSecond/rew_"


class Sample(NamedTuple):
    """One measure of one control step: environments are averaged by their weight."""

    value: jax.Array
    """[E]"""
    weight: jax.Array
    """[E], 0 where there is nothing to measure"""


def measure(
    robot: Robot,
    control_dt: float,
    sim: SimState,
    command: jax.Array,
    targets: jax.Array,
    action_change: jax.Array,
    first_step: jax.Array,
) -> dict[str, Sample]:
    """All measures of one control step, of the state that the step reached, before any reset.

    - ``lin_vel_error``: length of (v - command) in the horizontal plane of the base frame.
    - ``yaw_rate_error``: |w_z - command|, base frame.
    - ``action_rate``: mean over joints of |a_t - a_(t-1)| * action_scale / dt, the speed at which the
      policy moves its joint targets, before delay. Not counted in the first step of an episode.
    - ``power``: sum over joints of |tau * qd|, mechanical, braking counted as work. tau is the PD law
      with nominal gains at the step's last state: clip(kp (target - q) - kd qd, +-limit).
    - ``foot_slip``: horizontal speed of a sole marker while its foot touches the ground.

    Args:
      robot: names, gains, limits.
      control_dt: s.
      sim: [E, ...].
      command: [E, 3] m/s, m/s, rad/s, the one that the policy saw.
      targets: [E, J] rad, what the simulator was asked for.
      action_change: [E, J] difference to the action of the step before.
      first_step: [E] bool, whether the episode began with this step.
    """

    def row(values: np.ndarray) -> jax.Array:
        return jnp.asarray(values, jnp.float32)[None]

    lin_vel = rotations.rotate_inverse(sim.root_quat, sim.root_lin_vel)
    ang_vel = rotations.rotate_inverse(sim.root_quat, sim.root_ang_vel)
    always = jnp.ones(command.shape[:1], jnp.float32)
    target_speed = jnp.abs(action_change) * row(robot.action_scale) / control_dt
    torque = row(robot.kp) * (targets - sim.joint_pos) - row(robot.kd) * sim.joint_vel
    torque = jnp.clip(torque, -row(robot.torque_limit), row(robot.torque_limit))
    force = sim.contact_force[:, robot.body_index(*robot.feet_bodies)]
    touching = (_length(force) > CONTACT).astype(jnp.float32)
    sole_velocity = sim.body_lin_vel[:, robot.body_index(*robot.foot_height_bodies), :2]
    feet_down = touching.sum(-1)
    slip = (touching * _length(sole_velocity)).sum(-1) / jnp.maximum(feet_down, 1.0)
    return {
        "lin_vel_error": Sample(_length(lin_vel[:, :2] - command[:, :2]), always),
        "yaw_rate_error": Sample(jnp.abs(ang_vel[:, 2] - command[:, 2]), always),
        "action_rate": Sample(target_speed.mean(-1), jnp.where(first_step, 0.0, always)),
        "power": Sample(jnp.abs(torque * sim.joint_vel).sum(-1), always),
        "foot_slip": Sample(slip, feet_down),
    }


class Tally(struct.PyTreeNode):
    """Running totals of an evaluation. Index 0 of a pair: first episodes; 1: the ones after a fall."""

    over: jax.Array
    """[E] bool: the first episode has ended"""
    failed: jax.Array
    """[E] bool: ... by a fall, or by a simulator state that was not finite"""
    life: jax.Array
    """[E] int32, control steps of the first episode"""
    falls: jax.Array
    """[] int32, of all episodes"""
    nonfinite: jax.Array
    """[] int32, control steps lost to non-finite simulator states"""
    totals: dict[str, jax.Array]
    """measure -> [2, E] weighted sum"""
    weights: dict[str, jax.Array]
    """measure -> [2, E]"""
    rewards: dict[str, jax.Array]
    """reward term -> [] weighted sum over the episodes that ended"""
    reward_seconds: jax.Array
    """[] s, their length"""


def tally(num_envs: int, reward_names: tuple[str, ...]) -> Tally:
    """Nothing measured yet."""
    return Tally(  # no two leaves share an array: the tally is donated
        over=jnp.zeros(num_envs, bool),
        failed=jnp.zeros(num_envs, bool),
        life=jnp.zeros(num_envs, jnp.int32),
        falls=jnp.zeros((), jnp.int32),
        nonfinite=jnp.zeros((), jnp.int32),
        totals={name: jnp.zeros((2, num_envs)) for name in UNITS},
        weights={name: jnp.zeros((2, num_envs)) for name in UNITS},
        rewards={name: jnp.zeros(()) for name in reward_names},
        reward_seconds=jnp.zeros(()),
    )


def count(state: Tally, samples: Mapping[str, Sample], result: StepResult) -> Tally:
    """Add one control step: its samples, and what `result` says of ends and rewards."""
    later = state.over
    place = jnp.stack([~later, later]) & ~result.nonfinite[None]  # [2, E]

    def add(old: jax.Array, value: jax.Array) -> jax.Array:
        return old + jnp.where(place, value[None], 0.0)

    failed = result.terminated | result.nonfinite
    ended = failed | result.truncated
    rewards, seconds = dict(state.rewards), state.reward_seconds
    for name in rewards:
        total, life = result.metrics[_PER_SECOND + name]
        rewards[name] = rewards[name] + total
        seconds = state.reward_seconds + life
    return state.replace(
        over=state.over | ended,
        failed=state.failed | (failed & ~state.over),
        life=state.life + (~state.over).astype(jnp.int32),
        falls=state.falls + result.terminated.sum(dtype=jnp.int32),
        nonfinite=state.nonfinite + result.nonfinite.sum(dtype=jnp.int32),
        totals={name: add(state.totals[name], s.value * s.weight) for name, s in samples.items()},
        weights={name: add(state.weights[name], s.weight) for name, s in samples.items()},
        rewards=rewards,
        reward_seconds=seconds,
    )


@dataclass(frozen=True)
class Scores:
    """The outcome of an evaluation of E environments over some control steps."""

    survival_rate: float
    """share of environments whose first episode did not fail"""
    episode_length_s: float
    """s, mean length of the first episodes; those that survived count as the whole evaluation"""
    falls: int
    """failures in all episodes"""
    falls_per_minute: float
    """falls over the time that all environments lived together"""
    nonfinite: int
    """control steps lost to non-finite simulator states"""
    first: Mapping[str, float | None]
    """measure -> mean over the control steps of first episodes; None: never measured"""
    later: Mapping[str, float | None]
    """the same for the episodes that followed a failure"""
    rewards_per_second: Mapping[str, float]
    """reward term -> weighted sum over seconds lived, all episodes"""


def summarize(
    state: Tally, steps: int, control_dt: float, running: Mapping[str, jax.Array], running_steps: jax.Array
) -> Scores:
    """Scores on the host, in float64.

    Args:
      state: after the last step.
      steps: control steps of the evaluation.
      control_dt: s.
      running: reward term -> [E] weighted sum of the episodes that were not over at the end.
      running_steps: [E] int32, their control steps.
    """
    host: Tally = jax.device_get(state)
    seconds = float(host.reward_seconds) + control_dt * float(np.sum(np.asarray(running_steps)))

    def mean(name: str, pair: int) -> float | None:
        weight = np.sum(host.weights[name][pair], dtype=np.float64)
        return float(np.sum(host.totals[name][pair], dtype=np.float64) / weight) if weight > 0 else None

    def reward(name: str) -> float:
        over, unfinished = float(host.rewards[name]), np.sum(np.asarray(running[name]), dtype=np.float64)
        return (over + float(unfinished)) / max(seconds, control_dt)

    return Scores(
        survival_rate=float(1.0 - host.failed.mean()),
        episode_length_s=float(host.life.mean() * control_dt),
        falls=int(host.falls),
        falls_per_minute=60.0 * int(host.falls) / (control_dt * steps * host.life.size),
        nonfinite=int(host.nonfinite),
        first={name: mean(name, 0) for name in UNITS},
        later={name: mean(name, 1) for name in UNITS},
        rewards_per_second={name: reward(name) for name in host.rewards},
    )


def _length(vectors: jax.Array) -> jax.Array:
    """Euclidean norm over the last axis."""
    return jnp.sqrt(jnp.sum(jnp.square(vectors), axis=-1))
