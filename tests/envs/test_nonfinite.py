"""Which term is at fault, told from what a step has left behind."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np

from holosoma_jax.envs import nonfinite
from holosoma_jax.envs.env import EnvSpec, ObservationTerm


def spec() -> EnvSpec:
    """Two terms, 'a' with 2 entries and 'b' with 1 entry of 2 frames; two rewards; three environments."""
    a = ObservationTerm("actor_obs", "a", "a", 2, 1, 1.0, 0.0, 0, (0, 1), (1.0, 1.0))
    b = ObservationTerm("actor_obs", "b", "b", 1, 2, 1.0, 0.0, 2, (0,), (1.0,))
    return EnvSpec(3, 1, 0.02, 10, (a, b), {"actor_obs": 4}, (0,), (1.0,), ("alive", "pose"), None, 100.0)


def facts(lines: list[str]) -> list[tuple[str, ...]]:
    """What each of the lines names: kind of term, its name, the group of an observation, the environments."""
    matches = [re.fullmatch(r"(\w+) '(\w+)'(?: of )?(\w*) \((.+)\)", line) for line in lines]
    assert all(matches), lines
    return [match.groups() for match in matches if match]


def found(
    batch: dict[str, Any] | None = None, now: dict[str, Any] | None = None, **state: Any
) -> list[tuple[str, ...]]:
    zeros = {"terms": {}, "reward_sums": jnp.zeros((3, 2))}
    traces = nonfinite.traces(SimpleNamespace(**zeros | state))
    return facts(nonfinite.culprits(spec(), traces, batch or {}, now))


def put(shape: tuple[int, ...], *at: int) -> np.ndarray:
    array = np.zeros(shape, np.float32)
    array[at] = np.nan
    return array


def test_nothing_is_wrong():
    assert found({"actor_obs": np.zeros((3, 5, 4))}) == []


def test_columns_are_terms_and_rows_are_environments():
    assert found({"actor_obs": put((3, 5, 4), 2, 4, 1)}) == [
        ("observation", "a", "actor_obs", "environment 2")
    ]
    both = put((3, 4), 0, 2) + put((3, 4), 1, 3)
    assert found({"actor_obs": both}) == [("observation", "b", "actor_obs", "environments 0, 1")]


def test_a_normaliser_that_spread_it_over_all_rows_is_seen_through():
    normalised = np.full((3, 4), [np.nan, 0, 0, 0])
    assert found({"actor_obs": normalised}, {"actor_obs": put((3, 4), 1, 0)}) == [
        ("observation", "a", "actor_obs", "environment 1")
    ]


def test_rewards_are_known_by_their_sums():
    assert found(reward_sums=jnp.asarray(put((3, 2), 1, 1))) == [("reward", "pose", "", "environment 1")]


def test_causes_come_before_what_follows_from_them():
    terms = {
        "randomization": {"delay": {"actions": jnp.asarray(put((3, 2), 0, 0))}},
        "commands": {"walk": {"velocity": jnp.asarray(put((3, 3), 2, 0)), "count": jnp.zeros(3, jnp.int32)}},
        "curriculum": {"penalty": jnp.asarray(np.float32(np.inf))},
    }
    assert found({"actor_obs": put((3, 4), 2, 0)}, terms=terms) == [
        ("command", "walk", "", "environment 2"),
        ("curriculum", "penalty", "", "all environments"),
        ("observation", "a", "actor_obs", "environment 2"),
        ("randomization", "delay", "", "environment 0"),
    ]


def test_many_environments_are_counted():
    said = nonfinite.culprits(
        spec(), nonfinite.traces(SimpleNamespace()), {"actor_obs": np.full((20, 4), np.nan)}
    )
    assert facts(said)[0] == (
        "observation",
        "a",
        "actor_obs",
        "environments 0, 1, 2, 3, 4, 5, 6, 7 and 12 more",
    )


def test_what_all_environments_share_names_none_of_them():
    shared = replace(spec(), pooled=frozenset({"terms/commands/motion/failures"}))
    terms = {"commands": {"motion": {"failures": put((6,), 4)}, "other": {"failures": put((6,), 4)}}}
    state = {"terms": terms, "reward_sums": None}
    assert facts(nonfinite.culprits(shared, state, {})) == [
        ("command", "motion", "", "all environments"),
        ("command", "other", "", "environment 4"),
    ]
