"""The ground as triangles, for simulators that take it so."""

from __future__ import annotations

import numpy as np

from bridges.protocol import Ground


def triangles(ground: Ground) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] float32 in m and triangles [T, 3] uint32, counter-clockwise from above.

    Each cell is split along the diagonal from (i, j) to (i + 1, j + 1), as `Ground` says.
    """
    assert ground.heights is not None
    rows, cols = ground.heights.shape
    x = ground.corner[0] + ground.cell * np.arange(rows)
    y = ground.corner[1] + ground.cell * np.arange(cols)
    vertices = np.stack([*np.meshgrid(x, y, indexing="ij"), ground.heights], -1).reshape(-1, 3)
    number = np.arange(rows * cols, dtype=np.uint32).reshape(rows, cols)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    cells = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2)
    return vertices.astype(np.float32), np.ascontiguousarray(cells.reshape(-1, 3))
