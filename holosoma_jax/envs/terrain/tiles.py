"""Kinds of terrain tile: each draws one square of heights in metres.

Features of 'rough' and 'low_obstacles' lie at or below zero, as in holosoma: roughness is a
field of pits, obstacles are depressions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from holosoma_jax.config import extensions
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.own_code import guarded, is_own
from holosoma_jax.config.schema import TerrainTermConfig

DIFFICULTIES = (0.5, 0.75, 0.9)
"""drawn per tile, unless the kind grows with the tile's row"""

Shape = tuple[int, int]
Heights = Callable[[np.random.Generator, Shape, float, TerrainTermConfig], np.ndarray]
"""random numbers, (rows, columns) of the grid, difficulty from 0 to 1, settings -> heights [rows, columns] m"""


class Tile(NamedTuple):
    """A kind of tile."""

    heights: Heights
    by_row: bool = False
    """its difficulty is that of its row, i/n in row i of n; False: one of `DIFFICULTIES`"""
    whole_steps: bool = False
    """its heights are whole height steps already: truncating them could take one off"""


def flat(rng: np.random.Generator, shape: Shape, difficulty: float, cfg: TerrainTermConfig) -> np.ndarray:
    """Level ground at zero."""
    del rng, difficulty, cfg
    return np.zeros(shape)


def rough(rng: np.random.Generator, shape: Shape, difficulty: float, cfg: TerrainTermConfig) -> np.ndarray:
    """Every grid point on its own, 2.5 to 7.5 cm below zero at full difficulty."""
    del cfg
    amplitude = 0.025 * difficulty / 0.9
    return rng.uniform(-(2 * amplitude + 0.025), -0.025, shape)


def low_obstacles(
    rng: np.random.Generator, shape: Shape, difficulty: float, cfg: TerrainTermConfig
) -> np.ndarray:
    """Thirty square depressions a tenth of the tile wide, up to 3 cm deep; they may overlap."""
    del cfg
    heights = np.zeros(shape)
    size = max(1, shape[0] // 10)
    for _ in range(30):
        i, j = (rng.integers(0, max(1, n - size)) for n in shape)
        heights[i : i + size, j : j + size] = -0.03 * difficulty / 0.9
    return heights


def smooth_slope(
    rng: np.random.Generator, shape: Shape, difficulty: float, cfg: TerrainTermConfig
) -> np.ndarray:
    """A pyramid, up or down, with a level platform on top."""
    slope = cfg.max_slope * difficulty * rng.choice([-1.0, 1.0])
    inward = [np.minimum(np.arange(n), np.arange(n)[::-1]) for n in shape]
    distance = np.minimum(inward[0][:, None], inward[1][None]) * cfg.horizontal_scale
    platform = (min(shape) - 1) / 2 * cfg.horizontal_scale - cfg.platform_size / 2
    return slope * np.minimum(distance, max(platform, 0.0))


def rough_slope(
    rng: np.random.Generator, shape: Shape, difficulty: float, cfg: TerrainTermConfig
) -> np.ndarray:
    """The pyramid with bumps and dents on a 0.2 m grid, bilinear in between."""
    coarse = [int(np.ceil(n * cfg.horizontal_scale / 0.2)) + 1 for n in shape]
    noise = rng.uniform(*cfg.amplitude_range, coarse) * rng.choice([-1.0, 1.0], coarse)
    at = [np.arange(n) * cfg.horizontal_scale / 0.2 for n in shape]
    along = np.stack([np.interp(at[0], np.arange(coarse[0]), column) for column in noise.T], axis=1)
    bumps = np.stack([np.interp(at[1], np.arange(coarse[1]), line) for line in along])
    return smooth_slope(rng, shape, difficulty, cfg) + bumps


def stairs_up(
    rng: np.random.Generator, shape: Shape, difficulty: float, cfg: TerrainTermConfig
) -> np.ndarray:
    """Square rings of steps that rise to a platform; as many as there is room for.

    A step is `cfg.stair_width` wide in whole cells, the cell of its riser included, and as high as
    `cfg.stair_height_range` says at this difficulty, in whole height steps.
    """
    del rng
    low, high = cfg.stair_height_range
    unit = cfg.vertical_scale * cfg.scale_factor
    rise = max(1, round((low + difficulty * (high - low)) / unit)) * unit
    width = max(1, round(cfg.stair_width / cfg.horizontal_scale))
    inward = [np.minimum(np.arange(n), np.arange(n)[::-1]) for n in shape]
    ring = np.minimum(inward[0][:, None], inward[1][None])
    flat_ring = int((min(shape) - 1) / 2 - cfg.platform_size / 2 / cfg.horizontal_scale)
    return rise * np.minimum(ring // width, max(0, flat_ring) // width)


def stairs_down(
    rng: np.random.Generator, shape: Shape, difficulty: float, cfg: TerrainTermConfig
) -> np.ndarray:
    """`stairs_up` below zero: a pit with steps on all sides."""
    return 0.0 - stairs_up(rng, shape, difficulty, cfg)


TILES: dict[str, Tile] = {
    "flat": Tile(flat),
    "rough": Tile(rough),
    "low_obstacles": Tile(low_obstacles),
    "smooth_slope": Tile(smooth_slope, by_row=True),
    "rough_slope": Tile(rough_slope, by_row=True),
    "stairs_up": Tile(stairs_up, by_row=True, whole_steps=True),
    "stairs_down": Tile(stairs_down, by_row=True, whole_steps=True),
}


def resolve(name: str) -> Tile:
    """The kind of tile called `name`: a built-in one, or package.module:TILE, a `Tile` or its function.

    Raises:
      ConfigError: there is none.
    """
    if name in TILES:
        return TILES[name]
    key = ".".join((*extensions.TILES, name))
    if ":" not in name:
        raise ConfigError(f"{key}: unknown kind of tile.{nearest(name, TILES)} Known: {', '.join(TILES)}.")
    found = extensions.imported(name, key)
    if inspect.isfunction(found):
        found = Tile(found)
    if not isinstance(found, Tile):
        raise ConfigError(f"{key}: '{name}' is a {type(found).__name__}; wanted an envs.terrain.tiles.Tile.")
    if is_own(found.heights):
        called = "rng, shape, difficulty, cfg -> heights [rows, columns]"
        found = found._replace(heights=guarded(found.heights, key, called))
    return found


def draw(
    name: str, tile: Tile, rng: np.random.Generator, shape: Shape, difficulty: float, cfg: TerrainTermConfig
) -> np.ndarray:
    """Heights [rows, columns] m of one tile of a kind that the config calls `name`, not truncated.

    Raises:
      ConfigError: a kind of somebody's own gives other than finite heights of that shape.
    """
    heights = np.asarray(tile.heights(rng, shape, difficulty, cfg))
    if heights.shape != shape or not np.isfinite(heights).all():
        what = f"of shape {heights.shape}" if heights.shape != shape else "that are not all finite"
        raise ConfigError(
            f"{'.'.join((*extensions.TILES, name))}: got heights {what}; wanted finite ones of shape {shape}."
        )
    return heights
