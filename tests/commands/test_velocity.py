"""Every way in which people write a velocity."""

from __future__ import annotations

import pytest

from holosoma_jax.config import compose
from holosoma_jax.config.schema.evaluation import EvalArgs


@pytest.mark.parametrize(
    "argv",
    [
        ["--velocity=[0.5,0,-1]"],
        ["--velocity", "[0.5, 0, -1]"],
        ["--velocity", "[0.5,", "0,", "-1]"],
        ["--velocity", "0.5", "0", "-1"],
        ["--velocity", "(0.5, 0, -1)"],
        ["--velocity=(0.5,", "0,", "-1)"],
    ],
)
@pytest.mark.parametrize("after", [[], ["--training.num-envs=3"], ["logger:console"]])
def test_a_velocity(argv: list[str], after: list[str]):
    _, args = compose.load_with_extra(["exp:g1-29dof", *argv, *after], EvalArgs)
    assert args.velocity == (0.5, 0.0, -1.0)
