"""The toy robot: its config, and programs that are compiled once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from holosoma_jax.config.schema import Config
from tests.support import toy
from tests.support.programs import cached_programs

__all__ = ["cached_programs", "cfg"]


@pytest.fixture
def cfg(tmp_path: Path) -> Config:
    return toy.config(output_dir=str(tmp_path / "logs"), name="walk")
