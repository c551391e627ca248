"""The ground: its tiles, its heights, and where environments start on it."""

from holosoma_jax.envs.terrain.mesh_file import shipped
from holosoma_jax.envs.terrain.terrain import Terrain, build, grid_height, of_mesh

__all__ = ["Terrain", "build", "grid_height", "of_mesh", "shipped"]
