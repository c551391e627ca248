"""Robots as files of other people have them: scenes, contact pairs, motors, hinges without range, URDF."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from bridges.mujoco import landing, model
from bridges.protocol import Ground
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.robots import load
from tests.support.biped import config

PAGE = Path(__file__).resolve().parents[2] / "docs" / "new_robot.md"
SCENE = """<light pos="0 0 3"/>
<geom name="floor" type="plane" size="0 0 1"/>
<geom name="wall" type="box" size="1 1 1" pos="5 0 0"/>
<body name="table" pos="3 0 0"><geom type="box" size=".1 .1 .1"/></body>"""
MOTORS = """<actuator><motor name="neck" joint="neck" gear="5"/></actuator>
<keyframe><key qpos="0 0 1 1 0 0 0 0 0 0 0 0"/></keyframe>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The robot of docs/new_robot.md."""
    for name, text in re.findall(r"```(?:xml|yaml) (mybot/\S+)\n(.*?)```", PAGE.read_text(), re.S):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "mybot"


def edit(folder: Path, *changes: tuple[str, str], file: str = "mybot.xml") -> None:
    text = (folder / file).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / file).write_text(text)


def stepped(folder: Path) -> mujoco.MjModel:
    return model.build(load(str(folder)), Ground(), config())


def test_a_scene_around_the_robot_is_left_out_aloud(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = stepped(folder)
    edit(folder, ("<worldbody>", f"<worldbody>{SCENE}"), ("</mujoco>", f"{MOTORS}</mujoco>"))
    with caplog.at_level(logging.WARNING):
        ours = stepped(folder)
    assert (ours.ngeom, ours.nbody, ours.nu) == (plain.ngeom, plain.nbody, 5)
    assert ours.geom("floor").id == plain.geom("floor").id
    said = caplog.text
    for what in ("'floor', 'wall'", "'table'", "1 lights", "1 actuators", "1 keyframes"):
        assert what in said
    landing.require(load(str(folder)), config())


def test_pairs_with_the_files_ground_become_collisions(folder: Path) -> None:
    edit(folder, ('priority="1" friction="0.8 0.005 0.0001"', 'contype="0" conaffinity="0"'))
    left, right = (folder / "mybot.xml").read_text().split('<body name="right_leg"')
    pairs = ""
    for spot in ("0.13 0.04", "0.13 -0.04", "-0.09 0.04", "-0.09 -0.04"):
        plain = f'<geom class="sole" pos="{spot} -0.06"/>'
        left, right = (
            h.replace(plain, plain.replace("pos=", f'name="{s} {spot}" pos='))
            for h, s in ((left, "l"), (right, "r"))
        )
        for side in "lr":
            pairs += f'<pair geom1="{side} {spot}" geom2="floor" friction="1.7 1.7 0.01 0.002 0.002"/>'
    text = left + '<body name="right_leg"' + right
    text = text.replace("<worldbody>", f"<worldbody>{SCENE}")
    (folder / "mybot.xml").write_text(text.replace("</mujoco>", f"<contact>{pairs}</contact></mujoco>"))
    made = stepped(folder)
    soles = [g for g in range(made.ngeom) if made.body(made.geom_bodyid[g]).name.endswith("_foot")]
    assert len(soles) == 8 and (made.geom_contype[soles] == 1).all() and made.npair == 0
    np.testing.assert_allclose(made.geom_friction[soles], np.tile([1.7, 0.01, 0.002], (8, 1)))
    landing.require(load(str(folder)), config())


def test_feet_that_cannot_touch_the_ground_are_refused(folder: Path) -> None:
    edit(folder, ('priority="1" friction="0.8 0.005 0.0001"', 'contype="0" conaffinity="0"'))
    with pytest.raises(ConfigError, match="feet_bodies: no geom of 'left_foot' collides"):
        load(str(folder))


def test_a_hinge_without_range_is_not_locked(folder: Path) -> None:
    edit(folder, ('name="neck" axis="0 0 1" range="-2 2"', 'name="neck" axis="0 0 1"'))
    robot = load(str(folder))
    assert (robot.joint_lower[0], robot.joint_upper[0]) == (-np.float32(np.pi), np.float32(np.pi))
    assert not stepped(folder).jnt_limited[1]


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("init_pos", [0.0, 0.0, 0.6], "into the ground"),
        ("init_pos", [0.0, 0.0, 9.0], "nothing of it touched the ground"),
        ("init_quat", [0.0, 1.0, 0.0, 0.0], "touches the ground before a foot does"),
    ],
)
def test_a_robot_that_does_not_land_on_its_feet_is_refused(
    folder: Path, key: str, value: list, problem: str
) -> None:
    robot = load(str(folder))
    landing.require(robot, config())
    with pytest.raises(ConfigError, match=problem) as error:
        landing.require(replace(robot, **{key: tuple(value)}), config())
    assert "\n" not in str(error.value)


URDF = """<robot name="mybot">
 <link name="torso">
  <inertial><mass value="6"/><inertia ixx=".09" iyy=".07" izz=".05" ixy="0" ixz="0" iyz="0"/></inertial>
  <visual><geometry><mesh filename="package://mybot/meshes/torso.stl"/></geometry></visual>
 </link>
 <link name="imu"/>
 <joint name="imu_fixed" type="fixed"><parent link="torso"/><child link="imu"/></joint>
 {legs}
</robot>"""
LEG = """<link name="{s}_foot">
  <inertial><mass value="2"/><inertia ixx=".03" iyy=".03" izz=".01" ixy="0" ixz="0" iyz="0"/></inertial>
  <collision><origin xyz="0.02 0 -0.7"/><geometry><box size="0.2 0.1 0.06"/></geometry></collision>
 </link>
 <joint name="{s}_hip" type="{kind}">
  <parent link="torso"/><child link="{s}_foot"/><origin xyz="0 {y} 0"/><axis xyz="0 1 0"/>
  <limit lower="-1" upper="1" effort="60" velocity="20"/>
 </joint>"""
LEG_JOINT = (
    "{default: 0, kp: 200, kd: 5, torque_limit: 60, velocity_limit: 20, armature: 0.02, mirror: [%s_hip, 1]}"
)
RECORD = """name: mybot
mjcf: mybot.urdf
init_pos: [0, 0, 0.74]
init_quat: [1, 0, 0, 0]
action_scale: 0.25
soft_limit_factor: 0.95
root_body: torso
torso_body: torso
feet_bodies: [left_foot, right_foot]
foot_height_bodies: [left_foot, right_foot]
termination_bodies: [torso]
randomized_mass_bodies: [torso]
joints:
"""


def test_a_urdf_is_a_model_too(tmp_path: Path) -> None:
    legs = LEG.format(s="left", y=0.1, kind="revolute") + LEG.format(s="right", y=-0.1, kind="continuous")
    (tmp_path / "mybot.urdf").write_text(URDF.format(legs=legs))
    joints = f"  left_hip: {LEG_JOINT % 'right'}\n  right_hip: {LEG_JOINT % 'left'}\n"
    (tmp_path / "robot.yaml").write_text(RECORD + joints)
    robot = load(str(tmp_path))
    assert robot.joint_names == ("left_hip", "right_hip") and "imu" in robot.body_names
    np.testing.assert_allclose(robot.body_mass.sum(), 10.0)
    np.testing.assert_allclose(robot.joint_upper, [1.0, np.pi], rtol=1e-6)
    landing.require(robot, config())
