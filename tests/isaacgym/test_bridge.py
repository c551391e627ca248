"""The bridge to IsaacGym over the double of it: what goes there when, and what is said when it fails."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chex
import numpy as np
import pytest

import bridges
from bridges import isaacgym
from bridges.isaacgym import bridge as bridge_module
from bridges.isaacgym import install
from bridges.isaacgym.asset import robot_urdf
from bridges.isaacgym.bridge import IsaacGymBridge
from bridges.protocol import Ground, PhysicsParams, SimulatorError
from bridges.remote.process import Worker
from bridges.remote.program import StartError
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.robots.robot import Robot
from tests.support.biped import everyone, numpy, only, pose, random_pose
from tests.support.isaacgym_python import isaacgym_config, write

E = 3
STILL = np.zeros((E, 5), np.float32)


@pytest.fixture(scope="module")
def bridge(python: str, robot: Robot) -> Iterator[IsaacGymBridge]:
    made = isaacgym.make(isaacgym_config(python), robot, Ground(), E)
    yield made
    made.close()


def test_a_control_step_is_one_round_trip_whatever_else_is_asked(
    bridge: IsaacGymBridge, monkeypatch: pytest.MonkeyPatch
):
    physics, _ = bridge.reset(bridge.init(), everyone(E), pose(E))
    physics, _ = bridge.step(physics, STILL)
    calls, call = [], Worker.call

    def counted(self: Worker, name: str, *args: Any) -> Any:
        calls.append(name)
        return call(self, name, *args)

    monkeypatch.setattr(Worker, "call", counted)
    # IsaacGym, and so the double, takes one indexed write of each tensor a step: three calls become one.
    physics, _ = bridge.reset(physics, only(E, 0), random_pose(E))
    physics, _ = bridge.reset(physics, only(E, 2), random_pose(E, 1))
    physics, _ = bridge.set_root_velocity(physics, only(E, 1, 2), np.ones((E, 3), np.float32), STILL[:, :3])
    bridge.step(physics, STILL)
    assert calls == ["step"]


def test_two_resets_before_a_step_both_hold(bridge: IsaacGymBridge):
    a, b = random_pose(E, 5), random_pose(E, 6)
    physics, _ = bridge.reset(bridge.init(), only(E, 0), a)
    physics, sim = bridge.reset(physics, only(E, 2), b)
    np.testing.assert_allclose(numpy(sim).joint_pos[[0, 2]], [a.joint_pos[0], b.joint_pos[2]], atol=1e-6)
    _, sim = bridge.step(physics, np.asarray(a.joint_pos))
    moved = numpy(sim).root_pos
    assert np.abs(moved[0] - a.root_pos[0]).max() < 0.1 and np.abs(moved[2] - b.root_pos[2]).max() < 0.1


def test_parameters_before_the_first_step_and_after(bridge: IsaacGymBridge):
    """One more kilogram a kilogram: twice the weight on the ground."""
    for early in (True, False):
        physics = bridge.init()
        double = PhysicsParams(mass_ratio=np.full((E, 8), 2.0, np.float32))
        if early:
            physics = bridge.randomize(physics, double, only(E, 1))
        physics, _ = bridge.reset(physics, everyone(E), pose(E))
        physics, _ = bridge.step(physics, STILL)
        if not early:
            physics = bridge.randomize(physics, double, only(E, 1))
        for _ in range(15):
            physics, sim = bridge.step(physics, STILL)
        up = numpy(sim).contact_force[..., 2].sum(-1)
        np.testing.assert_allclose(up / up[0], [1, 2, 1], rtol=0.05)


def test_the_gpu_pipeline_takes_parameters_by_starting_anew(
    tmp_path: Path, robot: Robot, caplog: pytest.LogCaptureFixture
):
    bridge = isaacgym.make(isaacgym_config(write(tmp_path, "torch"), "cuda:0"), robot, Ground(), E)
    physics, _ = bridge.reset(bridge.init(), everyone(E), pose(E))
    gains = PhysicsParams(kp_scale=np.full((E, 5), 0.9, np.float32))
    physics = bridge.randomize(physics, PhysicsParams(friction=np.full(E, 0.4, np.float32)), everyone(E))
    physics, sim = bridge.step(physics, STILL)
    before, pid = numpy(sim), bridge.worker.pid
    physics = bridge.randomize(physics, gains, everyone(E))
    assert bridge.worker.pid == pid and not caplog.records
    physics = bridge.randomize(physics, PhysicsParams(friction=np.full(E, 0.6, np.float32)), everyone(E))
    assert bridge.worker.pid != pid and len(caplog.records) == 1
    _, sim = bridge.reset(physics, only(E), pose(E))
    np.testing.assert_array_equal(numpy(sim).root_pos, before.root_pos)
    bridge.close()


def test_a_robot_dropped_into_a_pit_lies_on_its_floor(python: str, robot: Robot):
    """A ground that became its convex hull would hold it at the edge's height."""
    heights = np.zeros((41, 61), np.float32)
    heights[10:31, 20:41] = -0.4
    ground = Ground(heights, cell=0.2, corner=(-4.0, -6.0))
    bridge = isaacgym.make(isaacgym_config(python), robot, ground, 2)
    places = np.array([[0.0, 0.0, 0.40], [3.4, 0.0, 0.80]])  # in the pit, and beside it
    physics, _ = bridge.reset(bridge.init(), everyone(2), pose(2, root_pos=places))
    for _ in range(20):
        physics, sim = bridge.step(physics, np.zeros((2, 5), np.float32))
    state = numpy(sim)
    np.testing.assert_allclose(state.root_pos[:, 2], [0.33, 0.73], atol=0.02)
    assert (state.contact_force[..., 2].sum(1) > 100).all()
    bridge.close()


