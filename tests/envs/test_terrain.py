"""The generated map: heights, origins, look-ups; and holosoma's recorded map and queries."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import Ground
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import SpawnConfig, TerrainConfig, TerrainTermConfig
from holosoma_jax.envs import terrain
from tests.envs.test_locomotion import example_view, standing
from tests.support.shared import shared_arrays

MIX = {"flat": 0.2, "rough": 0.6, "low_obstacles": 0.2, "smooth_slope": 0.0, "rough_slope": 0.0}
UNIT = 0.005


def mix(kinds: dict[str, float] = MIX, **changes: object) -> TerrainConfig:
    return TerrainConfig(TerrainTermConfig(mesh_type="trimesh", terrain_config=kinds, **changes))


def tile(built: terrain.Terrain, i: int, j: int) -> np.ndarray:
    assert built.ground.heights is not None
    return np.round(built.ground.heights[400 + 80 * i : 480 + 80 * i, 400 + 80 * j : 480 + 80 * j] / UNIT)


def test_same_seed_same_map() -> None:
    a, b, c = (terrain.build(mix(), seed).ground.heights for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_mix_has_holosomas_statistics() -> None:
    """Size, shares of the kinds, and the whole-step heights each kind may have."""
    built = terrain.build(mix(), 3)
    heights = built.ground.heights
    assert heights is not None and heights.shape == (1600, 2400) and built.ground.corner == (-40.0, -40.0)
    assert not heights[:400].any() and not heights[:, -400:].any()
    assert heights.max() == 0.0
    names, counts = np.unique(built.tile_kinds, return_counts=True)
    shares = dict(zip(names, counts / 200, strict=True))
    assert abs(shares["rough"] - 0.6) < 0.12 and abs(shares["flat"] - 0.2) < 0.1
    for (i, j), kind in np.ndenumerate(built.tile_kinds):
        low, high, values = tile(built, i, j).min(), tile(built, i, j).max(), np.unique(tile(built, i, j))
        if kind == "flat":
            assert low == high == 0
        elif kind == "rough":
            assert low in (-10, -13, -14) and high == -5
            assert -0.03 <= built.tile_origins[i, j, 2] <= -0.025
        else:
            assert high == 0 and set(values[values < 0]) <= {-3.0, -4.0, -6.0}
    # highest of 100 untruncated pixels: a hundredth of the range (13 to 25 mm .. 50 mm) below -25 mm
    spawns = built.tile_origins[built.tile_kinds == "rough", 2]
    np.testing.assert_allclose(spawns.mean(), -0.0254, atol=2e-4)


def test_recorded_map_has_the_same_statistics() -> None:
    """Mean and spread of holosoma's tiles, kind by kind, against ours."""
    d = shared_arrays("pure/terrain_mix")
    raw, kinds = d["height_field_raw"], d["tile_type"]
    ours = terrain.build(mix(), 5)
    for index, name in enumerate(("flat", "rough", "low_obstacles")):
        theirs = np.stack(
            [raw[400 + 80 * i :, 400 + 80 * j :][:80, :80] for i, j in np.argwhere(kinds == index)]
        )
        mine = np.stack([tile(ours, i, j) for i, j in np.argwhere(ours.tile_kinds == name)])
        np.testing.assert_allclose(mine.mean(), theirs.mean(), atol=0.25)
        np.testing.assert_allclose(mine.std(), theirs.std(), atol=0.25)


def test_recorded_queries() -> None:
    """Ray casts of holosoma onto its own map, on our triangles (they carry 2e-5 m of error)."""
    d = shared_arrays("pure/terrain_mix")
    ground = Ground(d["height_field_raw"].astype(np.float32) * np.float32(UNIT), 0.1, (-40.0, -40.0))
    height = terrain.grid_height(ground, jnp.asarray(d["query_xy"]))
    np.testing.assert_allclose(height, d["query_height"], atol=6e-5)
    spawn = SpawnConfig(query_terrain_height=True, use_grid_sampling=True)
    built = terrain.Terrain(ground, d["tile_origins"], np.full(d["tile_origins"].shape[:2], "flat"), spawn)
    grid = built.spawn_height(jnp.asarray(d["query_xy"]))
    np.testing.assert_allclose(grid, d["query_height_grid"], atol=6e-5)
    feet = d["feet_pos"]
    above = feet[..., 2] - np.asarray(built.height(jnp.asarray(feet[..., :2])))
    np.testing.assert_allclose(above, d["feet_height"], atol=6e-5)
    quat = jnp.roll(jnp.asarray(d["base_quat"]), 1, axis=-1)  # recorded x y z w
    view = example_view(standing())
    view = dataclasses.replace(
        view,
        scene=dataclasses.replace(view.scene, terrain=built),
        sim=standing(len(quat))._replace(root_pos=jnp.asarray(d["base_pos"]), root_quat=quat),
    )
    np.testing.assert_allclose(view.base_height, d["base_height"], atol=6e-5)


