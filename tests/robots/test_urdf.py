"""The URDF of a robot, read back by MuJoCo, is the same robot."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import mujoco
import numpy as np
import pytest

from holosoma_jax import robots
from holosoma_jax.robots.robot import Robot
from holosoma_jax.robots.urdf import rpy, urdf

ASSETS = ["g1", "t1", "k1"]


def read_back(text: str) -> mujoco.MjModel:
    """MuJoCo's reading of a URDF, with a free joint above its root and nothing fused or balanced."""
    root = ET.fromstring(text)
    settings = {"fusestatic": "false", "balanceinertia": "false", "boundinertia": "0", "boundmass": "0"}
    ET.SubElement(ET.SubElement(root, "mujoco"), "compiler", settings | {"discardvisual": "false"})
    spec = mujoco.MjSpec.from_string(ET.tostring(root, encoding="unicode"))
    spec.worldbody.first_body().add_freejoint()
    return spec.compile()


@pytest.fixture(scope="module", params=ASSETS)
def pair(request: pytest.FixtureRequest) -> tuple[Robot, mujoco.MjModel, mujoco.MjModel]:
    robot = robots.load(request.param)
    return robot, mujoco.MjModel.from_xml_path(str(robot.mjcf)), read_back(urdf(robot))


def inertia(model: mujoco.MjModel, body: int) -> np.ndarray:
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.body_iquat[body])
    turn = turn.reshape(3, 3)
    return turn @ np.diag(model.body_inertia[body]) @ turn.T


def test_bodies_masses_and_inertias(pair):
    robot, ours, theirs = pair
    assert [theirs.body(b).name for b in range(1, theirs.nbody)] == list(robot.body_names)
    for body in range(1, ours.nbody):
        np.testing.assert_allclose(theirs.body_mass[body], ours.body_mass[body], rtol=1e-10)
        np.testing.assert_allclose(theirs.body_ipos[body], ours.body_ipos[body], atol=1e-10)
        np.testing.assert_allclose(inertia(theirs, body), inertia(ours, body), rtol=1e-8, atol=1e-10)


def test_joints_and_limits(pair):
    robot, ours, theirs = pair
    assert [theirs.joint(j).name for j in range(1, theirs.njnt)] == list(robot.joint_names)
    np.testing.assert_allclose(theirs.jnt_range[1:], ours.jnt_range[1:], atol=1e-10)
    np.testing.assert_allclose(theirs.jnt_axis[1:], ours.jnt_axis[1:], atol=1e-10)
    np.testing.assert_allclose(theirs.dof_frictionloss[6:], ours.dof_frictionloss[6:], rtol=1e-10)
    limits = {j.get("name"): j.find("limit") for j in ET.fromstring(urdf(robot)).iter("joint")}
    for name, effort, velocity in zip(
        robot.joint_names, robot.torque_limit, robot.velocity_limit, strict=True
    ):
        limit = limits[name]
        assert limit is not None
        assert float(limit.get("effort", 0)) == pytest.approx(effort)
        assert float(limit.get("velocity", 0)) == pytest.approx(velocity)


def test_kinematics_and_mass_matrix_at_random_poses(pair):
    robot, ours, theirs = pair
    theirs.dof_armature[:] = ours.dof_armature  # URDF has no rotor inertia
    rng = np.random.default_rng(4)
    for _ in range(5):
        found = []
        pose = rng.uniform(robot.joint_lower, robot.joint_upper)
        quat = rng.standard_normal(4)
        for model in (ours, theirs):
            data = mujoco.MjData(model)
            data.qpos[:] = [0.3, -0.2, 0.9, *(quat / np.linalg.norm(quat)), *pose]
            mujoco.mj_forward(model, data)
            mass = np.zeros((model.nv, model.nv))
            mujoco.mj_fullM(model, data, mass)
            found.append((data.xpos[1:].copy(), data.xmat[1:].copy(), mass))
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(b, a, atol=1e-9)


def test_every_collision_volume_is_there(pair):
    _, ours, theirs = pair
    for body in range(1, ours.nbody):
        collides = [g for g in range(ours.ngeom) if ours.geom_bodyid[g] == body and ours.geom_group[g] == 3]
        theirs_here = [
            g for g in range(theirs.ngeom) if theirs.geom_bodyid[g] == body and theirs.geom_contype[g]
        ]
        parts = sum(3 if ours.geom_type[g] == mujoco.mjtGeom.mjGEOM_CAPSULE else 1 for g in collides)
        assert len(theirs_here) == parts


@pytest.mark.parametrize("seed", range(3))
def test_roll_pitch_yaw_turns_as_the_quaternion_does(seed: int):
    quat = np.random.default_rng(seed).standard_normal(4)
    same_turn(quat)


@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2, 1.5707])
def test_roll_pitch_yaw_straight_up_and_down(pitch: float):
    quat = np.array([np.cos(pitch / 2), 0.0, np.sin(pitch / 2), 0.0])
    yaw = np.array([np.cos(0.2), 0.0, 0.0, np.sin(0.2)])
    product = np.zeros(4)
    mujoco.mju_mulQuat(product, yaw, quat)
    same_turn(product)


def same_turn(quat: np.ndarray) -> None:
    roll, pitch, yaw = rpy(quat)
    again = np.zeros(4)
    mujoco.mju_euler2Quat(again, np.array([roll, pitch, yaw]), "XYZ")  # capitals: fixed axes
    quat = quat / np.linalg.norm(quat)
    assert abs(np.dot(again, quat)) == pytest.approx(1.0, abs=1e-12)


def test_a_slide_joint_is_refused(tmp_path):
    from dataclasses import replace

    file = tmp_path / "slider.xml"
    file.write_text(
        "<mujoco><worldbody><body name='a'><freejoint/><geom size='.1'/><body name='b'>"
        "<joint type='slide'/><geom size='.1'/></body></body></worldbody></mujoco>"
    )
    with pytest.raises(ValueError, match=r"'b' has 1 joints, wanted .*hinge"):
        urdf(replace(robots.load("g1"), mjcf=file))
