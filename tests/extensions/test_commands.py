"""Commands from elsewhere: steered, and placing robots within their episode."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import Pose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import TermConfig
from holosoma_jax.envs.terms.term import Command, keep, where
from holosoma_jax.envs.view import View
from tests.envs.test_locomotion import N, standing
from tests.support.own_terms import NO_GAIT, SMALL, build

HERE = __name__


def follow() -> Command:
    """A velocity command that can be set, and says nothing of its range."""
    return Command(
        init=lambda key, scene: jnp.zeros((scene.num_envs, 3)),
        reset=keep,
        update=lambda view, command: command,
        steer=lambda command, velocity: velocity,
    )


def test_a_command_to_be_steered_says_its_range() -> None:
    env = build("exp:g1-29dof", *SMALL, locomotion_command=TermConfig(f"{HERE}:follow"))
    with pytest.raises(ConfigError, match=r"locomotion_command.*'lin_vel_x'.*ranges"):
        env.task.steering.limits(env)


def loop(*, length: int = 2) -> Command:
    """Robots start 5 m up; every `length` steps all are put there again, within their episode. State: frame."""

    def update(view: View, frame: jax.Array) -> jax.Array:
        return (frame + 1) % length

    def place(view: View, mask: jax.Array, pose: Pose, frame: jax.Array) -> tuple[jax.Array, Pose]:
        return mask | (frame == 0), pose._replace(root_pos=pose.root_pos.at[:, 2].set(5.0))

    return Command(
        init=lambda key, scene: jnp.zeros(scene.num_envs, jnp.int32),
        reset=lambda view, mask, frame: where(mask, jnp.zeros_like(frame), frame),
        update=update,
        place=place,
    )


def test_a_command_places_robots_within_their_episode(key: jax.Array) -> None:
    """As a motion clip does that starts over: no end of the episode, and actions are remembered."""
    env = build("exp:g1-29dof", *SMALL, *NO_GAIT, locomotion_gait=TermConfig(f"{HERE}:loop"))
    state, reset = env.init(key)
    assert (np.asarray(reset.pose.root_pos)[:, 2] == 5.0).all()
    placed = []
    for _ in range(2):
        state, _ = env.pre_step(state, jnp.ones((N, 29)))
        state, result = env.post_step(state, standing())
        assert not np.asarray(result.terminated | result.truncated).any()
        placed.append(np.asarray(result.reset.mask).all())
        assert np.asarray(state.action).all() and np.asarray(state.episode_step).all()
    assert placed == [False, True]
