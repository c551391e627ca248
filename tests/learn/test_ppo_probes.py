"""Probe environments: each can be solved only if one particular thing works.

An episode lasts one or two steps. The observation is x, drawn from {-1, 1} at each step, and the time;
the reward may also depend on the action before, which is not observed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax.config.schema import PpoConfig
from holosoma_jax.learn import ppo

ENVS, STEPS, ITERATIONS = 128, 8, 60
CONFIG = PpoConfig(
    actor_hidden=(32,),
    critic_hidden=(32,),
    num_learning_epochs=5,
    num_mini_batches=2,
    actor_learning_rate=3e-3,
    critic_learning_rate=3e-3,
    min_critic_learning_rate=3e-3,
    entropy_coef=0.0,
    gamma=0.5,
    use_symmetry=False,
    init_noise_std=0.5,
    clip_value_loss=False,
)


class World(NamedTuple):
    """State of all environments, each [N]."""

    x: jax.Array
    time: jax.Array
    before: jax.Array
    """the last action"""

    def observe(self) -> dict[str, jax.Array]:
        obs = jnp.stack([self.x, self.time.astype(jnp.float32)], axis=-1)
        return {"actor_obs": obs, "critic_obs": obs}


class Probe(NamedTuple):
    """What distinguishes one probe from another."""

    reward: Callable[[World, jax.Array], jax.Array]
    """world, action [N] -> [N]"""
    length: int = 1
    clock_ends_it: bool = False
    """episodes are truncated, and a new one starts where the old one would have gone on"""


def step(
    probe: Probe, learner: ppo.PpoState, world: World, key: jax.Array
) -> tuple[World, tuple[jax.Array, ppo.PpoExtras, dict[str, jax.Array]]]:
    """One control step; columns of the batch."""
    act_key, x_key = jax.random.split(key)
    action, extras = ppo.act(learner, world.observe(), act_key)
    ended = world.time + 1 == probe.length
    x = jnp.where(jax.random.bernoulli(x_key, 0.5, (ENVS,)), 1.0, -1.0)
    following = World(x, jnp.where(ended, 0, world.time + 1), action[:, 0])
    truncated = ended & probe.clock_ends_it
    outcome = {
        "reward": probe.reward(world, action[:, 0]),
        "terminated": ended & ~truncated,
        "truncated": truncated,
        "final_value": jnp.where(truncated, ppo.value(learner, following.observe()["critic_obs"]), 0.0),
        "valid": jnp.ones(ENVS, bool),
    }
    return following, (action, extras, outcome)


def iterate(
    probe: Probe, carry: tuple[ppo.PpoState, World], key: jax.Array
) -> tuple[tuple[ppo.PpoState, World], None]:
    """One rollout and one update."""
    learner, world = carry
    update_key, *keys = jax.random.split(key, STEPS + 1)
    world, columns = jax.lax.scan(partial(step, probe, learner), world, jnp.stack(keys))
    action, extras, outcome = columns
    last_value = ppo.value(learner, world.observe()["critic_obs"])
    batch = ppo.PpoBatch(action=action, **extras._asdict(), **outcome, last_value=last_value)
    return (ppo.update(learner, batch, update_key)[0], world), None


def solve(
    reward: Callable[[World, jax.Array], jax.Array], length: int = 1, clock_ends_it: bool = False
) -> tuple[Callable[..., float], Callable[..., float]]:
    """(value, mode) of the trained learner, as functions of x and the time."""
    learner = ppo.init(jax.random.key(0), ppo.PpoSpec(2, 2, 1), CONFIG)
    world = World(jnp.ones(ENVS), jnp.zeros(ENVS, jnp.int32), jnp.zeros(ENVS))
    keys = jax.random.split(jax.random.key(1), ITERATIONS)
    train = partial(jax.lax.scan, partial(iterate, Probe(reward, length, clock_ends_it)))
    (learner, _), _ = jax.jit(train)((learner, world), keys)

    def at(function: Callable[..., jax.Array], x: float, time: int = 0) -> float:
        return float(jnp.ravel(function(learner, jnp.array([[x, time]], jnp.float32)))[0])

    return partial(at, ppo.value), partial(at, ppo.mode)


def one(world: World, action: jax.Array) -> jax.Array:
    return jnp.ones_like(action)


def test_value_depends_on_the_observation() -> None:
    value, _ = solve(lambda world, action: world.x)
    np.testing.assert_allclose([value(-1), value(1)], [-1.0, 1.0], atol=0.05)


def test_reward_is_discounted_backwards() -> None:
    value, _ = solve(lambda world, action: (world.time == 1).astype(jnp.float32), length=2)
    np.testing.assert_allclose([value(1, 0), value(1, 1)], [0.5, 1.0], atol=0.05)


def test_action_is_learnt() -> None:
    _, mode = solve(lambda world, action: -jnp.square(action - 0.7 * world.x))
    np.testing.assert_allclose([mode(-1), mode(1)], [-0.7, 0.7], atol=0.1)


def test_action_that_pays_later_is_learnt() -> None:
    def reward(world: World, action: jax.Array) -> jax.Array:
        return jnp.where(world.time == 1, -jnp.square(world.before - 0.7), 0.0)

    _, mode = solve(reward, length=2)
    np.testing.assert_allclose([mode(-1, 0), mode(1, 0)], 0.7, atol=0.15)


def test_truncation_bootstraps_and_termination_does_not() -> None:
    # reward 1 for ever, discount 0.5: 1 + 0.5 + 0.25 + ... = 2 where only the clock ends episodes
    value, _ = solve(one, clock_ends_it=True)
    np.testing.assert_allclose([value(-1), value(1)], 2.0, atol=0.1)
    value, _ = solve(one)
    np.testing.assert_allclose([value(-1), value(1)], 1.0, atol=0.05)
