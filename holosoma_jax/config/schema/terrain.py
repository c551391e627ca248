"""The ground, and where on it environments start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from holosoma_jax.config.schema.types import (
    OWN,
    Length,
    LengthOrZero,
    Names,
    NonNegativeFloat,
    PathText,
    PositiveFloat,
    PositiveInt,
)

TILE_KINDS = ("flat", "rough", "low_obstacles", "smooth_slope", "rough_slope", "stairs_up", "stairs_down")
"""Kinds of tile that `envs.terrain` can make."""
TerrainKind = Annotated[
    str,
    Field(
        pattern=f"^({'|'.join(TILE_KINDS)}|{OWN})$",
        description=f"one of {', '.join(TILE_KINDS)}, or package.module:TILE",
    ),
    Names(TILE_KINDS),
]


@dataclass(frozen=True)
class SpawnConfig:
    """Where on the terrain environments start."""

    randomize_tiles: bool = True
    """Each environment gets a random tile; False: all on tile (0, 0)."""
    at_world_origin: bool = False
    """load_obj: the only place to start is the mesh's own origin: a motion clip and its ground share coordinates."""
    xy_offset_range: LengthOrZero = 1.0
    """m, uniform offset from the tile's centre at each reset, in x and in y."""
    query_terrain_height: bool = False
    """Start at the terrain's height under the offset position instead of the tile's."""
    use_grid_sampling: bool = False
    """With query_terrain_height: the highest of a grid of points instead of one."""
    grid_size: Annotated[int, Field(ge=1, le=100)] = 3
    """Points along each side of that grid."""
    grid_spacing: Length = 0.2
    """m between them."""


@dataclass(frozen=True)
class TerrainTermConfig:
    """The ground."""

    mesh_type: Literal["plane", "trimesh", "load_obj"] = "plane"
    """Infinite plane, a height field of generated tiles, or one made from a mesh file."""
    obj_file_path: PathText = ""
    """load_obj: the mesh, an OBJ, STL or PLY file in metres, or slope, which comes with the package; its coordinates
    are the world's."""
    up_axis: Literal["y", "z"] | None = None
    """load_obj: the file's axis that points up; default: z, and a file that looks otherwise is refused."""
    horizontal_scale: Length = 0.1
    """m between height samples."""
    vertical_scale: Length = 0.005
    """m per integer height step."""
    border_size: LengthOrZero = 40.0
    """m of flat ground around the tiles, or of ground at its edge's height around a mesh."""
    terrain_length: Length = 8.0
    """m, tile size along x."""
    terrain_width: Length = 8.0
    """m, tile size along y."""
    num_rows: PositiveInt = 10
    """Tiles along x; load_obj: places to start along x, spread over the mesh."""
    num_cols: PositiveInt = 20
    """Tiles along y; load_obj: places to start along y."""
    terrain_config: dict[TerrainKind, NonNegativeFloat] = field(default_factory=dict)
    """Probability of each kind of tile; one of your own is package.module:TILE."""
    max_slope: Annotated[float, Field(ge=0, le=10)] = 0.3
    """Slope kinds: rise over run at difficulty 1."""
    platform_size: LengthOrZero = 2.0
    """m, flat top of slope kinds and stairs."""
    amplitude_range: tuple[LengthOrZero, LengthOrZero] = (0.01, 0.05)
    """m, noise of rough slopes."""
    stair_height_range: tuple[Length, Length] = (0.05, 0.2)
    """m, one step of the stairs: the first in the first row, growing towards the second in later rows."""
    stair_width: Length = 0.3
    """m from one step of the stairs to the next, in whole height samples."""
    slope_threshold: PositiveFloat = 0.75
    """Read for the sake of holosoma's configs; a height grid has no vertical walls (docs/terrain.md)."""
    scale_factor: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Shrinks or grows the whole map; load_obj: multiplies the mesh's coordinates."""
    spawn: SpawnConfig = field(default_factory=SpawnConfig)


@dataclass(frozen=True)
class TerrainConfig:
    """The ground."""

    terrain_term: TerrainTermConfig = field(default_factory=TerrainTermConfig)
