"""Mirror images: involutions, frame by frame, and the gait's phases."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn.symmetry import Mirror, Reflection, mirror_from, reflect
from tests.support import golden
from tests.support.golden import Term


@pytest.mark.parametrize("history", [1, 4])
@pytest.mark.parametrize("phase_mirror", ["swap", "holosoma"])
def test_twice_is_the_identity(history: int, phase_mirror: str) -> None:
    mirror = golden.mirror(history, phase_mirror)
    for reflection in (*mirror.obs.values(), mirror.action):
        x = jax.random.normal(jax.random.key(0), (5, len(reflection.index)))
        assert not jnp.array_equal(reflect(x, reflection), x)
        np.testing.assert_array_equal(reflect(reflect(x, reflection), reflection), x)


def test_history_is_mirrored_frame_by_frame() -> None:
    # Each term is laid out [history][dim]: taking frame h of every term, mirroring that as one frame,
    # and putting it back must give the same (holosoma mixes terms and frames, P-2).
    one, four = golden.mirror(1), golden.mirror(4)
    for group in one.obs:
        terms = [term for term in golden.layout(4) if term.group == group]
        x = np.random.default_rng(0).normal(size=(3, 4 * len(one.obs[group].index))).astype(np.float32)
        expected = np.empty_like(x)
        for h in range(4):
            frame = [t.start + h * t.dim + i for t in terms for i in range(t.dim)]
            expected[:, frame] = reflect(jnp.asarray(x[:, frame]), one.obs[group])
        np.testing.assert_array_equal(reflect(jnp.asarray(x), four.obs[group]), expected)


@pytest.mark.parametrize(
    ("phase_mirror", "expected"), [("swap", [0.2, 0.1, 0.4, 0.3]), ("holosoma", [-0.1, 0.2, -0.3, 0.4])]
)
def test_phase(phase_mirror: str, expected: list[float]) -> None:
    layout = [
        Term("actor_obs", "cos_phase", 2, 1, 0, (0, 1), (1, 1)),
        Term("actor_obs", "sin_phase", 2, 1, 2, (0, 1), (1, 1)),
    ]
    mirror = mirror_from(layout, (0,), (1,), phase_mirror)
    found = reflect(jnp.array([0.1, 0.2, 0.3, 0.4]), mirror.obs["actor_obs"])
    np.testing.assert_allclose(found, expected)


def test_mirrors_are_values() -> None:
    # they are part of a compiled program's key
    assert golden.mirror() == golden.mirror()
    assert hash(golden.mirror()) == hash(golden.mirror())
    assert golden.mirror() != golden.mirror(phase_mirror="holosoma")


def test_differentiable() -> None:
    reflection = golden.mirror().action
    # the mirror is linear and its own transpose: the gradient of w . M x is M w
    w, x = jax.random.normal(jax.random.key(0), (2, 29))
    gradient = jax.grad(lambda x: jnp.dot(w, reflect(x, reflection)))(x)
    np.testing.assert_array_equal(gradient, reflect(w, reflection))


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (Term("o", "lost", 2, 1, 5, (0, 1), (1, 1)), "'lost' of 'o' starts at 5, expected 0"),
        (Term("o", "bare", 3, 1, 0, (), ()), r"'bare' of 'o' .*3 .*\b0\b"),
        (Term("o", "round", 3, 1, 0, (1, 2, 0), (1, 1, 1)), "'round' of 'o' .*entry 0"),
        (Term("o", "odd", 2, 1, 0, (1, 0), (1, -1)), "'odd' of 'o' .*entry 0"),
        (Term("o", "long", 1, 1, 0, (0,), (2,)), "'long' of 'o' .*entry 0"),
        (Term("o", "far", 1, 1, 0, (1,), (1,)), "'far' of 'o' .*entry 0"),
        (Term("o", "sin_phase", 3, 1, 0, (0, 1, 2), (1, 1, 1)), "'sin_phase' of 'o' has 3 entries"),
    ],
)
def test_errors_name_the_term(term: Term, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mirror_from([term], (0,), (1.0,))


def test_a_wrong_action_table_is_named() -> None:
    with pytest.raises(ValueError, match=r"'action' .*entry 0"):
        Mirror(obs={}, action=Reflection((1, 1), (1.0, 1.0)))
