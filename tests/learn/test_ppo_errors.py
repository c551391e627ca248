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
        ("reward", jnp.zeros(6), r"rank 1 .* 2.*PpoBatch\.reward"),
        ("actor_obs", jnp.zeros((6, 8, 4)), r"\(6, 8, 4\) .* \(6, 8, 3\).*PpoBatch\.actor_obs"),
        ("action", jnp.zeros((6, 8)), r"\(6, 8\) .* \(6, 8, 2\).*PpoBatch\.action"),
        ("value", jnp.zeros((6, 8, 1)), r"\(6, 8, 1\) .* \(6, 8\).*PpoBatch\.value"),
        ("last_value", jnp.zeros((1, 8)), r"\(1, 8\) .* \(8\).*PpoBatch\.last_value"),
        ("terminated", jnp.zeros((6, 8)), r"float32 .*bool.*PpoBatch\.terminated"),
        ("log_prob", jnp.zeros((6, 8), jnp.float16), r"float16 .*float32.*PpoBatch\.log_prob"),
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
    with pytest.raises(ValueError, match=rf"T \* N = {steps} \* {num_envs} = .*\b2 mini-batches"):
        ppo.update(state, batch, jax.random.key(0))


def test_observations() -> None:
    state = small.learner(empirical_normalization=True)
    good = {"actor_obs": jnp.zeros((8, 3)), "critic_obs": jnp.zeros((8, 4))}
    for bad, message in (
        ({"critic_obs": good["critic_obs"]}, "actor_obs is missing; given: critic_obs"),
        (good | {"critic_obs": jnp.zeros((7, 4))}, r"\(7, 4\) .* \(8, 4\).*observations\.critic_obs"),
        (good | {"actor_obs": jnp.zeros((8, 5))}, r"\(8, 5\) .* \(8, 3\).*observations\.actor_obs"),
    ):
        with pytest.raises(ValueError, match=message):
            ppo.act(state, bad, jax.random.key(0))
        with pytest.raises(ValueError, match=message):
            ppo.observe(state, bad)


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        ({"action_dim": 0}, {}, r"0.*PpoSpec: 'action'"),
        ({"mirror": None}, {"use_symmetry": True}, "use_symmetry is true, but .* no mirror"),
        ({"action_dim": 3}, {"use_symmetry": True}, r"2.*3.*'action' in PpoSpec\.mirror"),
        ({"critic_obs_dim": 5}, {"use_symmetry": True}, r"4.*5.*'critic_obs' in PpoSpec\.mirror"),
    ],
)
def test_spec(spec: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    arguments = {**small.DIMS, "mirror": small.MIRROR} | spec
    with pytest.raises(ValueError, match=message):
        ppo.init(jax.random.key(0), ppo.PpoSpec(**arguments), small.config(**changes))