def test_height_on_both_sides_of_the_diagonal() -> None:
    # one cell, corners 0 1 / 2 3: below the diagonal (1, 0) counts, above it (0, 1)
    ground = Ground(np.array([[0.0, 1.0], [2.0, 3.5]], np.float32), 1.0, (10.0, 20.0))
    points = jnp.array([[10.0, 20.0], [11.0, 20.0], [10.0, 21.0], [11.0, 21.0], [10.5, 20.25], [10.25, 20.5]])
    # (0.5, 0.25): 0 + 0.5 * 2 + 0.25 * 1.5 = 1.375; (0.25, 0.5): 0 + 0.5 * 1 + 0.25 * 2.5 = 1.125
    np.testing.assert_allclose(terrain.grid_height(ground, points), [0, 2, 1, 3.5, 1.375, 1.125])
    np.testing.assert_allclose(terrain.grid_height(ground, jnp.array([[0.0, 0.0], [99.0, 99.0]])), [0, 3.5])


@pytest.mark.parametrize("kind", ["smooth_slope", "rough_slope"])
def test_slopes_grow_with_the_row(kind: str) -> None:
    built = terrain.build(mix({kind: 1.0}), 0)
    steep = [np.ptp(tile(built, i, 0)) * UNIT for i in (0, 9)]
    # row 9 of 10: slope 0.27 over the 3 m from the edge to the 2 m platform (2.95 m on the grid)
    assert steep[0] <= (0.0 if kind == "smooth_slope" else 0.1)
    np.testing.assert_allclose(steep[1], 0.27 * 2.95, atol=0.01 if kind == "smooth_slope" else 0.11)


@pytest.mark.parametrize("kind, sign", [("stairs_up", 1.0), ("stairs_down", -1.0)])
def test_stairs_are_whole_steps(kind: str, sign: float) -> None:
    """Row 5 of 10: steps of 0.05 + 0.5 * (0.2 - 0.05) = 0.125 m, 0.3 m wide, up to a platform of 2 m and more."""
    built = terrain.build(mix({kind: 1.0}), 0)
    assert built.ground.heights is not None
    square = sign * built.ground.heights[400 + 80 * 5 : 400 + 80 * 6, 400:480]
    # 80 points in a row: three of each step, then the platform of 80 - 2 * 27 = 26 points, 2.5 m
    wanted = 0.125 * np.repeat(np.r_[np.arange(9), 9, np.arange(8, -1, -1)], [3] * 9 + [26] + [3] * 9)
    np.testing.assert_allclose(square[40], wanted, atol=1e-6)
    np.testing.assert_allclose(square[:, 40], wanted, atol=1e-6)
    np.testing.assert_array_equal(square, square.T)
    np.testing.assert_allclose(
        built.tile_origins[:, 0, 2], sign * 9 * (0.05 + 0.015 * np.arange(10)), atol=1e-6
    )


@pytest.mark.parametrize("height, unit", [(0.15, 0.005), (0.07, 0.001), (0.23, 0.01)])
def test_a_step_keeps_its_height(height: float, unit: float) -> None:
    """0.15 / 0.005 is less than 30 in floating point; a step must not lose a unit to that."""
    built = terrain.build(
        mix({"stairs_up": 1.0}, stair_height_range=(height, height), vertical_scale=unit), 0
    )
    assert built.ground.heights is not None
    levels = np.unique(built.ground.heights)
    np.testing.assert_allclose(levels, height * np.arange(10), atol=1e-6)


def test_kinds_without_a_share_change_no_map() -> None:
    a, b = (terrain.build(mix(kinds), 4).ground.heights for kinds in (MIX, MIX | {"stairs_up": 0.0}))
    np.testing.assert_array_equal(a, b)


def test_scale_factor_shrinks_the_map() -> None:
    built = terrain.build(mix(scale_factor=0.5), 0)
    assert built.tile_origins.shape == (5, 10, 3)
    np.testing.assert_allclose(built.tile_origins[1, 2, :2], [6.0, 10.0])
    assert built.ground.heights is not None and built.ground.heights.shape == (5 * 40 + 400, 10 * 40 + 400)
    assert built.ground.corner == (-20.0, -20.0)


def test_environments_are_dealt_to_columns(key: jax.Array) -> None:
    built = terrain.build(TerrainConfig(), 0)
    origins = np.asarray(built.origins(built.env_tiles(key, 64)))
    np.testing.assert_allclose(origins[:, 1], (np.floor(np.arange(64) / 3.2) + 0.5) * 8)
    assert len(np.unique(origins[:, 0])) > 5
    still = terrain.build(TerrainConfig(TerrainTermConfig(spawn=SpawnConfig(randomize_tiles=False))), 0)
    np.testing.assert_allclose(still.origins(still.env_tiles(key, 3)), np.tile([4.0, 4.0, 0.0], (3, 1)))


@pytest.mark.parametrize(
    "kinds, message",
    [({"ruogh": 1.0}, "Did you mean 'rough'"), ({}, "no kind of tile"), ({"flat": 0.0}, "no kind of tile")],
)
def test_wrong_kinds_are_named(kinds: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        terrain.build(mix(kinds), 0)
