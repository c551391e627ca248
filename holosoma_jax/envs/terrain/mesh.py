"""A triangle mesh as a grid of heights: the highest surface above every grid point."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from bridges.protocol import Ground
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import TerrainTermConfig
from holosoma_jax.config.validation.limits import CELLS
from holosoma_jax.envs.terrain import mesh_file

PAIRS = 2_000_000
"""(triangle, grid point) pairs that are looked at together: bounds the memory"""
STEEP = np.cos(np.radians(80.0))
"""vertical part of a unit normal, below which a face counts as a wall"""
WORTH_SAYING = 1e-3
"""share of a mesh that is lost, below which nobody is told"""
APART = 0.02
"""m between two surfaces above each other that count as two"""
CLOSED = 1e-6
"""share of its faces' area that those of a closed solid leave over, seen from above: rounding"""
EDGE = 1e-7
"""by which a triangle is larger, relative to its size, so that neighbours leave no gap between them"""

log = logging.getLogger(__name__)


class Surface(NamedTuple):
    """What of a mesh is seen from above."""

    heights: np.ndarray
    """[rows, cols] m float32; beyond the mesh and in its holes that of the nearest point that it covers"""
    covered: np.ndarray
    """[rows, cols] bool: the mesh is there"""
    hidden: float
    """share of the covered points that have another surface below the highest one"""


def build(term: TerrainTermConfig, rows: int, cols: int) -> tuple[Ground, np.ndarray]:
    """The ground that a mesh file makes, and spawn points [rows, cols, 3] m spread over it.

    The file's coordinates are the world's. What a grid of heights cannot hold is logged in one line.

    Raises:
      ConfigError: see `mesh_file.read`; or the grid would be too large.
    """
    triangles = mesh_file.read(term)
    cell, name = term.horizontal_scale, term.obj_file_path
    low, high = (f(triangles[..., :2], axis=(0, 1)) for f in (np.min, np.max))
    # Grid points at multiples of the cell, where the edges of stairs and boxes tend to be.
    first = np.floor((low - term.border_size) / cell + 1e-6)
    last = np.ceil((high + term.border_size) / cell - 1e-6)
    shape = (int(last[0] - first[0]) + 1, int(last[1] - first[1]) + 1)
    if shape[0] * shape[1] > CELLS:
        fits = cell * np.sqrt(shape[0] * shape[1] / CELLS)
        raise ConfigError(
            f"{mesh_file.KEY}.horizontal_scale: got {cell:g} m; {name} with its border measures "
            f"{shape[0] * cell:,.0f} x {shape[1] * cell:,.0f} m, which are {shape[0] * shape[1]:,} heights "
            f"({4e-9 * shape[0] * shape[1]:.3g} GB), at most {CELLS:,} fit. Wanted {fits:.2g} m or more."
        )
    corner = first * cell
    seen = surface(triangles, cell, corner, shape)
    if not seen.covered.any():
        raise ConfigError(f"{mesh_file.KEY}.obj_file_path: {name}: has no face that can be seen from above.")
    _report(name, triangles, seen, cell)
    seen.heights.flags.writeable = False
    ground = Ground(seen.heights, cell, (float(corner[0]), float(corner[1])))
    return ground, _spawn_points(seen, cell, corner, low, high, rows, cols)


