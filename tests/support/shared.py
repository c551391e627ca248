"""Reference data beside the repository: recorded traces and robot figures, too large to ship."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("HOLOSOMA_SHARED", Path(__file__).resolve().parents[3] / "shared"))
"""Folder of the reference data; set HOLOSOMA_SHARED if it lies elsewhere."""


def shared_path(name: str) -> Path:
    """File or folder `name` of the reference data; skips the calling test where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no reference data: {name} is not under HOLOSOMA_SHARED or ../shared")
    return path
