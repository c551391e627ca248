"""Recorded runs of holosoma and robot figures: the full data beside the repository, or the cut in it."""

from __future__ import annotations

import os
from pathlib import Path

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
