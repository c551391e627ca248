"""The files of docs/extending.md, in a folder of their own: code outside of the package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.messages import messages
from tests.support.pages import write_files
from tests.support.programs import cached_programs

__all__ = ["cached_programs", "messages", "outside"]


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the page's files, from which modules can be imported."""
    folder = tmp_path_factory.mktemp("outside")
    names = [path.stem for path in write_files("extending.md", folder)]
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in names:
        sys.modules.pop(name, None)
