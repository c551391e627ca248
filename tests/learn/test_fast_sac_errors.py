"""What FastSAC refuses, and that each message names the culprit and the fix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from holosoma_jax.learn import fast_sac
from tests.support import small_sac

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        ({"actor_obs_dim": 0}, {}, r"0.*FastSacSpec: 'actor_obs'"),
        ({"action_scale": (1.0,)}, {}, "2 finite numbers above 0.*`action_reach`"),
        ({"action_scale": (1.0, 0.0)}, {}, r"or set algo\.config\.use_tanh to false"),
        ({"mirror": None}, {}, r"FastSacSpec\.mirror is None"),
        ({"critic_obs_dim": 5}, {}, r"4.*5.*'critic_obs' in FastSacSpec\.mirror"),
        ({}, {"policy_frequency": 1}, "the actor would never be updated"),
    ],
)
def test_init(spec: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fast_sac.init(KEY, replace(small_sac.SPEC, **spec), small_sac.config(**changes))


def test_act() -> None:
    state = small_sac.learner()
    with pytest.raises(ValueError, match=r"actor_obs .*critic_obs"):
        fast_sac.act(state, {"critic_obs": jnp.ones((2, 4))}, KEY)
    with pytest.raises(ValueError, match=r"\(2, 4\) .* \(None, 3\).*observations\.actor_obs"):
        fast_sac.act(state, {"actor_obs": jnp.ones((2, 4))}, KEY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": jnp.ones((3, 16))}, r"\(3, 16\) .* \(4, None\).*FastSacBatch\.reward .*num_updates"),
        ({"action": jnp.ones((4, 16, 3))}, r"\(4, 16, 3\) .* \(4, 16, 2\).*FastSacBatch\.action"),
        (
            {"next_critic_obs": jnp.ones((4, 15, 4))},
            r"\(4, 15, 4\) .* \(4, 16, 4\).*FastSacBatch\.next_critic_obs",
        ),
        ({"valid": jnp.ones((4, 16))}, r"float32 .*bool.*FastSacBatch\.valid"),
        ({"discount": jnp.ones((4, 16), bool)}, r"bool .*float32.*FastSacBatch\.discount"),
    ],
)
def test_update(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fast_sac.update(small_sac.learner(), small_sac.batch()._replace(**changes), KEY)
