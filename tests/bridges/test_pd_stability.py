"""At which rates PD control is stable: predicted, and simulated by MuJoCo with the torques held over a step."""

from __future__ import annotations

import logging
import math

import mujoco
import numpy as np
import pytest

from bridges import pd_stability, specs
from bridges.mujoco import model as mujoco_model
from bridges.protocol import Ground
from holosoma_jax import robots
from holosoma_jax.robots.robot import Robot
from tests.support.biped import BIPED, config


def built(robot: Robot, fps: int = 200) -> mujoco.MjModel:
    """The robot in the air, without dry friction, which a small movement does not overcome."""
    model = mujoco_model.build(robot, Ground(), config(fps=fps, integrator="euler"))
    model.opt.gravity[:] = 0.0
    model.geom_contype[:] = model.geom_conaffinity[:] = 0
    model.dof_frictionloss[:] = 0.0
    return model


def at_default_pose(model: mujoco.MjModel, robot: Robot) -> mujoco.MjData:
    data = mujoco.MjData(model)
    for name, angle in zip(robot.joint_names, robot.default_joint_pos, strict=True):
        data.joint(name).qpos[:] = angle
    return data


def limit(robot: Robot, model: mujoco.MjModel) -> float:
    """The physics step, s, at which PD control becomes unstable."""
    found = pd_stability.stiffest(robot, model, implicit_damping=True)
    low, high = 1e-5, 1.0
    for _ in range(40):
        middle = math.sqrt(low * high)
        stable = found(middle).eigenvalue < pd_stability.LIMIT
        low, high = (middle, high) if stable else (low, middle)
    return low


def growth(robot: Robot, model: mujoco.MjModel, dt: float, steps: int = 400) -> float:
    """The largest joint velocity after `steps`, over the first ones, which are too small for torque limits."""
    model.opt.timestep = dt
    data = at_default_pose(model, robot)
    data.ctrl[:] = robot.default_joint_pos
    data.qvel[6:] = np.random.default_rng(0).uniform(-1e-9, 1e-9, model.nv - 6)
    for _ in range(steps):
        mujoco.mj_step(model, data)
    return float(np.abs(data.qvel[6:]).max()) / 1e-9


@pytest.mark.parametrize("name", ["biped", "g1", "t1", "k1"])
def test_mujoco_is_unstable_where_it_is_predicted(name: str):
    robot = BIPED if name == "biped" else robots.load(name)
    model = built(robot)
    dt = limit(robot, model)
    assert growth(robot, model, 0.97 * dt) < 1.0
    assert growth(robot, model, 1.03 * dt) > 100.0


def test_a_joint_alone_is_bound_by_its_own_inertia():
    """With gains at one joint only: h kd / I + h^2 kp / 2 I, where I is torque over acceleration."""
    kp, kd = (np.where(np.arange(5) == 2, gain, 0.0).astype(np.float32) for gain in (30.0, 2.0))
    robot = Robot(**{**vars(BIPED), "kp": kp, "kd": kd})
    model = built(BIPED)
    model.dof_damping[:] = 0.0
    data = at_default_pose(model, robot)
    data.qfrc_applied[model.joint("left_ankle").dofadr[0]] = 1.0
    data.ctrl[:] = 0.0
    mujoco.mj_forward(model, data)
    inertia = 1.0 / data.joint("left_ankle").qacc[0]
    found = pd_stability.stiffest(robot, model, implicit_damping=True)(0.01)
    assert robot.joint_names[found.joint] == "left_ankle"
    assert found.eigenvalue == pytest.approx(0.01 * 2.0 / inertia + 0.01**2 * 30.0 / (2 * inertia), rel=1e-6)


def test_passive_damping_helps_if_it_is_implicit_and_adds_up_if_it_is_not():
    model = built(BIPED)
    without = pd_stability.stiffest(BIPED, model, implicit_damping=True)(0.01).eigenvalue
    model.dof_damping[6:] = 1.0
    found = [
        pd_stability.stiffest(BIPED, model, implicit_damping=kind)(0.01).eigenvalue for kind in (True, False)
    ]
    assert found[0] < without < found[1]


def warnings(caplog: pytest.LogCaptureFixture, robot: Robot, fps: int, decimation: int) -> list[str]:
    caplog.clear()
    cfg = config(fps=fps, decimation=decimation)
    spec = specs.spec("isaacsim", cfg, robot, 1)
    with caplog.at_level(logging.WARNING):
        pd_stability.warn(spec, robot, mujoco_model.build(robot, Ground(), cfg), implicit_damping=True)
    return [record.getMessage() for record in caplog.records]


def test_the_g1_at_the_cpu_presets_rate_is_warned_of(caplog: pytest.LogCaptureFixture):
    robot = robots.load("g1")
    (text,) = warnings(caplog, robot, 100, 2)
    assert "\n" not in text and "100 Hz" in text
    assert "right_ankle_roll_joint" in text or "left_ankle_roll_joint" in text
    assert "--simulator.config.sim.fps=200 --simulator.config.sim.control-decimation=4" in text


@pytest.mark.parametrize(
    ("name", "fps", "decimation"), [("g1", 200, 4), ("g1", 150, 3), ("t1", 100, 2), ("k1", 100, 2)]
)
def test_where_it_is_stable_nothing_is_said(
    name: str, fps: int, decimation: int, caplog: pytest.LogCaptureFixture
):
    assert warnings(caplog, robots.load(name), fps, decimation) == []


def test_gains_that_no_rate_can_hold_are_said_to_be_too_high(caplog: pytest.LogCaptureFixture):
    robot = Robot(**{**vars(BIPED), "kd": 1000 * BIPED.kd})
    (text,) = warnings(caplog, robot, 200, 4)
    assert "gains" in text and "fps=" not in text
