"""Robots as files of other people have them: scenes, contact pairs, motors, hinges without range, URDF."""

from __future__ import annotations

import logging
import struct
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
from tests.support.pages import edit

SCENE = """<light pos="0 0 3"/>
<geom name="floor" type="plane" size="0 0 1"/>
<geom name="wall" type="box" size="1 1 1" pos="5 0 0"/>
<body name="table" pos="3 0 0"><geom type="box" size=".1 .1 .1"/></body>"""
MOTORS = """<actuator><motor name="neck" joint="neck" gear="5"/></actuator>
<keyframe><key qpos="0 0 1 1 0 0 0 0 0 0 0 0"/></keyframe>"""


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


def test_an_armature_that_does_not_count_is_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file of Booster's K1 states its motors' inertias, which a copied record contradicts."""
    load(str(folder))
    assert "armature" not in caplog.text
    edit(folder, ('<joint name="left_hip"', '<joint armature="0.0478125" name="left_hip"'))
    made = stepped(folder)
    assert "1 joints is left out" in caplog.text and "left_hip: 0.0478125 in the file, 0.02" in caplog.text
    assert made.dof_armature[made.joint("left_hip").dofadr[0]] == pytest.approx(0.02)


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
    with pytest.raises(ConfigError, match=r"feet_bodies: .*'left_foot'"):
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


GAINS = (
    ("neck", 20, 0.5),
    ("left_hip", 200, 5),
    ("left_ankle", 150, 4),
    ("right_hip", 200, 5),
    ("right_ankle", 150, 4),
)
Change = tuple[str, str]


def asset(text: str, geom: str = "") -> Change:
    return "<worldbody>", f"<asset>{text}</asset><worldbody>{geom}"


def world(text: str) -> Change:
    return "<worldbody>", f"<worldbody>{text}"


def at_end(text: str) -> Change:
    return "</mujoco>", f"{text}</mujoco>"


def actuators(form: str) -> Change:
    return at_end(f"<actuator>{''.join(form.format(*row) for row in GAINS)}</actuator>")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([('<freejoint name="root"/>', '<joint name="root" type="free"/>')], ""),
        ([('<freejoint name="root"/>', "")], "a free joint was added"),
        ([world('<body name="ball"><freejoint/><geom size=".1"/></body>')], "'ball'"),
        ([at_end('<equality><weld body1="torso"/></equality>')], "1 constraints to the world"),
        (
            [
                world('<body name="table"/>'),
                at_end('<equality><weld body1="torso" body2="table"/></equality>'),
            ],
            "1 constraints to the world",
        ),
        (
            [
                world('<body name="table"/>'),
                ('<geom type="box"', '<camera mode="targetbody" target="table"/><geom type="box"'),
                ('<geom type="sphere" size="0.07"', '<light target="table"/><geom type="sphere" size="0.07"'),
            ],
            "'table'",
        ),
        ([('timestep="0.005"', 'timestep="0.005" gravity="0 0 0" density="1000"')], "gravity, density left"),
        (
            [('timestep="0.005"/>', 'timestep="0.005"><flag actuation="disable"/></option>')],
            "disableflags left out",
        ),
        ([("<worldbody>", '<size memory="1K" nuserdata="2000000000"/><worldbody>')], ""),
        (
            [
                asset('<texture name="t" type="2d" file="t.png"/><material name="m" texture="t"/>'),
                ('<geom type="box"', '<geom material="m" type="box"'),
            ],
            "1 files are missing",
        ),
        ([asset('<skin name="s" file="s.skn"/>')], "1 files are missing"),
        (
            [asset('<hfield name="h" file="h.png" size="1 1 1 1"/>', '<geom type="hfield" hfield="h"/>')],
            "1 static geoms",
        ),
        ([asset('<mesh name="t" file="table.obj"/>', '<geom type="mesh" mesh="t"/>')], "1 files are missing"),
        ([actuators('<velocity joint="{}" kv="5"/>')], "5 actuators"),
        ([actuators('<position joint="{}" kp="{}" kv="{}" gear="2"/>')], "5 actuators"),
        (
            [
                ('<compiler angle="radian"/>', ""),
                ('range="-2 2"', 'range="-114.59156 114.59156"'),
                ('range="-1 1"', 'range="-57.29578 57.29578"'),
            ],
            "",
        ),
        (
            [
                ("<default>", '<default><default class="leg"><joint axis="0 1 0" range="-2 2"/></default>'),
                ('<body name="left_leg"', '<body childclass="leg" name="left_leg"'),
                ('<joint name="left_hip" axis="0 1 0" range="-2 2"/>', '<joint name="left_hip"/>'),
            ],
            "",
        ),
    ],
)
def test_what_other_files_hold_changes_nothing(
    changes: list[tuple[str, str]], said: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain, before = stepped(folder), load(str(folder))
    edit(folder, *changes)
    with caplog.at_level(logging.WARNING):
        made, robot = stepped(folder), load(str(folder))
    assert said in caplog.text and (said or not caplog.records)
    for name in ("nbody", "ngeom", "nq", "nu", "neq", "nuserdata"):
        assert getattr(made, name) == getattr(plain, name), name
    for name in ("body_mass", "geom_friction", "jnt_range", "actuator_gainprm"):
        np.testing.assert_allclose(getattr(made, name), getattr(plain, name), rtol=1e-6, err_msg=name)
    assert made.opt.gravity[2] == -9.81 and made.opt.density == 0.0
    assert made.opt.disableflags == plain.opt.disableflags
    np.testing.assert_allclose(robot.joint_upper, before.joint_upper, rtol=1e-6)
    landing.require(robot, config())


def test_a_mesh_of_the_robot_itself_may_not_be_missing(folder: Path) -> None:
    edit(
        folder,
        ("<worldbody>", '<asset><mesh name="m" file="m.stl"/></asset><worldbody>'),
        ('<geom type="box" size="0.08 0.12 0.15"/>', '<geom type="mesh" mesh="m"/>'),
    )
    with pytest.raises(ConfigError, match=r"mesh 'm' .*'torso'"):
        load(str(folder))


@pytest.mark.parametrize("name", ["armature", "damping", "frictionloss", "stiffness"])
def test_a_joint_that_gains_energy_is_refused(name: str, folder: Path) -> None:
    edit(folder, ('<joint name="left_hip"', f'<joint {name}="-1" name="left_hip"'))
    with pytest.raises(ConfigError, match=f"{name} .*'left_hip' .*-1"):
        load(str(folder))


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


def tetrahedron(size: float) -> bytes:
    """A binary STL."""
    corners = size * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
    rows = (np.zeros(3, np.float32).tobytes() + corners[face].tobytes() + bytes(2) for face in faces)
    return bytes(80) + struct.pack("<I", 4) + b"".join(rows)


@pytest.fixture
def urdf(tmp_path: Path) -> Path:
    """The folder of a robot of two hinges, whose feet are meshes of one name in two folders."""
    legs = LEG.format(s="left", y=0.1, kind="revolute") + LEG.format(s="right", y=-0.1, kind="revolute")
    text = URDF.format(legs=legs)
    for side, size in (("left", 0.1), ("right", 0.2)):
        (tmp_path / side).mkdir()
        (tmp_path / side / "foot.stl").write_bytes(tetrahedron(size))
        box, mesh = '<box size="0.2 0.1 0.06"/>', f'<mesh filename="package://mybot/{side}/foot.stl"/>'
        text = text.replace(box, mesh, 1)
    (tmp_path / "mybot.urdf").write_text(text)
    joints = f"  left_hip: {LEG_JOINT % 'right'}\n  right_hip: {LEG_JOINT % 'left'}\n"
    (tmp_path / "robot.yaml").write_text(RECORD + joints)
    return tmp_path


def test_meshes_of_one_name_in_two_folders_are_two(urdf: Path) -> None:
    load(str(urdf))
    made = stepped(urdf)
    span = [np.ptp(made.mesh_vert[start:][:count], axis=0).max() for start, count in
            zip(made.mesh_vertadr, made.mesh_vertnum, strict=True)]  # fmt: skip
    np.testing.assert_allclose(span[0], 0.5 * span[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("torso.stl", "torso.dae", ""),
        ("left/foot.stl", "left/foot.dae", "foot.dae' of link 'left_foot' is missing"),
        ('name="right_hip"', 'name="left_hip"', "repeated name 'left_hip'"),
        ('name="right_hip" type="revolute"', 'name="right_hip" type="prismatic"', "hinges only"),
        ("</robot>", '<link name="torso"/></robot>', "torso|repeated"),
        ("<robot", '<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><robot', ""),
        ("<robot", '<?xml version="1.0" encoding="none"?><robot', "unknown encoding"),
        (
            '<link name="torso">',
            '<link name="world"/><joint name="w" type="fixed"><parent link="world"/><child link="torso"/></joint>'
            '<link name="torso">',
            "",
        ),
        ("</robot>", '<gazebo reference="torso"/><transmission name="t"/></robot>', ""),
    ],
)  # fmt: skip
def test_quirks_of_urdf(old: str, new: str, said: str, urdf: Path) -> None:
    edit(urdf, (old, new), file="mybot.urdf")
    if not said:
        assert load(str(urdf)).num_joints == 2
        return
    with pytest.raises(ConfigError, match=said):
        load(str(urdf))
