"""The records against the task's tables, and laws that every robot obeys."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest

from holosoma_jax.config.schema import ControlConfig, InitStateConfig, RobotConfig
from holosoma_jax.robots import configure, load
from tests.support import dynamics

NAMES = ("g1", "t1", "k1")
# The K1's table in holosoma describes an older robot of 18.7 kg; ours is the current one, with the
# maker's torque and velocity limits, soles marked, and a spawn height to match (docs/robots.md).
K1_TORQUE = {
    "AAHead_yaw": 6, "Head_pitch": 6, "Shoulder": 14, "Elbow": 14, "Hip_Pitch": 30,
    "Hip_Roll": 35, "Hip_Yaw": 20, "Knee": 40, "Ankle": 20,
}  # fmt: skip
K1_VELOCITY = {
    "Head": 18, "Shoulder": 18, "Elbow": 18, "Hip_Pitch": 7.1,
    "Hip_Roll": 12.9, "Hip_Yaw": 18.1, "Knee": 12.5, "Ankle": 18.1,
}  # fmt: skip


def column(name: str, key: str) -> list[Any]:
    return [row[key] for row in dynamics.figures(name)["task"]["joints"]]


def by_part(name: str, table: dict[str, float]) -> list[float]:
    """The value of the one key of `table` that each joint's name contains."""
    return [next(v for part, v in table.items() if part in joint) for joint in column(name, "name")]


@pytest.mark.parametrize("name", NAMES)
def test_joint_table(name: str) -> None:
    robot, task = load(name), dynamics.figures(name)["task"]
    assert robot.joint_names == tuple(column(name, "name"))
    torque, velocity = column(name, "effort"), column(name, "vel_limit")
    if name == "k1":
        torque, velocity = by_part(name, K1_TORQUE), by_part(name, K1_VELOCITY)
    for got, want in (
        (robot.default_joint_pos, column(name, "q0")),
        (robot.kp, column(name, "kp")),
        (robot.kd, column(name, "kd")),
        (robot.torque_limit, torque),
        (robot.velocity_limit, velocity),
        (robot.armature, column(name, "armature")),
        (robot.mirror_index, task["mirror_index"]),
        (robot.mirror_sign, task["mirror_sign"]),
    ):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    # holosoma's two lists of the G1's wrist-roll range differ by 2e-6 rad.
    np.testing.assert_allclose(robot.joint_lower, column(name, "lower"), atol=3e-6)
    np.testing.assert_allclose(robot.joint_upper, column(name, "upper"), atol=3e-6)
    middle, half = (robot.joint_lower + robot.joint_upper) / 2, (robot.joint_upper - robot.joint_lower) / 2
    soft = robot.soft_limit_factor * half
    np.testing.assert_allclose(middle - soft, column(name, "soft_lower"), atol=3e-6)
    np.testing.assert_allclose(middle + soft, column(name, "soft_upper"), atol=3e-6)


@pytest.mark.parametrize("name", NAMES)
def test_roles(name: str) -> None:
    robot, task = load(name), dynamics.figures(name)["task"]
    markers = ("left_foot_contact_point", "right_foot_contact_point")
    bodies, heights, init_pos = task["body_names"], task["foot_height_bodies"], task["init_pos"]
    if name == "k1":
        feet = dict(zip(robot.feet_bodies, markers, strict=True))
        bodies = [b for body in bodies for b in (body, feet.get(body)) if b]
        heights, init_pos = list(markers), [0, 0, 0.57]
    assert list(robot.body_names) == bodies
    assert list(robot.foot_height_bodies) == heights
    assert list(robot.init_pos) == init_pos
    assert robot.init_quat == (1, 0, 0, 0)
    assert robot.root_body == task["root_body"]
    assert robot.torso_body == task["torso_body"]
    for key in ("feet_bodies", "termination_bodies", "randomized_mass_bodies"):
        assert sorted(getattr(robot, key)) == sorted(task[key])
    assert list(robot.feet_bodies) == task["feet_bodies"]
    np.testing.assert_array_equal(robot.action_scale, np.float32(0.25))


