from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridges.conformance import NUM_ENVS, Subject
from bridges.protocol import Ground
from tests.support.biped import BIPED, config


@pytest.fixture(scope="session", params=["mujoco", "remote", "mjwarp"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """The small biped in each simulator; one bridge for all checks, as the kernels take long to load."""
    if request.param == "mjwarp":
        pytest.importorskip("mujoco_warp")
        from bridges.mjwarp import MjwarpBridge as Bridge
    elif request.param == "remote":  # MuJoCo in a worker
        from bridges.remote import make as Bridge
    else:
        from bridges.mujoco import MujocoBridge as Bridge
    bridge = Bridge(config(), BIPED, Ground(), NUM_ENVS)
    yield Subject(bridge, BIPED)
    bridge.close()
