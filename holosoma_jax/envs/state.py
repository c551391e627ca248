"""The state of the environments: every value that changes, as leaves of one frozen pytree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from flax import struct

TermStates = Mapping[str, Mapping[str, Any]]
"""Kind (of an observation: its group) -> term -> state; terms without state are not in it."""


class TaskState(struct.PyTreeNode):
    """E environments, J joints, R reward terms. Checkpointed whole."""

    # randomness: draws of a step follow from these two alone
    key: jax.Array
    """root key of the task's random streams"""
    step: jax.Array
    """[] int32, control steps since the start of training"""

    # the running episodes
    episode_step: jax.Array
    """[E] int32, control steps since the reset"""
    action: jax.Array
    """[E, J] as the policy gave it"""
    prev_action: jax.Array
    """[E, J]"""
    tile: jax.Array
    """[E, 2] int32, row and column of the terrain tile that the episode started on"""

    # what the terms keep, and the observation groups' histories
    terms: dict[str, dict[str, Any]]
    """see `TermStates`"""
    history: dict[str, jax.Array]
    """group -> [E, frames, frame_dim], oldest first; only groups with history (`observe.History`)"""

    # statistics of the running episodes
    episode_return: jax.Array
    """[E]"""
    reward_sums: jax.Array
    """[E, R] weighted, times dt"""
    raw_sums: jax.Array
    """[E, R] unweighted"""


class Draws(NamedTuple):
    """Everything random in one control step, for all environments, whether used or not.

    Drawing is separate from stepping, so that the step is a deterministic function that recorded
    values can be fed into.
    """

    terms: dict[str, dict[str, Any]]
    """kind -> term -> what its `draw` returned; only terms that draw"""
    spawn_offset: jax.Array
    """[E, 2] in [-1, 1], times the terrain's `xy_offset_range`: place of a new episode on its tile"""
    noise_key: jax.Array
    """for the noise of final observations"""
