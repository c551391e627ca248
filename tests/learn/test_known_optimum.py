"""Both learners come within 5 % of the optimum of a linear-quadratic problem, with every seed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import known_optimum

price = jax.jit(lambda gain: known_optimum.price(lambda x: -x @ gain.T))


def test_no_other_gain_is_cheaper() -> None:
    best = known_optimum.best_gain()
    cost = price(jnp.asarray(best, jnp.float32))
    for nudge in ((0.3, 0.0), (-0.3, 0.0), (0.0, 0.3), (0.0, -0.3)):
        assert price(jnp.asarray(best + nudge, jnp.float32)) > cost
    assert price(jnp.zeros((1, 2))) > 10 * cost


def test_the_riccati_equation_holds() -> None:
    """The cost of -K x from x, without noise, is a quadratic form that one step of the task reproduces."""
    gain, a, b = known_optimum.best_gain(), known_optimum.A, known_optimum.B
    closed = a - b @ gain
    p, weight = np.zeros((2, 2)), np.eye(2)
    for t in range(2000):
        step = known_optimum.Q + gain.T @ known_optimum.R @ gain
        p = p + known_optimum.GAMMA**t * weight.T @ step @ weight
        weight = closed @ weight
    implied = known_optimum.GAMMA * np.linalg.solve(
        known_optimum.R + known_optimum.GAMMA * b.T @ p @ b, b.T @ p @ a
    )
    np.testing.assert_allclose(implied, gain, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("name", known_optimum.RUNS)
def test_every_seed_comes_within_five_percent(name: str) -> None:
    excess = known_optimum.excess(known_optimum.RUNS[name]())
    assert excess.shape[1] == 5
    assert np.all(excess[0] > 1.0)  # before training it costs more than twice as much
    assert np.all(excess[-1] < 0.05), excess[-1]
