from __future__ import annotations

import pytest

import bridges
from bridges.isaacsim import install
from holosoma_jax.config.schema import SimulatorConfig


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs Isaac Lab is skipped where there is none, with the line that says how to get it."""
    marked = [item for item in items if item.get_closest_marker("isaaclab")]
    if marked and not bridges.is_available("isaacsim"):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no Isaac Lab here: ./just isaaclab"))


@pytest.fixture(scope="session")
def python() -> str:
    """The Python that has Isaac Lab."""
    return install.interpreter(SimulatorConfig(name="isaacsim"))
