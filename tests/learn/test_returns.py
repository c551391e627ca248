"""Advantages, by hand and by law."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn import returns


def advantages(
    r: list[float],
    v: list[float],
    nv: list[float],
    term: list[int],
    trunc: list[int],
    gamma: float,
    lam: float,
) -> list[float]:
    """`gae` of one environment."""
    numbers = (jnp.asarray(x, jnp.float32)[:, None] for x in (r, v, nv))
    flags = (jnp.asarray(x, bool)[:, None] for x in (term, trunc))
    return returns.gae(*numbers, *flags, gamma=gamma, lam=lam)[:, 0].tolist()


def test_termination_ends_the_future() -> None:
    # step 2 continues:     delta = 3 + 0.5 * 8 - 2 = 5,   A = 5
    # step 1 is terminated: delta = 2 + 0       - 1 = 1,   A = 1, whatever follows
    # step 0 continues:     delta = 1 + 0.5 * 1 - 4 = -2.5, A = -2.5 + 0.5 * 0.5 * 1 = -2.25
    found = advantages(
        r=[1, 2, 3], v=[4, 1, 2], nv=[1, 99, 8], term=[0, 1, 0], trunc=[0, 0, 0], gamma=0.5, lam=0.5
    )
    assert found == [-2.25, 1.0, 5.0]


def test_truncation_bootstraps_but_cuts_the_trace() -> None:
    # step 0 is truncated: A = 1 + 0.5 * 4 - 1 = 2, and nothing of step 1, whose A is 9
    assert advantages(r=[1, 9], v=[1, 0], nv=[4, 0], term=[0, 1], trunc=[1, 0], gamma=0.5, lam=1.0) == [
        2.0,
        9.0,
    ]


def test_termination_wins_over_truncation() -> None:
    assert advantages(r=[1], v=[1], nv=[4], term=[1], trunc=[1], gamma=0.5, lam=1.0) == [0.0]


def test_lambda_one_gives_the_discounted_return() -> None:
    # 1 + 0.5 * 2 + 0.25 * 3 + 0.125 * 8 = 3.75, less the value 10
    found = advantages([1, 2, 3], [10, 10, 10], [10, 10, 8], [0, 0, 0], [0, 0, 0], gamma=0.5, lam=1.0)
    assert found[0] == 3.75 - 10


def test_scan_agrees_with_a_loop() -> None:
    rng = np.random.default_rng(0)
    r, v, nv = rng.normal(size=(3, 20, 5)).astype(np.float32)
    term, trunc = rng.random((2, 20, 5)) < 0.2
    expected, after = np.zeros((20, 5)), np.zeros(5)
    for t in reversed(range(20)):
        after = r[t] + 0.9 * ~term[t] * nv[t] - v[t] + 0.9 * 0.8 * ~(term[t] | trunc[t]) * after
        expected[t] = after
    found = returns.gae(*map(jnp.asarray, (r, v, nv, term, trunc)), gamma=0.9, lam=0.8)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_next_values() -> None:
    ended = jnp.array([[False], [True], [False]])
    found = returns.next_values(
        jnp.array([[1.0], [2.0], [3.0]]), jnp.array([4.0]), jnp.array([[7.0], [8.0], [9.0]]), ended
    )
    assert found[:, 0].tolist() == [2.0, 8.0, 4.0]


def test_valid_steps_leaves_out_invalid_steps_and_those_that_lead_into_them() -> None:
    valid = jnp.array([[1], [1], [0], [1], [1], [0]], bool)
    ended = jnp.array([[0], [0], [0], [0], [1], [0]], bool)
    # 1 leads into 2; 4 ended before 5; a last step leads to the value after the rollout
    assert returns.valid_steps(valid, ended)[:, 0].tolist() == [True, False, False, True, True, False]


@pytest.mark.parametrize("form", ["biased", "holosoma"])
def test_normalize_advantages(form: returns.AdvantageStd) -> None:
    x = 100.0 + jnp.asarray(np.random.default_rng(0).normal(size=(9, 7)).astype(np.float32))
    found = returns.normalize_advantages(x, jnp.ones_like(x), form)
    assert abs(float(jnp.mean(found))) < 1e-5
    np.testing.assert_allclose(np.std(found, ddof=int(form == "holosoma")), 1.0, rtol=1e-5)
    # rows without weight change nothing, and equal advantages are no reason to divide by zero
    more = jnp.concatenate([x, jnp.full((3, 7), 1e6)])
    weight = jnp.concatenate([jnp.ones_like(x), jnp.zeros((3, 7))])
    np.testing.assert_allclose(returns.normalize_advantages(more, weight, form)[:9], found, atol=1e-6)
    assert jnp.all(returns.normalize_advantages(jnp.full((3, 7), 2.0), jnp.ones((3, 7)), form) == 0)


def test_normalize_advantages_pools_devices() -> None:
    x = jnp.asarray(np.random.default_rng(1).normal(size=(4, 5, 6)).astype(np.float32))
    weight = jnp.ones_like(x).at[2, :, :3].set(0.0)
    pooled = jax.vmap(lambda x, w: returns.normalize_advantages(x, w, axis_name="d"), axis_name="d")(
        x, weight
    )
    np.testing.assert_allclose(pooled, returns.normalize_advantages(x, weight), atol=2e-6)
