"""The ground: its shape, its tiles, where environments start, how high it is under a point."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Ground
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import SpawnConfig, TerrainConfig


@dataclass(frozen=True, eq=False)
class Terrain:
    """A ground and the tiles on it; arrays are NumPy, read-only after `build`."""

    ground: Ground
    tile_origins: np.ndarray
    """[rows, cols, 3] m, world position of each tile's spawn point"""
    spawn: SpawnConfig

    def height(self, xy: jax.Array) -> jax.Array:
        """Ground height [...] in m below the world points xy [..., 2]."""
        if self.ground.heights is None:
            return jnp.zeros(xy.shape[:-1], jnp.float32)
        return grid_height(jnp.asarray(self.ground.heights, jnp.float32), self.ground, xy)

    def spawn_height(self, xy: jax.Array) -> jax.Array:
        """Ground height [E] in m to start on at xy [E, 2]: below the point, or the highest of a grid."""
        if not self.spawn.use_grid_sampling:
            return self.height(xy)
        steps = (np.arange(self.spawn.grid_size) - (self.spawn.grid_size - 1) / 2) * self.spawn.grid_spacing
        grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(1, -1, 2)
        return jnp.max(self.height(xy[:, None] + jnp.asarray(grid, jnp.float32)), axis=-1)

    def env_origins(self, key: jax.Array, num_envs: int) -> jax.Array:
        """World position [num_envs, 3] of each environment's tile.

        Columns are dealt out in order, so every column has its share of environments; rows are
        drawn. Both stay for the whole run. Without `spawn.randomize_tiles` all start on tile (0, 0).
        """
        origins = jnp.asarray(self.tile_origins, jnp.float32)
        rows, cols, _ = origins.shape
        if not self.spawn.randomize_tiles:
            return jnp.broadcast_to(origins[0, 0], (num_envs, 3))
        # floor(k / (N / cols)) as the reference deals them; exact integers avoid its float rounding
        col = jnp.minimum(jnp.arange(num_envs) * cols // num_envs, cols - 1)
        row = jax.random.randint(key, (num_envs,), 0, rows)
        return origins[row, col]


def build(cfg: TerrainConfig, seed: int) -> Terrain:
    """The terrain of a config, the same for the same seed.

    Raises:
      ConfigError: the mesh type is not available.
    """
    del seed  # the plane has nothing to draw
    term = cfg.terrain_term
    if term.mesh_type != "plane":
        raise ConfigError(
            f"terrain.terrain_term.mesh_type '{term.mesh_type}' is not available yet; "
            "use terrain:terrain-locomotion-plane."
        )
    rows = max(1, int(term.num_rows * term.scale_factor))
    cols = max(1, int(term.num_cols * term.scale_factor))
    size = np.floor(np.array([term.terrain_length, term.terrain_width]) * term.scale_factor)
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij"), axis=-1)
    origins = np.zeros((rows, cols, 3), np.float32)
    origins[..., :2] = (grid + 0.5) * size
    origins.flags.writeable = False
    return Terrain(Ground(), origins, term.spawn)


def grid_height(heights: jax.Array, ground: Ground, xy: jax.Array) -> jax.Array:
    """Height [...] of the triangulated grid below xy [..., 2]; constant beyond its edges.

    Cell (i, j) is split along the diagonal from (i, j) to (i + 1, j + 1), see `Ground`.
    """
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