@pytest.mark.parametrize("name", NAMES)
def test_tracked_bodies_are_as_many_on_either_side(name: str) -> None:
    """In the default pose, which is symmetric, they are each other's reflection; the torso and the ends belong."""
    robot = load(name)
    assert {robot.torso_body, *robot.end_bodies} <= set(robot.tracked_bodies)
    assert len(set(robot.tracked_bodies)) == len(robot.tracked_bodies)
    model: Any = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    data: Any = mujoco.MjData(model)
    data.qpos[:] = np.concatenate([[0, 0, 1], [1, 0, 0, 0], robot.default_joint_pos])
    mujoco.mj_kinematics(model, data)
    places = data.xpos[robot.body_index(*robot.tracked_bodies) + 1]
    reflected = places * [1, -1, 1]
    apart = np.linalg.norm(places[:, None] - reflected[None], axis=-1)
    np.testing.assert_allclose(apart.min(1), 0.0, atol=3e-5)
    left, right = data.xpos[robot.body_index(*robot.hand_bodies) + 1]
    assert left[1] > 0.1 > -0.1 > right[1]


@pytest.mark.parametrize("name", NAMES)
def test_mirror_is_an_involution_that_keeps_the_robot(name: str) -> None:
    robot = load(name)
    index, sign = robot.mirror_index, robot.mirror_sign
    np.testing.assert_array_equal(index[index], np.arange(robot.num_joints))
    np.testing.assert_array_equal(sign * sign[index], 1)
    np.testing.assert_allclose(sign * robot.default_joint_pos[index], robot.default_joint_pos)
    ends = np.stack([sign * robot.joint_lower[index], sign * robot.joint_upper[index]])
    np.testing.assert_allclose(ends.min(0), robot.joint_lower)
    np.testing.assert_allclose(ends.max(0), robot.joint_upper)
    for values in (robot.kp, robot.kd, robot.torque_limit, robot.velocity_limit, robot.armature):
        np.testing.assert_array_equal(values[index], values)


@pytest.mark.parametrize("name", NAMES)
def test_mirrored_joints_mirror_the_bodies(name: str) -> None:
    """Body poses at mirrored angles are the poses of the opposite bodies, reflected in the x-z plane."""
    robot = load(name)
    model: Any = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    data: Any = mujoco.MjData(model)
    reflect = np.diag([1.0, -1.0, 1.0])
    opposite = {name: name for name in robot.body_names}
    carrier = [model.body(model.jnt_bodyid[j + 1]).name for j in range(robot.num_joints)]
    opposite |= {body: carrier[i] for body, i in zip(carrier, robot.mirror_index, strict=True)}
    left, right = robot.foot_height_bodies
    opposite |= {left: right, right: left}
    index = robot.body_index(*(opposite[body] for body in robot.body_names)) + 1

    def poses(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        data.qpos[:] = np.concatenate([[0, 0, 1], [1, 0, 0, 0], q])
        mujoco.mj_kinematics(model, data)
        return data.xpos.copy(), data.xmat.reshape(-1, 3, 3).copy()

    rng = np.random.default_rng(3)
    for _ in range(20):
        q = rng.uniform(robot.joint_lower, robot.joint_upper)
        pos, rot = poses(q)
        mirrored_pos, mirrored_rot = poses(robot.mirror_sign * q[robot.mirror_index])
        # The source's own left and right arms of the G1 differ by 1e-5 m.
        np.testing.assert_allclose(mirrored_pos[1:], (pos @ reflect)[index], atol=3e-5)
        np.testing.assert_allclose(mirrored_rot[1:], (reflect @ rot @ reflect)[index], atol=1e-6)


def test_arrays_are_read_only_float32() -> None:
    robot = load("g1")
    arrays = {k: v for k, v in vars(robot).items() if isinstance(v, np.ndarray)}
    assert len(arrays) == 12
    for key, array in arrays.items():
        assert array.dtype == (np.int32 if key == "mirror_index" else np.float32), key
        assert not array.flags.writeable, key


def test_configure_overrides() -> None:
    robot = load("g1")
    same = configure(robot, RobotConfig())
    np.testing.assert_array_equal(same.action_scale, robot.action_scale)
    assert same.init_pos == robot.init_pos
    moved = configure(
        robot,
        RobotConfig(init_state=InitStateConfig(pos=(0, 0, 0.76)), control=ControlConfig(action_scale=0.5)),
    )
    assert moved.init_pos == (0, 0, 0.76)
    np.testing.assert_array_equal(moved.action_scale, np.float32(0.5))
    by_effort = configure(
        robot, RobotConfig(control=ControlConfig(action_scales_by_effort_limit_over_p_gain=True))
    )
    knee = robot.joint_names.index("left_knee_joint")
    assert by_effort.action_scale[knee] == pytest.approx(0.25 * 139 / 99.098427777)
    np.testing.assert_allclose(by_effort.action_scale * robot.kp, 0.25 * robot.torque_limit, rtol=1e-6)
    np.testing.assert_array_equal(robot.action_scale, np.float32(0.25))
