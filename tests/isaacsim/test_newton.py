"""The bridge over Isaac Lab itself, with Newton on the CPU. A start takes half a minute, the first one minutes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import chex
import numpy as np
import pytest

from bridges import conformance, isaacsim
from bridges.conformance import CHECKS, NUM_ENVS, Subject
from bridges.isaacsim.bridge import IsaacSimBridge
from bridges.protocol import Bounded, Ground, PhysicsParams, SimulatorError
from holosoma_jax import robots
from holosoma_jax.config import compose
from holosoma_jax.config.schema import IsaacSimConfig, RemoteConfig, SimulatorConfig
from holosoma_jax.robots.robot import Robot
from tests.support.biped import BIPED, config, everyone, numpy, only, pose

pytestmark = [pytest.mark.isaaclab, pytest.mark.slow, pytest.mark.timeout(1800)]
LIMITS = ["--simulator.config.isaacsim.device=cpu"]


def isaacsim_config(python: str) -> SimulatorConfig:
    cfg = config()
    more = {
        "remote": RemoteConfig(python=python, start_timeout_s=900),
        "isaacsim": IsaacSimConfig(device="cpu"),
    }
    return replace(cfg, name="isaacsim", config=replace(cfg.config, **more))


@pytest.fixture(scope="module")
def bridge(python: str) -> Iterator[IsaacSimBridge]:
    made = isaacsim.make(isaacsim_config(python), BIPED, Ground(), NUM_ENVS)
    yield made
    made.close()


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_the_biped_conforms(bridge: IsaacSimBridge, check: conformance.Check):
    """Tilted bodies, a hinge off its body's origin, centres of mass off it."""
    results = check(Subject(bridge, BIPED))
    assert [str(result) for result in results if not result.passed] == []


@pytest.mark.parametrize("exp", ["g1-29dof", "t1-29dof", "k1-22dof"])
def test_the_robots_conform(python: str, exp: str):
    """With it, the effect of every randomisation: masses, centres of mass, rotor inertia, gains, friction.

    In the same simulation, as a start takes long: what a robot has beyond the biped.
    """
    where = [f"--simulator.config.remote.python={python}", *LIMITS]
    with conformance.started(compose.load([f"exp:{exp}", "simulator:isaacsim", *where])) as subject:
        results = [result for checked in conformance.each(subject) for result in checked]
        if exp == "g1-29dof":
            assert_ankles_are_limited_as_in_mujoco(subject)
        if exp == "k1-22dof":
            assert swing_legs_together(subject) == 0.0  # self-collisions are off
    assert len(results) > 50
    assert [str(result) for result in results if not result.passed] == []


def assert_ankles_are_limited_as_in_mujoco(subject: Subject) -> None:
    """Pitch and roll of the G1's ankles limit each other; each alone is asked for less than its range."""
    names = [f"{side}_ankle_{axis}_joint" for side in ("left", "right") for axis in ("pitch", "roll")]
    ankles = [subject.bridge.spec.joint_names.index(name) for name in names]
    targets = np.array(subject.pose().joint_pos)
    targets[:, ankles] = np.tile([[0.45, 0.2], [0.45, -0.2], [-0.8, 0.22], [-0.8, -0.22]], 2)
    physics, _ = subject.begin(subject.pose(height=5.0))
    _, states = subject.hold(physics, targets, 25)
    with conformance.started(compose.load(["exp:g1-29dof", "simulator:mujoco"])) as other:
        physics, _ = other.begin(other.pose(height=5.0))
        _, wanted = other.hold(physics, targets, 25)
    reached = states[-1].joint_pos[:, ankles]
    np.testing.assert_allclose(reached, wanted[-1].joint_pos[:, ankles], atol=1e-4)
    short = np.abs(targets[:, ankles] - reached)[:2]
    assert (short > 0.05).all()  # MuJoCo's ranges of the single joints would have let them get there


def swing_legs_together(subject: Subject) -> float:
    """The largest contact force, N, when the K1's legs are swung through each other in the air."""
    begin = subject.pose(height=5.0)
    inwards = np.array(begin.joint_pos)
    for j, name in enumerate(subject.bridge.spec.joint_names):
        if "Hip_Roll" in name:
            inwards[:, j] += 0.6 if "Right" in name else -0.6
    physics, _ = subject.begin(begin)
    _, states = subject.hold(physics, inwards, 10)
    return max(float(np.abs(state.contact_force).max()) for state in states)


