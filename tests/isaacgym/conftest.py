from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bridges import isaacgym
from bridges.conformance import NUM_ENVS, Subject
from bridges.protocol import Ground
from holosoma_jax.robots.robot import Robot
from tests.support import isaacgym_python


@pytest.fixture(scope="session")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Robot:
    return isaacgym_python.urdf_biped(tmp_path_factory.mktemp("biped"))


@pytest.fixture(scope="session", params=["3.8-cpu", "same-cpu", "torch-cuda:0"])
def subject(request: Any, tmp_path_factory: pytest.TempPathFactory, robot: Robot) -> Iterator[Subject]:
    """The small biped in the double, in a Python 3.8 with NumPy, in this Python, and in one with torch."""
    version, device = request.param.split("-")
    python = isaacgym_python.write(tmp_path_factory.mktemp("python"), version)
    bridge = isaacgym.make(isaacgym_python.isaacgym_config(python, device), robot, Ground(), NUM_ENVS)
    yield Subject(bridge, robot)
    bridge.close()


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """This interpreter, with the double."""
    return isaacgym_python.write(tmp_path_factory.mktemp("python"), "same")