def test_a_dead_worker_is_one_line_and_init_starts_another(bridge: IsaacGymBridge):
    physics, _ = bridge.reset(bridge.init(), everyone(E), pose(E))
    physics, sim = bridge.step(physics, STILL)
    saved, before = bridge.get_state(physics), numpy(sim)
    os.kill(bridge.worker.pid, signal.SIGKILL)
    with pytest.raises(SimulatorError, match=r"isaacgym worker .*SIGKILL"):
        bridge.step(physics, STILL)
    physics = bridge.set_state(bridge.init(), saved)
    physics, sim = bridge.reset(physics, only(E), pose(E))
    chex.assert_trees_all_equal(numpy(sim), before)
    bridge.step(physics, STILL)


def test_an_importer_that_builds_another_robot_is_found(
    python: str, robot: Robot, monkeypatch: pytest.MonkeyPatch
):
    def shifted(robot: Robot) -> str:
        text = robot_urdf(robot)
        assert 'xyz="0 0 -0.5"' in text
        return text.replace('xyz="0 0 -0.5"', 'xyz="0 0 -0.6"', 1)

    monkeypatch.setattr(bridge_module, "robot_urdf", shifted)
    bridge = isaacgym.make(isaacgym_config(python), robot, Ground(), E)
    physics, _ = bridge.reset(bridge.init(), everyone(E), pose(E, root_pos=[0.0, 0.0, 3.0]))
    with pytest.raises(SimulatorError, match=r"'left_foot' 0\.100 m .*biped\.xml"):
        bridge.step(physics, STILL)
    bridge.close()


def test_a_simulation_that_cannot_be_created(python: str, robot: Robot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ISAACGYM_DOUBLE_NO_SIM", "1")
    with pytest.raises(StartError, match="simulation on cpu"):
        isaacgym.make(isaacgym_config(python), robot, Ground(), E)


@pytest.mark.parametrize(
    ("python", "words"),
    [
        ("", f"neither simulator.config.remote.python nor {install.PYTHON} names"),
        ("/no/python", "remote.python is /no/python"),
        (sys.executable, "which has no package isaacgym"),
    ],
)
def test_where_isaacgym_is_missing(python: str, words: str, robot: Robot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(install.PYTHON, raising=False)
    for call in (bridges.require, lambda cfg: bridges.make(cfg, robot, Ground(), E)):
        with pytest.raises(ConfigError) as caught:
            call(isaacgym_config(python))
        text = str(caught.value)
        assert words in text and "\n" not in text
        # what to install, from where, whose licence, and what else there is
        for part in ("Preview 4", "developer.nvidia.com/isaac-gym", "licence", "simulator:mujoco"):
            assert part in text


def test_the_environment_names_the_interpreter(python: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(install.PYTHON, python)
    assert install.interpreter(isaacgym_config("")) == python
    monkeypatch.setenv(install.PYTHON, "/no/python")
    assert install.interpreter(isaacgym_config(python)) == python
    with pytest.raises(ConfigError, match=f"{install.PYTHON} is /no/python"):
        install.interpreter(isaacgym_config(""))
