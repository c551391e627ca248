"""The robot of docs/new_robot.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "new_robot.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The robot of docs/new_robot.md."""
    for name, text in re.findall(r"```(?:xml|yaml) (mybot/\S+)\n(.*?)```", PAGE.read_text(), re.S):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "mybot"