def surface(triangles: np.ndarray, cell: float, corner: np.ndarray, shape: tuple[int, int]) -> Surface:
    """The highest point of the triangles [T, 3, 3] above every point of a grid.

    Args:
      triangles: m, z up.
      cell: m between grid points.
      corner: [2] m, x and y of grid point (0, 0).
      shape: of the grid, along x and y.
    """
    top = np.full(shape, -np.inf, np.float32)
    below = np.full(shape, np.inf, np.float32)  # the lowest face that looks up: no bottom of a solid counts
    a, b, c = np.swapaxes((triangles[..., :2] - corner) / cell, 0, 1)
    z = triangles[..., 2]
    twice_area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    up = twice_area * _winding(triangles, twice_area) > 0
    xy = np.stack([a, b, c])
    start = np.clip(np.ceil(xy.min(0) - EDGE), 0, shape).astype(np.int64)
    stop = np.clip(np.floor(xy.max(0) + EDGE) + 1, start, shape).astype(np.int64)
    extent = stop - start
    number = np.where(twice_area == 0.0, 0, extent.prod(1))  # a vertical face is a line from above
    ends = np.cumsum(number)
    for begin in range(0, int(ends[-1]), PAIRS):
        pair = np.arange(begin, min(begin + PAIRS, int(ends[-1])))
        t = np.searchsorted(ends, pair, side="right")
        place = pair - (ends[t] - number[t])
        i, j = start[t, 0] + place // extent[t, 1], start[t, 1] + place % extent[t, 1]
        x, y = i - a[t, 0], j - a[t, 1]
        (bx, by), (cx, cy) = (b[t] - a[t]).T, (c[t] - a[t]).T
        u, v = (x * cy - y * cx) / twice_area[t], (y * bx - x * by) / twice_area[t]
        inside = (u >= -EDGE) & (v >= -EDGE) & (u + v <= 1.0 + EDGE)
        t, i, j, u, v = (array[inside] for array in (t, i, j, u, v))
        height = (z[t, 0] + u * (z[t, 1] - z[t, 0]) + v * (z[t, 2] - z[t, 0])).astype(np.float32)
        np.maximum.at(top, (i, j), height)
        np.minimum.at(below, (i[up[t]], j[up[t]]), height[up[t]])
    covered = np.isfinite(top)
    hidden = (top - below)[covered & np.isfinite(below)] > APART
    return Surface(_filled(top, covered), covered, float(hidden.sum() / max(1, covered.sum())))


def _winding(triangles: np.ndarray, twice_area: np.ndarray) -> float:
    """1 where the corners of a face that looks up go round counter-clockwise, seen from above; -1 where clockwise.

    Args:
      triangles: [T, 3, 3] m.
      twice_area: [T] of them seen from above, negative where clockwise.
    """
    total = twice_area.sum()
    if abs(total) > CLOSED * np.abs(twice_area).sum():
        return float(np.sign(total))
    a, b, c = np.swapaxes(triangles - triangles.mean((0, 1)), 0, 1)
    volume = np.sum(
        a * np.cross(b, c)
    )  # six times that of a solid, positive where outer faces are counter-clockwise
    return -1.0 if volume < 0 else 1.0


def _filled(top: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """`top`, holes with the height of the nearest covered point."""
    if covered.all() or not covered.any():
        return np.where(covered, top, np.float32(0.0))
    i, j = ndimage.distance_transform_edt(~covered, return_distances=False, return_indices=True)  # type: ignore[misc]
    return top[i, j]


def _spawn_points(
    seen: Surface, cell: float, corner: np.ndarray, low: np.ndarray, high: np.ndarray, rows: int, cols: int
) -> np.ndarray:
    """[rows, cols, 3] m: the middles of as many equal parts of the mesh, moved onto it where it has a hole."""
    there: np.ndarray | None = None  # the points of the mesh, only if some middle is not one
    near = max(1, round(0.5 / cell))
    points = np.zeros((rows, cols, 3), np.float32)
    for i, j in np.ndindex(rows, cols):
        middle = low + (np.array([i, j]) + 0.5) / (rows, cols) * (high - low)
        at = np.clip(np.round((middle - corner) / cell).astype(int), 0, np.array(seen.covered.shape) - 1)
        if not seen.covered[tuple(at)]:
            there = np.argwhere(seen.covered) if there is None else there
            at = there[np.argmin(np.square(there - at).sum(1))]
        row, col = map(int, at)
        around = seen.heights[max(0, row - near) : row + near + 1, max(0, col - near) : col + near + 1]
        points[i, j] = (corner[0] + row * cell, corner[1] + col * cell, around.max())
    return points


def _report(name: str, triangles: np.ndarray, seen: Surface, cell: float) -> None:
    """One line: what was read, and what of it a grid of heights cannot hold."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    walls = float(areas[np.abs(normals[:, 2]) < STEEP * areas].sum() / 2)
    heights = seen.heights[seen.covered]
    facts = (
        f"{name}: {len(triangles):,} triangles, heights {heights.min():.3g} to {heights.max():.3g} m on a grid of "
        f"{seen.heights.shape[0]} x {seen.heights.shape[1]} points, {cell:g} m apart"
    )
    lost = []
    if walls > WORTH_SAYING * areas.sum() / 2:
        lost.append(f"{walls:.3g} m^2 of walls become slopes one cell wide")
    if seen.hidden > WORTH_SAYING:
        lost.append(f"at {seen.hidden:.1%} of the points only the highest of several surfaces is kept")
    if lost:
        log.warning("%s; a grid of heights has neither walls nor overhangs: %s.", facts, ", ".join(lost))
    else:
        log.info("%s.", facts)
