from __future__ import annotations

import pytest

from holosoma_jax import robots
from holosoma_jax.motion import Clip, Skeleton, edit, read


@pytest.fixture(scope="session")
def g1() -> Skeleton:
    return Skeleton(robots.load("g1"))


@pytest.fixture(scope="session")
def walk(g1: Skeleton) -> Clip:
    """Four seconds of a walk round a curve, 50 fps."""
    return edit.cut(g1, read("g1_walk_circle", g1), 200, 400)
