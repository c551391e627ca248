"""Model files as they exist elsewhere, reduced to what is drawn: what is checked is what is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from bridges.protocol import Ground
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.render import robot_xml, scene, visual_model, visual_spec
from holosoma_jax.robots.robot import Robot
from tests.support.stick_robot import STICK_MJCF, stick_robot

NAMES = ("left_hip", "right_hip")
LEGS = """
<body name="left" pos="0 0.1 -0.3"><joint name="left_hip" axis="0 1 0" range="-1 1"/>
  <geom name="left_skin" class="visual" type="capsule" fromto="0 0 0 0 0 -0.5" size="0.05"/>
  <geom name="left_foot" type="box" pos="0 0 -0.55" size="0.1 0.05 0.03"/></body>
<body name="right" pos="0 -0.1 -0.3"><joint name="right_hip" axis="0 1 0" range="-1 1"/>
  <geom name="right_skin" class="visual" type="capsule" fromto="0 0 0 0 0 -0.5" size="0.05"/>
  <geom name="right_foot" type="box" pos="0 0 -0.55" size="0.1 0.05 0.03"/></body>
"""
FOREIGN = f"""
<mujoco model="foreign">
  <visual><headlight ambient="1 1 1"/><rgba haze="1 0 0 1"/><global offwidth="8" offheight="8"/></visual>
  <statistic extent="90" center="5 5 5"/>
  <default>
    <geom group="3" rgba="1 0 0 1"/><light castshadow="false" diffuse="0 0 0" active="false"/>
    <material rgba="1 0 0 1" emission="1"/>
    <default class="visual"><geom group="2" contype="0" conaffinity="0" material="skin"/></default>
  </default>
  <asset>
    <texture name="their sky" type="skybox" builtin="flat" rgb1="1 0 0" width="8" height="48"/>
    <texture name="their ground" type="2d" builtin="checker" width="8" height="8"/>
    <material name="their ground" texture="their ground"/>
    <material name="skin" rgba="0.9 0.9 0.9 1"/>
  </asset>
  <worldbody>
    <light name="sun" pos="0 0 4"/>
    <geom name="ground" type="plane" size="0 0 1" material="their ground"/>
    <camera name="watch" mode="targetbody" target="table" pos="2 0 1"/>
    <body name="table" pos="2 0 0"><geom name="top" size="0.3 0.3 0.3" type="box"/></body>
    <body name="trunk" pos="0 0 0.9"><freejoint name="root"/>
      <geom class="visual" type="box" size="0.1 0.15 0.3"/>
      <site name="imu" size="0.05"/><light pos="0 0 1"/>
      {LEGS}
    </body>
  </worldbody>
  <contact>
    <pair geom1="left_foot" geom2="floor of another file"/>
    <pair geom1="right_foot" geom2="ground" friction="1 1 0.1 0.1 0.1"/>
    <exclude body1="trunk" body2="body of another file"/>
  </contact>
  <equality><weld body1="trunk" body2="table" active="false"/></equality>
  <tendon><spatial name="rope"><site site="imu"/><site site="imu"/></spatial></tendon>
  <actuator><motor name="left" joint="left_hip"/><motor name="pull" tendon="rope"/></actuator>
  <sensor><gyro site="imu"/><framepos objtype="body" objname="table"/></sensor>
  <keyframe><key name="home" qpos="0 0 0.9 1 0 0 0 0 0"/></keyframe>
</mujoco>
"""


@pytest.fixture
def robot(tmp_path: Path) -> Robot:
    path = tmp_path / "stick.xml"
    path.write_text(STICK_MJCF)
    return stick_robot(path)


def drawn(path: Path, robot: Robot) -> mujoco.MjModel:
    """The model that is drawn for `path`, after the check at the start of a command."""
    with_it = robot_xml.with_visual_model(replace(robot, joint_names=NAMES), str(path))
    assert with_it.visual_mjcf == path.resolve()
    return scene.scene_model(path, Ground(), 64, 48, joint_names=NAMES)


def geoms(model: mujoco.MjModel) -> dict[str, int]:
    """Name -> group of the robot's geoms."""
    return {model.geom(i).name: int(model.geom_group[i]) for i in np.flatnonzero(model.geom_bodyid > 0)}


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    path = tmp_path / "foreign.xml"
    path.write_text(FOREIGN)
    return path


