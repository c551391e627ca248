"""Probe environments: each can be solved only if one particular thing works.

An episode lasts one or two steps. The observation is x, drawn from {-1, 1} at each step, and the time.
All probes are columns of one table and run side by side, in one program.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.config.schema import FastSacConfig
from holosoma_jax.learn import fast_sac, normalizer, replay
from holosoma_jax.learn.fast_sac import categorical, loss

ENVS, STEPS, GAMMA = 16, 700, 0.5
CONFIG = FastSacConfig(
    actor_hidden_dim=32,
    critic_hidden_dim=32,
    num_atoms=31,
    v_min=-3.0,
    v_max=3.0,
    gamma=GAMMA,
    num_updates=2,
    policy_frequency=2,
    batch_size=64,
    buffer_size=64,
    actor_learning_rate=3e-3,
    critic_learning_rate=3e-3,
    use_autotune=False,  # a fixed, small temperature: values are those of the reward alone
    use_symmetry=False,
)
SPEC = fast_sac.FastSacSpec(2, 2, 1, (1.0,))


class Probe(NamedTuple):
    """The reward of a step, and when episodes end; numbers, so that probes can be stacked."""

    constant: float = 0.0
    of_x: float = 0.0
    late: float = 0.0
    """paid in an episode's second step"""
    of_error: float = 0.0
    """times -(action - x / 2)^2"""
    length: int = 1
    clock_ends_it: bool = False
    """episodes are truncated, not terminated"""


PROBES = {
    "constant reward": Probe(constant=1.0),
    "reward from the observation": Probe(of_x=1.0),
    "a reward one step later": Probe(late=1.0, length=2),
    "the action matters": Probe(of_error=1.0),
    "a time-out is bootstrapped": Probe(constant=1.0, clock_ends_it=True),
}


class World(NamedTuple):
    """State of all environments, each [ENVS]."""

    x: jax.Array
    time: jax.Array

    def observe(self) -> dict[str, jax.Array]:
        obs = jnp.stack([self.x, self.time.astype(jnp.float32)], axis=-1)
        return {"actor_obs": obs, "critic_obs": obs}


def step(
    probe: Probe, carry: tuple[fast_sac.FastSacState, replay.Replay, World], key: jax.Array
) -> tuple[tuple[fast_sac.FastSacState, replay.Replay, World], None]:
    """One control step of all environments, stored and learnt from."""
    learner, buffer, world = carry
    act_key, x_key, sample_key, update_key = jax.random.split(key, 4)
    obs = world.observe()
    action, _ = fast_sac.act(learner, obs, act_key)
    ended = world.time + 1 == probe.length
    x = jnp.where(jax.random.bernoulli(x_key, 0.5, (ENVS,)), 1.0, -1.0)
    following = World(x, jnp.where(ended, 0, world.time + 1))
    error = action[:, 0] - world.x / 2
    reward = probe.constant + probe.of_x * world.x - probe.of_error * error**2
    transition = replay.Transition(
        **obs,
        action=action,
        reward=reward + probe.late * world.time.astype(jnp.float32),
        terminated=ended & ~probe.clock_ends_it,
        truncated=ended & probe.clock_ends_it,
        # a clock that ends an episode of one step leaves a state like any other
        next_actor_obs=following.observe()["actor_obs"],
        next_critic_obs=following.observe()["critic_obs"],
        valid=jnp.ones(ENVS, bool),
    )
    buffer = replay.write(buffer, transition)
    batch = replay.sample(buffer, sample_key, CONFIG)
    return (fast_sac.update(learner, batch, update_key)[0], buffer, following), None


def solve(probe: Probe) -> tuple[jax.Array, jax.Array]:
    """Values [2, 2] of the critics' mean and modes [2, 2] of the actor; first x = -1, 1, then time."""
    learner = fast_sac.init(jax.random.key(0), SPEC, CONFIG)
    world = World(jnp.ones(ENVS), jnp.zeros(ENVS, jnp.int32))
    carry = learner, replay.init(CONFIG, SPEC, ENVS), world
    keys = jax.random.split(jax.random.key(1), STEPS)
    (learner, _, _), _ = jax.lax.scan(lambda c, k: step(probe, c, k), carry, keys)
    obs = jnp.array([[-1.0, 0.0], [-1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    action = fast_sac.mode(learner, obs)
    seen = normalizer.normalize(learner.critic_stats, obs)
    logits = loss.logits(learner.critics.params, seen, action, learner.static)
    values = [categorical.expectation(jax.nn.softmax(x), learner.static.support) for x in logits]
    return (0.5 * (values[0] + values[1])).reshape(2, 2), action.reshape(2, 2)


@pytest.fixture(scope="module")
def solved() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    table = Probe(*(jnp.array(column) for column in zip(*PROBES.values(), strict=True)))
    values, actions = jax.jit(jax.vmap(solve))(table)
    rows = zip(np.asarray(values), np.asarray(actions), strict=True)
    return dict(zip(PROBES, rows, strict=True))


Solved = dict[str, tuple[np.ndarray, np.ndarray]]


def test_constant_reward(solved: Solved) -> None:
    np.testing.assert_allclose(solved["constant reward"][0][:, 0], 1.0, atol=0.05)


def test_reward_from_the_observation(solved: Solved) -> None:
    np.testing.assert_allclose(solved["reward from the observation"][0][:, 0], [-1.0, 1.0], atol=0.1)


def test_a_reward_one_step_later_is_discounted(solved: Solved) -> None:
    values, _ = solved["a reward one step later"]
    np.testing.assert_allclose(values, [[GAMMA, 1.0], [GAMMA, 1.0]], atol=0.1)


def test_the_actor_finds_the_best_action(solved: Solved) -> None:
    values, actions = solved["the action matters"]
    np.testing.assert_allclose(actions[:, 0], [-0.5, 0.5], atol=0.1)
    np.testing.assert_allclose(values[:, 0], 0.0, atol=0.1)


def test_a_time_out_is_bootstrapped_and_a_failure_is_not(solved: Solved) -> None:
    np.testing.assert_allclose(solved["a time-out is bootstrapped"][0][:, 0], 1.0 / (1.0 - GAMMA), atol=0.1)
    np.testing.assert_allclose(solved["constant reward"][0][:, 0], 1.0, atol=0.05)
