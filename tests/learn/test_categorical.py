"""The projection of a return distribution onto its grid, against the definition in plain Python."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn.fast_sac import categorical

SUPPORT = categorical.Support(-2.0, 2.0, 9)
FORMS = {"dense": categorical.project_dense, "scatter": categorical.project_scatter}


def by_hand(probs: np.ndarray, reward: float, discount: float) -> np.ndarray:
    """Each atom's mass goes to where its return lands, split between the neighbours there."""
    out = np.zeros(SUPPORT.atoms)
    for p, z in zip(probs, SUPPORT.values, strict=True):
        position = (np.clip(reward + discount * z, -2.0, 2.0) + 2.0) / 0.5
        below = int(np.floor(position))
        out[below] += p * (1.0 - (position - below))
        if position > below:
            out[below + 1] += p * (position - below)
    return out


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("reward", "discount"),
    [
        (0.3, 0.97),  # between atoms
        (0.0, 1.0),  # every atom onto itself
        (0.5, 1.0),  # onto its neighbour; the last one is clipped
        (9.0, 0.9),  # all above
        (-9.0, 0.9),  # all below
        (0.7, 0.0),  # nothing follows: all mass at the reward
        (-0.5, 0.0),  # ... which is an atom
        (2.0, 0.0),  # ... which is the last one
    ],
)
def test_against_the_definition(form: str, reward: float, discount: float) -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(9), size=3).astype(np.float32)
    positions = categorical.atom_positions(jnp.full(3, reward), jnp.full(3, discount), SUPPORT)
    found = FORMS[form](jnp.asarray(probs), positions)
    np.testing.assert_allclose(found, [by_hand(p, reward, discount) for p in probs], atol=1e-6)


def test_both_forms_agree_and_keep_mass_and_mean() -> None:
    rng = np.random.default_rng(1)
    support = categorical.Support(-20.0, 20.0, 101)
    probs = jnp.asarray(rng.dirichlet(np.full(101, 0.1), size=200).astype(np.float32))
    reward, discount = jnp.asarray(rng.uniform(-0.4, 0.4, 200), jnp.float32), jnp.full(200, 0.97)
    positions = categorical.atom_positions(reward, discount, support)
    found = {name: form(probs, positions) for name, form in FORMS.items()}
    np.testing.assert_allclose(found["dense"], found["scatter"], atol=2e-6)
    np.testing.assert_allclose(jnp.sum(found["scatter"], axis=-1), 1.0, atol=1e-5)
    # |r| <= 0.4 keeps 0.97 * 20 + r within the grid, and splitting keeps the mean
    mean = reward + 0.97 * categorical.expectation(probs, support)
    np.testing.assert_allclose(categorical.expectation(found["dense"], support), mean, atol=1e-4)


def test_what_runs_here_is_the_scatter() -> None:
    probs = jnp.full((2, 9), 1 / 9)
    positions = categorical.atom_positions(jnp.ones(2), jnp.full(2, 0.5), SUPPORT)
    assert "scatter" in jax.jit(categorical.project_distribution).lower(probs, positions).as_text()
    np.testing.assert_array_equal(
        categorical.project_distribution(probs, positions), categorical.project_scatter(probs, positions)
    )
