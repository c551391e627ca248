"""The program in README runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.slow
def test_the_program_in_readme(capsys: pytest.CaptureFixture[str]) -> None:
    """It trains, its loss term is part of the update, and its numbers are finite."""
    program = re.search(r"<!-- example -->\n```python\n(.*?)```", README.read_text(), re.S)
    assert program
    scope: dict[str, Any] = {}
    exec(compile(program.group(1), str(README), "exec"), scope)
    printed = capsys.readouterr().out.split("\n")
    assert len([line for line in printed if line]) == 3
    assert all(np.isfinite(float(word)) for line in printed for word in line.split())
    assert scope["stats"].scalars["Loss/action_size"] > 0.0
    assert len(program.group(1).splitlines()) < 45
    scope["parts"].bridge.close()


def test_files_that_readme_links_to_exist() -> None:
    text = README.read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links
    missing = [link for link in links if not link.startswith("http") and not (README.parent / link).exists()]
    assert not missing
