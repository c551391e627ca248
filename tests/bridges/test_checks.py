"""Bad input is one line: array, value, place, what is wanted."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from bridges import checks


def test_good_arrays_pass_through():
    x = np.ones((2, 3), np.float32)
    assert checks.array("x", x, (2, 3)) is x
    assert checks.finite("x", x) is x
    assert checks.array("x", jnp.ones(2, bool), (2,), np.bool_).dtype == bool


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda: checks.array("targets", np.ones((2, 3)), (2, 4)),
            r"targets: .*\(2, 3\).*\(2, 4\)",
        ),
        (
            lambda: checks.array("lin", np.ones(2, int), (2,)),
            "lin: .*int64.*float",
        ),
        (
            lambda: checks.array("mask", np.ones(2), (2,), np.bool_),
            "mask: .*float64.*bool",
        ),
        (
            lambda: checks.finite("x", np.array([[0.0, 1.0], [np.nan, 0.0]])),
            "x: .*nan.* environment 1, entry 0,.* finite",
        ),
        (
            lambda: checks.finite("x", np.array([[[0.0, np.inf]]]), np.array([7])),
            r"x: .*inf.* environment 7, entry \(0, 1\),.* finite",
        ),
        (
            lambda: checks.at_least("f", np.array([0.5, -0.5]), 0.0),
            r"f: .*-0\.5 .*environment 1\b.*, 0 or more",
        ),
        (
            lambda: checks.at_least("m", np.array([0.0]), 0.0, exclusive=True),
            r"m: .*\b0 .*environment 0\b.*, above 0",
        ),
        (
            lambda: checks.unit("q", np.array([[2.0, 0, 0, 0]]), np.array([3])),
            r"q: .*norm 2 .*environment 3\b.*unit",
        ),
    ],
)
def test_bad_arrays_are_named(call, line):
    with pytest.raises(ValueError, match=f"^{line}"):
        call()


def test_saved_states_are_checked_array_by_array():
    f8, f4 = np.dtype(np.float64), np.dtype(np.float32)
    required, extra = {"a": ((2,), f8)}, {"params/x": ((2,), f4)}
    checks.state({"a": np.zeros(2)}, required, extra)
    checks.state({"a": np.zeros(2), "params/x": np.zeros(2, f4)}, required, extra)
    for arrays, line in (
        ({}, "no array 'a'"),
        ({"a": np.zeros(2), "b": np.zeros(2)}, "unknown array 'b'; known: a, params/x"),
        ({"a": np.zeros(3)}, r"'a' is float64 \(3,\), wanted float64 \(2,\)"),
        ({"a": np.zeros(2, f4)}, r"'a' is float32 \(2,\), wanted float64 \(2,\)"),
    ):
        with pytest.raises(ValueError, match=line):
            checks.state(arrays, required, extra)
