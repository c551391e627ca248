"""The box beside the robot, in every bridge that takes one; see `bridges.conformance.objects`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

import bridges
from bridges.conformance import NUM_ENVS, Subject, objects
from bridges.protocol import Bridge, Ground, PhysicsParams, UnsupportedRandomization
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import RemoteConfig
from holosoma_jax.robots.robot import Box
from tests.support.biped import BIPED, config, everyone, pose, start

BOX = Box(
    size=(0.4, 0.3, 0.2), mass=0.5, inertia=(0.01, 0.012, 0.014), friction=0.4, init_pos=(3.0, 0.0, 0.1)
)
CARRIER = replace(BIPED, object=BOX)


@pytest.fixture(scope="module", params=["mujoco", "mjwarp"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "mjwarp":
        pytest.importorskip("mujoco_warp")
        from bridges.mjwarp import MjwarpBridge as Made
    else:
        from bridges.mujoco import MujocoBridge as Made
    bridge: Bridge = Made(config(), CARRIER, Ground(), NUM_ENVS)
    yield Subject(bridge, CARRIER)
    bridge.close()


@pytest.mark.parametrize("check", objects.CHECKS, ids=lambda check: check.__name__)
def test_the_object_conforms(subject: Subject, check: bridges.conformance.Check) -> None:
    results = check(subject)
    assert len(results) and subject.bridge.spec.has_object
    assert [str(result) for result in results if not result.passed] == []


def test_half_of_an_object_is_refused(subject: Subject) -> None:
    place = np.zeros((NUM_ENVS, 3), np.float32)
    with pytest.raises(ValueError, match="object_quat"):
        subject.bridge.reset(
            subject.bridge.init(), subject.everyone, subject.pose()._replace(object_pos=place)
        )


def test_without_an_object_nothing_of_it_is_taken() -> None:
    bridge, physics = start(2)
    place = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="object_pos"):
        bridge.reset(physics, everyone(2), pose(2)._replace(object_pos=place))
    assert "object_friction" not in bridge.spec.randomizes
    with pytest.raises(UnsupportedRandomization, match="object_friction"):
        bridge.randomize(physics, PhysicsParams(object_friction=np.ones(2, np.float32)), everyone(2))


def test_a_box_on_the_ground_presses_with_its_weight_on_what_lies_below() -> None:
    """The object lies on the fallen robot's torso: their contact is in the robot's forces."""
    bridge, physics = start(1, robot=CARRIER)
    lying = {"root_pos": (0.0, 0.0, 1.5)}
    above = {
        "object_pos": (0.0, 0.0, 2.6), "object_quat": (1.0, 0.0, 0.0, 0.0),
        "object_lin_vel": (0.0, 0.0, -2.0), "object_ang_vel": (0.0, 0.0, 0.0),
    }  # fmt: skip
    physics, _ = bridge.reset(physics, everyone(1), pose(1, robot=CARRIER, **lying, **above))
    touched = 0.0
    for _ in range(25):
        physics, sim = bridge.step(physics, np.zeros((1, 5), np.float32))
        touched = max(touched, float(np.abs(np.asarray(sim.contact_force)).max()))
    assert touched > 1.0


@pytest.mark.parametrize("simulator", ["isaacgym", "isaacsim", "mujoco"])
def test_what_takes_no_object_says_so(simulator: str) -> None:
    cfg = config()
    settings = (
        replace(cfg.config, remote=RemoteConfig(python="python3")) if simulator == "mujoco" else cfg.config
    )
    with pytest.raises(ConfigError, match=r"robot\.object\.enabled") as error:
        bridges.make(replace(cfg, name=simulator, config=settings), CARRIER, Ground(), 2)
    assert simulator in str(error.value)
