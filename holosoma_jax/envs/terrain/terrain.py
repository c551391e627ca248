"""The ground: its shape, its tiles, where environments start, how high it is under a point."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Ground
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import SpawnConfig, TerrainConfig, TerrainTermConfig
from holosoma_jax.envs.terrain import mesh, tiles


@dataclass(frozen=True, eq=False)
class Terrain:
    """A ground and the tiles on it; arrays are NumPy and read-only."""

    ground: Ground
    tile_origins: np.ndarray
    """[rows, cols, 3] m, world position of each tile's spawn point"""
    tile_kinds: np.ndarray
    """[rows, cols] str, name of each tile's kind"""
    spawn: SpawnConfig

    def height(self, xy: jax.Array) -> jax.Array:
        """Ground height [...] in m below the world points xy [..., 2]."""
        if self.ground.heights is None:
            return jnp.zeros(xy.shape[:-1], jnp.float32)
        return grid_height(self.ground, xy)

    def spawn_height(self, xy: jax.Array) -> jax.Array:
        """Ground height [E] in m to start on at xy [E, 2]: below the point, or the highest of a grid."""
        if not self.spawn.use_grid_sampling:
            return self.height(xy)
        steps = (np.arange(self.spawn.grid_size) - (self.spawn.grid_size - 1) / 2) * self.spawn.grid_spacing
        grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(1, -1, 2)
        return jnp.max(self.height(xy[:, None] + jnp.asarray(grid, jnp.float32)), axis=-1)

    def env_tiles(self, key: jax.Array, num_envs: int) -> jax.Array:
        """Row and column [num_envs, 2] int32 of each environment's tile at the start of a run.

        Columns are dealt out in order, so every column has its share of environments; rows are drawn.
        Without `spawn.randomize_tiles` all start on tile (0, 0).
        """
        rows, cols = self.tile_kinds.shape
        if not self.spawn.randomize_tiles:
            return jnp.zeros((num_envs, 2), jnp.int32)
        # floor(k / (N / cols)) as holosoma deals them; exact integers avoid its float rounding
        col = jnp.minimum(jnp.arange(num_envs, dtype=jnp.int32) * cols // num_envs, cols - 1)
        return jnp.stack([jax.random.randint(key, (num_envs,), 0, rows), col], -1)

    def origins(self, tile: jax.Array) -> jax.Array:
        """World position [E, 3] m of the spawn points of tiles [E, 2] (row, column)."""
        return jnp.asarray(self.tile_origins, jnp.float32)[tile[:, 0], tile[:, 1]]


def build(cfg: TerrainConfig, seed: int) -> Terrain:
    """The terrain of a config, the same for the same seed.

    `scale_factor` shrinks the map (rows, columns, tile size, border) and the height step, but not
    the grid's pitch nor the tiles' features, as in holosoma.

    Raises:
      ConfigError: an unknown kind of tile, no kind with a probability, tiles too small, or a mesh that is no terrain.
    """
    term = cfg.terrain_term
    if term.mesh_type == "load_obj":
        ground, origins = mesh.build(term, term.num_rows, term.num_cols)
        if term.spawn.at_world_origin:
            origins = np.zeros((1, 1, 3), np.float32)
        kinds = np.full(origins.shape[:2], "mesh", dtype=object)
        return Terrain(ground, _read_only(origins), _read_only(kinds), term.spawn)
    rows, cols = (max(1, int(n * term.scale_factor)) for n in (term.num_rows, term.num_cols))
    size = np.floor(np.array([term.terrain_length, term.terrain_width]) * term.scale_factor)
    if size.min() < 1.0:
        raise ConfigError(
            f"terrain.terrain_term.scale_factor: {term.scale_factor} makes tiles of {size.min():g} m; "
            "tiles must be at least 1 m wide."
        )
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij"), axis=-1)
    origins = np.zeros((rows, cols, 3), np.float32)
    origins[..., :2] = (grid + 0.5) * size
    kinds = np.full((rows, cols), "flat", dtype=object)
    ground = Ground()
    if term.mesh_type == "trimesh":
        ground = _build_map(term, seed, size, origins, kinds)
    return Terrain(ground, _read_only(origins), _read_only(kinds), term.spawn)


def of_mesh(name: str) -> TerrainConfig:
    """The config of the ground that a mesh file makes, in the file's own coordinates; see `build`.

    Args:
      name: a file, or a mesh that comes with the package.
    """
    spawn = SpawnConfig(randomize_tiles=False, at_world_origin=True, xy_offset_range=0.0)
    term = TerrainTermConfig(
        mesh_type="load_obj", obj_file_path=name, border_size=10.0, num_rows=1, num_cols=1, spawn=spawn
    )
    return TerrainConfig(term)


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _build_map(
    term: TerrainTermConfig, seed: int, size: np.ndarray, origins: np.ndarray, kinds: np.ndarray
) -> Ground:
    """Draw every tile; fills in the origins' heights and the kinds."""
    rng = np.random.default_rng(seed)
    names, chances = _probabilities(term)
    known = {name: tiles.resolve(name) for name in names}
    cell = term.horizontal_scale
    shape = (round(size[0] / cell), round(size[1] / cell))
    border = round(term.border_size * term.scale_factor / cell)
    rows, cols = kinds.shape
    heights = np.zeros((rows * shape[0] + 2 * border, cols * shape[1] + 2 * border), np.float32)
    middle = tuple(slice(n // 2 - round(0.5 / cell), n // 2 + round(0.5 / cell)) for n in shape)
    step = term.vertical_scale * term.scale_factor
    for i in range(rows):
        for j in range(cols):
            kind = names[rng.choice(len(names), p=chances)]
            difficulty = i / rows if known[kind].by_row else float(rng.choice(tiles.DIFFICULTIES))
            tile = tiles.draw(kind, known[kind], rng, shape, difficulty, term)
            x, y = border + i * shape[0], border + j * shape[1]
            # whole steps, truncated toward zero; the spawn height is taken before that, as in holosoma
            whole = tile if known[kind].whole_steps else np.trunc(tile / step) * step
            heights[x : x + shape[0], y : y + shape[1]] = whole
            origins[i, j, 2] = tile[middle].max()
            kinds[i, j] = kind
    heights.flags.writeable = False
    return Ground(heights, cell, (-border * cell, -border * cell))


def _probabilities(term: TerrainTermConfig) -> tuple[list[str], np.ndarray]:
    chances = np.array(list(term.terrain_config.values()), float)
    if chances.sum() <= 0.0:
        raise ConfigError(
            "terrain.terrain_term.terrain_config: no kind of tile has a probability; "
            "give at least one, e.g. {flat: 1.0}."
        )
    return list(term.terrain_config), chances / chances.sum()


def grid_height(ground: Ground, xy: jax.Array) -> jax.Array:
    """Height [...] of the triangulated grid below xy [..., 2]; constant beyond its edges.

    Cell (i, j) is split along the diagonal from (i, j) to (i + 1, j + 1), see `Ground`.
    """
    heights = jnp.asarray(ground.heights, jnp.float32)
    i, u = _cell((xy[..., 0] - ground.corner[0]) / ground.cell, heights.shape[0])
    j, v = _cell((xy[..., 1] - ground.corner[1]) / ground.cell, heights.shape[1])
    h00, h11 = heights[i, j], heights[i + 1, j + 1]
    h10, h01 = heights[i + 1, j], heights[i, j + 1]
    # below the diagonal (u >= v) the third corner is (i + 1, j), above it is (i, j + 1)
    lower = h00 + u * (h10 - h00) + v * (h11 - h10)
    upper = h00 + v * (h01 - h00) + u * (h11 - h01)
    return jnp.where(u >= v, lower, upper)


def _cell(coordinate: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Index of the cell that holds a grid coordinate, and the place in it in [0, 1]."""
    inside = jnp.clip(coordinate, 0.0, size - 1.0)
    low = jnp.minimum(jnp.floor(inside), size - 2.0)
    return low.astype(jnp.int32), inside - low
