"""Any input is accepted and valid, or refused in one line: see `tests.support.fuzzing`.

`pytest tests/fuzz` reads the same inputs every time. For others:
`HOLOSOMA_FUZZ_SEED=1 pytest tests/fuzz --hypothesis-seed=1`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holosoma_jax import robots
from holosoma_jax.config import files
from tests.support.fuzzing import bounded_memory


@pytest.fixture(scope="module", autouse=True)
def read_once() -> Iterator[None]:
    """Presets and the package's robots: parsing them is most of what a config or a clip costs."""
    read, load, ours = files.read, robots.load, files.root()
    preset, robot = functools.cache(read), functools.cache(load)

    def once(path: Path, name: str = "") -> dict[str, Any]:
        return preset(path, name) if Path(path).is_relative_to(ours) else read(path, name)

    def loaded(asset: str, **options: Any) -> robots.Robot:
        return robot(asset) if asset in ("g1", "t1", "k1") else load(asset, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "read", once)
        patch.setattr(robots, "load", loaded)
        yield


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    """All inputs of a test together."""
    with bounded_memory():
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the inputs are written, one after the other."""
    return tmp_path_factory.mktemp("inputs")