def test_a_heavier_robot_weighs_more_and_what_is_reset_to_nominal_weighs_as_before(bridge: IsaacSimBridge):
    e, weights = NUM_ENVS, []
    physics = bridge.init()
    for ratio in (1.0, 2.0, 1.0):
        params = PhysicsParams(mass_ratio=np.full((e, BIPED.num_bodies), ratio, np.float32))
        physics = bridge.randomize(physics, params, only(e, 1))
        physics, _ = bridge.reset(physics, everyone(e), pose(e))
        for _ in range(15):
            physics, sim = bridge.step(physics, pose(e).joint_pos)
        weights.append(numpy(sim).contact_force[..., 2].sum(-1))
    np.testing.assert_allclose([w[1] / w[0] for w in weights], [1, 2, 1], rtol=0.02)


def test_a_robot_that_diverged_inside_the_simulator_is_well_after_its_reset(bridge: IsaacSimBridge):
    """The solver starts from its last solution, which is NaN then."""
    e = NUM_ENVS
    physics, _ = bridge.reset(bridge.init(), everyone(e), pose(e))
    saved = bridge.get_state(physics)
    saved["joint_vel"][1] = np.nan
    physics = bridge.set_state(physics, saved)
    physics, sim = bridge.step(physics, pose(e).joint_pos)
    state = numpy(sim)
    assert np.isnan(state.root_pos[1]).all() and np.isfinite(state.root_pos[[0, 2, 3]]).all()
    physics, _ = bridge.reset(physics, only(e, 0, 1), pose(e))
    for _ in range(3):
        physics, sim = bridge.step(physics, pose(e).joint_pos)
    state = numpy(sim)
    for value in state:
        if value is not None:  # of an object, which is not there
            np.testing.assert_allclose(value[1], value[0], atol=1e-5)


def test_a_dead_worker_is_one_line_and_init_starts_another(bridge: IsaacSimBridge):
    e = NUM_ENVS
    physics, _ = bridge.reset(bridge.init(), everyone(e), pose(e))
    physics, sim = bridge.step(physics, pose(e).joint_pos)
    saved, before = bridge.get_state(physics), numpy(sim)
    os.kill(bridge.worker.pid, signal.SIGKILL)
    with pytest.raises(SimulatorError, match=r"isaacsim worker .*SIGKILL"):
        bridge.step(physics, pose(e).joint_pos)
    physics = bridge.set_state(bridge.init(), saved)
    physics, sim = bridge.reset(physics, only(e), pose(e))
    chex.assert_trees_all_equal(numpy(sim), before)


@pytest.fixture
def own_robot(tmp_path: Path) -> Robot:
    """The biped with names such as USD does not allow."""
    path = tmp_path / "own.xml"
    path.write_text(BIPED.mjcf.read_text().replace("left_leg", "left-leg").replace('"neck"', '"neck-yaw"'))
    renamed = {"left_leg": "left-leg", "neck": "neck-yaw"}
    return replace(
        BIPED,
        mjcf=path,
        joint_names=tuple(renamed.get(name, name) for name in BIPED.joint_names),
        body_names=tuple(renamed.get(name, name) for name in BIPED.body_names),
    )


def test_a_robot_of_ones_own_dropped_into_a_pit_lies_on_its_floor(python: str, own_robot: Robot):
    """A ground that became its convex hull would hold it at the edge's height."""
    heights = np.zeros((41, 61), np.float32)
    heights[10:31, 20:41] = -0.4
    heights[:, 55:] = 0.25  # not symmetric: rows and columns are not exchanged
    ground = Ground(heights, cell=0.2, corner=(-4.0, -6.0))
    bridge = isaacsim.make(isaacsim_config(python), own_robot, ground, 3)
    physics = bridge.init()
    assert isinstance(bridge, Bounded)
    bridge.check(physics)
    assert "so far: 0.0 of" in bridge.usage(physics)  # what came before the first step does not count
    places = np.array([[0.0, 0.0, 0.40], [3.4, 0.0, 0.80], [0.0, 5.6, 1.05]])  # in it, beside it, on the step
    physics, _ = bridge.reset(physics, everyone(3), pose(3, root_pos=places))
    for _ in range(20):
        physics, sim = bridge.step(physics, pose(3).joint_pos)
    state = numpy(sim)
    np.testing.assert_allclose(state.root_pos[:, 2], [0.33, 0.73, 0.98], atol=0.02)
    assert (state.contact_force[..., 2].sum(1) > 100).all()
    bridge.close()


def test_links_collide_if_asked_to(python: str):
    robot = robots.load("k1")
    bridge = isaacsim.make(isaacsim_config(python), robot, Ground(), 1, self_collisions=True)
    assert swing_legs_together(Subject(bridge, robot)) > 1.0
    bridge.close()
