"""The locomotion task's state: every value that changes, as leaves of one frozen pytree."""

from __future__ import annotations

from typing import NamedTuple

import jax
from flax import struct

from bridges.protocol import PhysicsParams, Pose


class LocomotionState(struct.PyTreeNode):
    """E environments, J joints, R reward terms. Checkpointed whole."""

    # randomness: draws of a step follow from these two alone
    key: jax.Array
    """root key of the task's random streams"""
    step: jax.Array
    """[] int32, control steps since the start of training"""

    # clocks
    episode_step: jax.Array
    """[E] int32, control steps since the reset"""

    # actions
    action: jax.Array
    """[E, J] as the policy gave it"""
    prev_action: jax.Array
    """[E, J]"""
    queue: jax.Array
    """[E, max_delay + 1, J] clipped actions, newest first"""
    delay: jax.Array
    """[E] int32 control steps"""

    # command and gait clock
    command: jax.Array
    """[E, 3] m/s, m/s, rad/s"""
    phase: jax.Array
    """[E, 2] rad"""
    phase_offset: jax.Array
    """[E, 2] rad"""
    gait_frequency: jax.Array
    """[E] Hz"""

    # randomisation that the simulator does not know
    origin: jax.Array
    """[E, 3] m, world position of the environment's tile"""
    joint_bias: jax.Array
    """[E, J] rad, error of the joints' zero"""
    torque_noise: jax.Array
    """[E, J] N m, half-width of the torque noise"""
    push_counter: jax.Array
    """[E] int32 control steps since the last push or reset"""
    push_interval: jax.Array
    """[E] int32 control steps between pushes"""

    # curriculum
    average_length: jax.Array
    """[] moving average of episode lengths, control steps"""
    penalty_scale: jax.Array
    """[] factor on the weights of tagged reward terms"""

    # statistics of the running episodes
    episode_return: jax.Array
    """[E]"""
    reward_sums: jax.Array
    """[E, R] weighted, times dt"""
    raw_sums: jax.Array
    """[E, R] unweighted"""

    # observations
    history: dict[str, jax.Array]
    """group -> [E, frames, frame_dim], oldest first; only groups with history"""


class Draws(NamedTuple):
    """Everything random in one control step, for all environments, whether used or not.

    Drawing is separate from stepping, so that the step is a deterministic function that recorded
    values can be fed into.
    """

    pose: Pose
    """start of a new episode"""
    params: PhysicsParams
    """physics of a new episode"""
    delay: jax.Array
    """[E] int32"""
    torque_noise: jax.Array
    """[E, J] N m"""
    push_interval: jax.Array
    """[E] int32, for a reset or a push"""
    push_velocity: jax.Array
    """[E, 2] m/s"""
    phase_left: jax.Array
    """[E] rad"""
    reset_command: jax.Array
    """[E, 3] drawn by a reset"""
    reset_frequency: jax.Array
    """[E] Hz"""
    timer_command: jax.Array
    """[E, 3] drawn by the resampling timer"""
    timer_frequency: jax.Array
    """[E] Hz"""
    noise_key: jax.Array
    """for the noise of final observations"""
