"""Draws docs/images/terrain-mix.png: the map of the mix preset, and one tile of each kind.

python -m docs.scripts.terrain_map
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LightSource

from holosoma_jax.config import compose
from holosoma_jax.config.schema import TerrainTermConfig
from holosoma_jax.envs import terrain
from holosoma_jax.envs.terrain.tiles import TILES

TARGET = Path(__file__).parents[1] / "images" / "terrain-mix.png"
SEED = 42


def main() -> None:
    """Draw and save."""
    cfg = compose.load(["exp:g1-29dof", f"--training.seed={SEED}"]).terrain
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(13, 4.9), width_ratios=[1.75, 1], layout="constrained"
    )
    _draw_map(left, terrain.build(cfg, SEED), cfg.terrain_term)
    right.axis("off")
    right.set_title("one tile of each kind, relief exaggerated", loc="left", fontsize=11)
    for index, name in enumerate(TILES):
        place = (0.02 + 0.34 * (index % 3), 0.72 - 0.36 * (index // 3), 0.3, 0.24)
        _draw_tile(right.inset_axes(place), name, cfg.terrain_term)
    figure.savefig(TARGET, dpi=80)


def _draw_map(axes: Axes, built: terrain.Terrain, term: TerrainTermConfig) -> None:
    assert built.ground.heights is not None
    border = round(term.border_size / term.horizontal_scale)
    tiles = built.ground.heights[border:-border, border:-border]
    rows, cols = (n * term.horizontal_scale for n in tiles.shape)
    picture = axes.imshow(
        100 * tiles, origin="lower", extent=(0, cols, 0, rows), cmap="cividis", interpolation="nearest"
    )
    axes.plot(
        built.tile_origins[..., 1].ravel(), built.tile_origins[..., 0].ravel(), ".", color="#d1633c", ms=3
    )
    axes.set_title(f"terrain-locomotion-mix, seed {SEED}: 10 x 20 tiles of 8 m", loc="left", fontsize=11)
    axes.set(xlabel="y [m]", ylabel="x [m]")
    axes.figure.colorbar(picture, ax=axes, label="height [cm]", shrink=0.75)


def _draw_tile(axes: Axes, name: str, term: TerrainTermConfig) -> None:
    drawn = TILES[name].heights(np.random.default_rng(3), (80, 80), 0.9, term)
    tile = drawn  # whole steps, as on the map
    if not TILES[name].whole_steps:
        tile = np.trunc(drawn / term.vertical_scale) * term.vertical_scale + 0.0
    exaggeration = 1.5 if TILES[name].by_row else 8.0
    low, high = tile.min() - 0.01, tile.max() + 0.01
    light = LightSource(315, 35)
    shaded = light.shade(
        tile,
        plt.get_cmap("cividis"),
        blend_mode="soft",
        vert_exag=exaggeration,
        dx=0.1,
        dy=0.1,
        vmin=low,
        vmax=high,
    )
    axes.imshow(shaded, origin="lower")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(f"{name}\n{100 * tile.min():.1f} to {100 * tile.max():.1f} cm", fontsize=8.5)


if __name__ == "__main__":
    main()