def test_references_to_other_files_do_not_matter(foreign: Path, robot: Robot):
    with pytest.raises(ValueError, match="not found"):  # as it is, MuJoCo refuses it
        mujoco.MjModel.from_xml_path(str(foreign))
    model = drawn(foreign, robot)
    assert (model.nu, model.nsensor, model.npair, model.nkey, model.nsite, model.ncam) == (0,) * 6
    assert [model.body(i).name for i in range(model.nbody)] == ["world", "trunk", "left", "right"]
    assert [model.geom(i).name for i in np.flatnonzero(model.geom_bodyid == 0)] == ["video_floor"]
    assert {model.light(i).name for i in range(model.nlight)} == {"video_sun", "video_fill"}


def test_sky_floor_and_light_are_ours(foreign: Path, robot: Robot):
    theirs, ours = drawn(foreign, robot), scene.scene_model(robot.mjcf, Ground(), 64, 48, joint_names=NAMES)
    skies = [i for i in range(theirs.ntex) if theirs.tex_type[i] == mujoco.mjtTexture.mjTEXTURE_SKYBOX]
    assert [theirs.tex(i).name for i in skies] == ["video_sky"]
    for name in ("group", "rgba", "size", "pos", "quat"):
        a, b = (getattr(m, f"geom_{name}")[m.geom("video_floor").id] for m in (theirs, ours))
        np.testing.assert_array_equal(a, b, err_msg=name)
    for name in ("active", "castshadow", "diffuse", "ambient", "specular", "attenuation", "dir"):
        a, b = (getattr(m, f"light_{name}")[m.light("video_sun").id] for m in (theirs, ours))
        np.testing.assert_array_equal(a, b, err_msg=name)
    for name in ("rgba", "emission", "reflectance", "specular", "shininess"):
        a, b = (getattr(m, f"mat_{name}")[m.mat("video_floor").id] for m in (theirs, ours))
        np.testing.assert_array_equal(a, b, err_msg=name)
    assert theirs.stat.extent == ours.stat.extent
    assert theirs.vis.global_.offwidth == 64
    np.testing.assert_array_equal(theirs.vis.headlight.ambient, ours.vis.headlight.ambient)
    np.testing.assert_array_equal(theirs.vis.rgba.haze, ours.vis.rgba.haze)


def test_one_shape_of_each_body_is_drawn(foreign: Path, robot: Robot, tmp_path: Path):
    assert geoms(drawn(foreign, robot))["left_skin"] == 2
    assert geoms(drawn(foreign, robot))["left_foot"] == 3
    both = tmp_path / "both.xml"  # collision shapes in a group that is drawn, beside what is meant to be seen
    both.write_text(FOREIGN.replace('<geom group="3"', '<geom group="0"'))
    assert geoms(drawn(both, robot)) | {"": 2} == {"": 2, "left_skin": 2, "left_foot": 3} | {
        "right_skin": 2,
        "right_foot": 3,
    }
    hidden = tmp_path / "hidden.xml"  # nothing is meant to be seen: collision shapes are drawn
    hidden.write_text(FOREIGN.replace('class="visual"><geom group="2"', 'class="visual"><geom group="4"'))
    assert set(geoms(drawn(hidden, robot)).values()) == {0}


def test_a_scene_file_that_includes_the_robot(foreign: Path, robot: Robot, tmp_path: Path):
    path = tmp_path / "scene.xml"
    path.write_text(
        '<mujoco><include file="foreign.xml"/>'
        '<worldbody><geom name="floor of another file" type="plane" size="0 0 1"/>'
        '<body name="body of another file" pos="0 0 -1"><geom size="0.1"/></body></worldbody></mujoco>'
    )
    model = drawn(path, robot)
    assert [model.body(i).name for i in range(model.nbody)] == ["world", "trunk", "left", "right"]


# --- URDF -----------------------------------------------------------------------------------------

INERTIA = '<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="9" ixy="0" ixz="0" iyz="0"/></inertial>'
URDF = f"""
<robot name="stick">
  <link name="trunk">{INERTIA}
    <visual><geometry><mesh filename="package://stick_description/meshes/box.stl"/></geometry>
      <material name="grey"><color rgba="0.7 0.7 0.7 1"/></material></visual>
    <collision><geometry><sphere radius="0.2"/></geometry></collision></link>
  <link name="logo"><visual><geometry><mesh filename="meshes/box.stl" scale="0.1 0.1 0.1"/></geometry></visual></link>
  <joint name="glue" type="fixed"><parent link="trunk"/><child link="logo"/></joint>
  <link name="left">{INERTIA}<visual><geometry><mesh filename="meshes/box.stl"/></geometry></visual></link>
  <link name="right">{INERTIA}<visual><geometry><mesh filename="meshes/box.stl"/></geometry></visual></link>
  <joint name="left_hip" type="revolute"><parent link="trunk"/><child link="left"/><origin xyz="0 0.1 -0.3"/>
    <axis xyz="0 1 0"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint>
  <joint name="right_hip" type="revolute"><parent link="trunk"/><child link="right"/><origin xyz="0 -0.1 -0.3"/>
    <axis xyz="0 1 0"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint>
</robot>
"""


