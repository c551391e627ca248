"""Bad input to the learner: one sentence that names the array or the field."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from holosoma_jax.learn import ppo
from tests.support import small


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("reward", jnp.zeros(6), r"PpoBatch.reward is \(6,\), expected two axes"),
        ("actor_obs", jnp.zeros((6, 8, 4)), r"PpoBatch.actor_obs is \(6, 8, 4\), expected \(6, 8, 3\)"),
        ("action", jnp.zeros((6, 8)), r"PpoBatch.action is \(6, 8\), expected \(6, 8, 2\)"),
        ("value", jnp.zeros((6, 8, 1)), r"PpoBatch.value is \(6, 8, 1\), expected \(6, 8\)"),
        ("last_value", jnp.zeros((1, 8)), r"PpoBatch.last_value is \(1, 8\), expected \(8,\)"),
        ("terminated", jnp.zeros((6, 8)), "PpoBatch.terminated is float32, expected bool"),
        ("log_prob", jnp.zeros((6, 8), jnp.float16), "PpoBatch.log_prob is float16, expected float32"),
    ],
)
def test_batch(field: str, value: jax.Array, message: str) -> None:
    state = small.learner()
    batch = small.rollout(state)._replace(**{field: value})
    with pytest.raises(ValueError, match=message):
        ppo.update(state, batch, jax.random.key(0))


@pytest.mark.parametrize(("steps", "num_envs"), [(0, 8), (6, 0), (1, 1)])
def test_too_few_rows(steps: int, num_envs: int) -> None:
    state = small.learner()
    batch = jax.tree.map(lambda x: x[:steps, :num_envs] if x.ndim > 1 else x[:num_envs], small.rollout(state))
    with pytest.raises(
        ValueError, match=rf"T \* N = {steps} \* {num_envs} = .* fewer than the 2 mini-batches"
    ):
        ppo.update(state, batch, jax.random.key(0))


def test_observations() -> None:
    state = small.learner(empirical_normalization=True)
    good = {"actor_obs": jnp.zeros((8, 3)), "critic_obs": jnp.zeros((8, 4))}
    for bad, message in (
        ({"critic_obs": good["critic_obs"]}, "no group 'actor_obs'; given: critic_obs"),
        (good | {"critic_obs": jnp.zeros((7, 4))}, r"'critic_obs' is \(7, 4\), expected \(8, 4\)"),
        (good | {"actor_obs": jnp.zeros((8, 5))}, r"'actor_obs' is \(8, 5\), expected \(8, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            ppo.act(state, bad, jax.random.key(0))
        with pytest.raises(ValueError, match=message):
            ppo.observe(state, bad)


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        ({"action_dim": 0}, {}, "'action' has 0 entries, expected at least 1"),
        ({"mirror": None}, {"use_symmetry": True}, "use_symmetry is true, but .* no mirror"),
        ({"action_dim": 3}, {"use_symmetry": True}, "reflects 2 entries of 'action', expected 3"),
        ({"critic_obs_dim": 5}, {"use_symmetry": True}, "reflects 4 entries of 'critic_obs', expected 5"),
    ],
)
def test_spec(spec: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    arguments = {**small.DIMS, "mirror": small.MIRROR} | spec
    with pytest.raises(ValueError, match=message):
        ppo.init(jax.random.key(0), ppo.PpoSpec(**arguments), small.config(**changes))
