"""Kinds of terrain tile from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holosoma_jax.config import compose, trust
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import TerrainConfig
from holosoma_jax.envs import terrain
from tests.support.own_terms import SMALL

HERE, N = __name__, 3


def test_tiles_of_ones_own_are_part_of_the_map(outside: Path) -> None:
    """Deeper from row to row: 10 cm times i/3, in whole steps of 5 mm."""
    ground = compose.load(["--config", str(outside / "walk.yaml"), *SMALL]).terrain.terrain_term
    assert ground.terrain_config["ripples:RIPPLES"] == 0.2
    alone = replace(ground, terrain_config={"ripples:RIPPLES": 1.0})
    built = terrain.build(TerrainConfig(alone), 0)
    assert (built.tile_kinds == "ripples:RIPPLES").all()
    assert built.ground.heights is not None
    inner = built.ground.heights[400:640, 400:560].reshape(3, 80, 160)
    np.testing.assert_allclose(inner.min((1, 2)), [0.0, -0.03, -0.065], atol=1e-6)
    assert (built.tile_origins[..., 2] <= 0.0).all()


def lopsided(rng: np.random.Generator, shape: Any, difficulty: float, cfg: Any) -> np.ndarray:
    """Heights of another shape."""
    return np.zeros((shape[0], shape[1] + 1))


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("lopsided", r"lopsided: .*\(80, 81\)"),
        ("N", "is a int"),
        ("missing", "has no 'missing'"),
    ],
)
def test_a_tile_that_is_none_is_one_line(kind: str, named: str) -> None:
    cfg = compose.load(["exp:g1-29dof", *SMALL]).terrain
    term = replace(cfg.terrain_term, terrain_config={f"{HERE}:{kind}": 1.0})
    with pytest.raises(ConfigError, match=named) as error:
        terrain.build(TerrainConfig(term), 0)
    assert "\n" not in str(error.value) and "terrain_config" in str(error.value)


def test_an_artifact_names_tiles_of_ones_own_only_with_leave() -> None:
    own = {"terrain": {"terrain_term": {"terrain_config": {f"{HERE}:lopsided": 1.0}}}}
    with pytest.raises(ConfigError, match=r"terrain_config.*--allow-code tests"):
        trust.require(trust.Saved(own), (), "run")
    trust.require(trust.Saved(own), ("tests",), "run")
    assert trust.outside(own) == ("tests",)