def write_box(path: Path) -> None:
    """A box of 0.1 x 0.1 x 0.2 m as binary STL."""
    corners = np.array(
        [[x, y, z] for x in (-0.05, 0.05) for y in (-0.05, 0.05) for z in (-0.1, 0.1)], np.float32
    )
    faces = [
        (0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
        (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3),
    ]  # fmt: skip
    data = np.zeros(12, [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    data["corners"] = corners[np.array(faces)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * 80 + np.uint32(12).tobytes() + data.tobytes())


@pytest.fixture
def urdf(tmp_path: Path) -> Path:
    path = tmp_path / "stick_description" / "stick.urdf"
    write_box(path.parent / "meshes" / "box.stl")
    path.write_text(URDF)
    return path


def test_a_urdf_keeps_its_meshes_its_root_and_our_sky(urdf: Path, robot: Robot):
    model = drawn(urdf, robot)
    assert [model.body(i).name for i in range(model.nbody)] == ["world", "trunk", "logo", "left", "right"]
    meshes = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    assert meshes.sum() == 4  # the trunk's, the logo's and both legs'
    assert np.isin(model.geom_group[meshes], visual_spec.DRAWN_GROUPS).all()
    spheres = model.geom_type == mujoco.mjtGeom.mjGEOM_SPHERE
    assert spheres.sum() == 1 and model.geom_group[spheres][0] == visual_spec.HIDDEN_GROUP
    assert "video_sky" in [model.tex(i).name for i in range(model.ntex)]
    trunk = model.body("trunk").geomadr[0]
    np.testing.assert_allclose(model.geom_rgba[trunk], [0.7, 0.7, 0.7, 1.0], rtol=1e-6)
    visual = visual_model.bind(model, NAMES, urdf, robot.mjcf)
    np.testing.assert_allclose(visual.offset, [0.0, 0.0, 0.3], atol=1e-6)  # hips 0.3 m below the root


def test_a_mesh_that_is_missing_is_named(urdf: Path, robot: Robot):
    (urdf.parent / "meshes" / "box.stl").rename(urdf.parent / "meshes" / "elsewhere.stl")
    with pytest.raises(ConfigError, match=r"^viewer\.robot-xml: .*box\.stl") as error:
        robot_xml.with_visual_model(robot, str(urdf))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("<robot", "rejects"),
        ("<robot name='r'/>", "left_hip"),
        ("<mujoco/>", "left_hip"),
        ("", "rejects"),
    ],
)
def test_what_is_no_robot_is_one_line(tmp_path: Path, robot: Robot, text: str, named: str):
    path = tmp_path / ("odd.xml" if "mujoco" in text else "odd.urdf")
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"^viewer\.robot-xml: ") as error:
        robot_xml.with_visual_model(robot, str(path))
    assert named in str(error.value) and "\n" not in str(error.value)


def test_a_joint_named_twice_is_one_line(urdf: Path, robot: Robot):
    urdf.write_text(urdf.read_text().replace('name="right_hip"', 'name="left_hip"'))
    with pytest.raises(ConfigError, match="repeated name 'left_hip'"):
        robot_xml.with_visual_model(robot, str(urdf))


def test_a_height_field_of_the_scene_need_not_be_there(foreign: Path, robot: Robot):
    plain = drawn(foreign, robot)
    field = '<hfield name="hills" file="hills.png" size="1 1 1 1"/></asset>'
    text = foreign.read_text().replace("</asset>", field, 1)
    foreign.write_text(text.replace("<worldbody>", '<worldbody><geom type="hfield" hfield="hills"/>', 1))
    assert drawn(foreign, robot).nhfield == plain.nhfield


def test_a_robot_held_to_the_world_is_refused(tmp_path: Path, robot: Robot):
    path = tmp_path / "rail.xml"
    path.write_text(
        FOREIGN.replace('<freejoint name="root"/>', '<joint name="rail" type="slide" axis="1 0 0"/>')
    )
    with pytest.raises(ConfigError, match=r"'rail'.*'trunk'"):
        robot_xml.with_visual_model(robot, str(path))
