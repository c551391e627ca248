"""The robot of docs/new_robot.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import write_robot


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The robot of docs/new_robot.md."""
    return write_robot(tmp_path)
