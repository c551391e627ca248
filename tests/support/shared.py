"""Recorded runs of holosoma and robot figures: the full data beside the repository, or the cut in it."""

from __future__ import annotations

import io
import lzma
import os
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(os.environ.get("HOLOSOMA_SHARED", Path(__file__).resolve().parents[3] / "shared"))
"""Folder of the full data; set HOLOSOMA_SHARED if it lies elsewhere."""
COMPACT = Path(__file__).resolve().parents[1] / "data" / "holosoma"
"""What `tests.support.compact` keeps of it; stands in where the full data is absent."""


def shared_path(name: str) -> Path:
    """File `name` of the full data, or of the cut; skips the calling test where neither has it."""
    for folder in (SHARED, COMPACT):
        if (folder / name).exists():
            return folder / name
    pytest.skip(f"{name} is neither under HOLOSOMA_SHARED or ../shared nor in {COMPACT.name}")


def shared_arrays(name: str) -> dict[str, np.ndarray]:
    """Arrays of `golden/{name}.npz` of the full data, or of the cut."""
    full = SHARED / "golden" / f"{name}.npz"
    return read_arrays(full if full.exists() else shared_path(f"golden/{name}.npz.xz"))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an .npz, or of an .npz.xz: an .npz without compression of its own, compressed as a whole.

    As a whole, because the same rows stand in several arrays: the actions of a step are the previous
    actions of the next.
    """
    with np.load(io.BytesIO(lzma.decompress(path.read_bytes())) if path.suffix == ".xz" else path) as file:
        return dict(file)


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an .npz.xz."""
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    float32 = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 2, "pb": 2}
    path.write_bytes(lzma.compress(packed.getvalue(), filters=[float32]))
