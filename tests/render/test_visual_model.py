"""Another model drawn for a robot: joints by name, at the robot's place, or one line that says why not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest

from bridges.protocol import Ground
from holosoma_jax import robots
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import VideoConfig
from holosoma_jax.render import robot_xml, scene, visual_model
from holosoma_jax.render.video import make_job
from holosoma_jax.render.video_job import Trajectory, read_job, write_job
from holosoma_jax.robots.robot import Robot
from tests.support.messages import tells

Change = Callable[[mujoco.MjSpec], None]


@pytest.fixture(scope="module")
def robot() -> Robot:
    return robots.load("g1")


@pytest.fixture
def changed(tmp_path: Path, robot: Robot) -> Callable[[Change], Path]:
    """Writes the G1's MJCF with a change."""

    def write(change: Change) -> Path:
        spec = mujoco.MjSpec.from_file(str(robot.mjcf))
        change(spec)
        path = tmp_path / "other model.xml"
        path.write_text(spec.to_xml())
        return path

    return write


def positions(visual: visual_model.VisualModel, robot: Robot, seed: int = 0) -> np.ndarray:
    """World anchors [J, 3] of the robot's joints in a random pose."""
    rng = np.random.default_rng(seed)
    quat = rng.standard_normal(4)
    joint_pos = rng.uniform(-0.5, 0.5, robot.num_joints)
    data = mujoco.MjData(visual.model)
    visual_model.set_pose(visual, data, np.array([1.0, -2.0, 0.7]), quat / np.linalg.norm(quat), joint_pos)
    return np.array([data.joint(name).xanchor for name in robot.joint_names])


def drawn(path: Path, robot: Robot) -> visual_model.VisualModel:
    model = scene.scene_model(path, Ground(), 64, 48, joint_names=robot.joint_names)
    return visual_model.bind(model, robot.joint_names, path, robot.mjcf)


@pytest.fixture(scope="module")
def own(robot: Robot) -> visual_model.VisualModel:
    return visual_model.bind(mujoco.MjModel.from_xml_path(str(robot.mjcf)), robot.joint_names, robot.mjcf)


def add_hands_and_a_room(spec: mujoco.MjSpec) -> None:
    """What real models have and the robot's has not."""
    spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_AUTO
    palm = spec.body("left_wrist_yaw_link").add_body(name="palm", pos=[0.1, 0.0, 0.0])
    palm.add_joint(name="finger", axis=[0, 1, 0])
    palm.add_geom(size=[0.02, 0, 0])
    spec.worldbody.add_geom(name="their floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1])
    spec.worldbody.add_light(pos=[0, 0, 3])
    palm.add_light(pos=[0, 0, 1])
    spec.add_key(name="home", qpos=np.zeros(7 + 30))


def test_extra_joints_and_a_room_of_its_own_do_not_matter(changed, robot, own):
    path = changed(add_hands_and_a_room)
    robot_xml.with_visual_model(robot, str(path))
    shown = drawn(path, robot)
    np.testing.assert_allclose(positions(shown, robot), positions(own, robot), atol=1e-6)
    world = [shown.model.geom(i).name for i in np.flatnonzero(shown.model.geom_bodyid == 0)]
    assert world == ["video_floor"]
    assert {shown.model.light(i).name for i in range(shown.model.nlight)} == {"video_sun", "video_fill"}


def test_a_root_frame_elsewhere_is_made_up_for(changed, robot, own):
    shift = np.array([0.03, 0.0, -0.2])

    def lower_the_root(spec: mujoco.MjSpec) -> None:
        for child in spec.body(robot.root_body).bodies:
            child.pos = child.pos - shift

    shown = drawn(changed(lower_the_root), robot)
    np.testing.assert_allclose(shown.offset, shift, atol=1e-6)
    np.testing.assert_allclose(positions(shown, robot), positions(own, robot), atol=1e-6)


def test_a_joint_that_turns_the_other_way_is_turned_back(changed, robot, own):
    def reverse(spec: mujoco.MjSpec) -> None:
        knee = spec.joint("left_knee_joint")
        knee.axis, knee.range = -knee.axis, -knee.range[::-1]

    shown = drawn(changed(reverse), robot)
    assert shown.sign[robot.joint_names.index("left_knee_joint")] == -1.0
    np.testing.assert_allclose(positions(shown, robot), positions(own, robot), atol=1e-6)


def test_a_model_without_a_free_joint_gets_one(changed, robot, own):
    def fix(spec: mujoco.MjSpec) -> None:
        spec.delete(spec.body(robot.root_body).joints[0])
        for key in spec.keys:
            spec.delete(key)
        spec.add_key(name="rest", qpos=np.zeros(robot.num_joints))  # stale once there is a free joint

    path = changed(fix)
    robot_xml.with_visual_model(robot, str(path))
    shown = drawn(path, robot)
    np.testing.assert_allclose(positions(shown, robot), positions(own, robot), atol=1e-6)


def rename(spec: mujoco.MjSpec) -> None:
    spec.joint("left_knee_joint").name = "left_knee"
    for actuator in spec.actuators:
        actuator.target = actuator.target.replace("left_knee_joint", "left_knee")


def tilt(spec: mujoco.MjSpec) -> None:
    spec.joint("left_knee_joint").axis = [0, 0, 1]


def stretch(spec: mujoco.MjSpec) -> None:
    body = spec.body("left_ankle_pitch_link")
    body.pos = body.pos + np.array([0.0, 0.0, -0.4])


def slide(spec: mujoco.MjSpec) -> None:
    spec.joint("left_knee_joint").type = mujoco.mjtJoint.mjJNT_SLIDE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename, "Is it 'left_knee'?"),
        (tilt, "'left_knee_joint' ... axis"),
        (stretch, "joint 'left_ankle_"),
        (slide, "'left_knee_joint' ... hinge"),
    ],
)
def test_a_joint_that_does_not_match_is_one_line_that_names_it(changed, robot, change, said):
    path = changed(change)
    with pytest.raises(ConfigError, match=r"^viewer\.robot-xml: ") as error:
        robot_xml.with_visual_model(robot, str(path))
    assert tells(str(error.value), said)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_what_is_no_model_is_one_line(robot, tmp_path):
    with pytest.raises(ConfigError, match="is no file"):
        robot_xml.with_visual_model(robot, "nowhere.xml")
    path = tmp_path / "broken.xml"
    path.write_text("<mujoco><worldbody>")
    with pytest.raises(ConfigError, match="MuJoCo rejects it") as error:
        robot_xml.with_visual_model(robot, str(path))
    assert "\n" not in str(error.value)


def test_a_robot_is_drawn_as_itself_unless_told_otherwise(robot, changed):
    assert robot_xml.with_visual_model(robot, None) is robot
    path = changed(add_hands_and_a_room)
    assert robot_xml.with_visual_model(robot, str(path)).visual_mjcf == path


def test_videos_are_drawn_with_it_too(robot, changed, tmp_path):
    still = Trajectory(np.zeros((1, 3)), np.array([[1.0, 0, 0, 0]]), robot.default_joint_pos[None])
    path = changed(add_hands_and_a_room)
    for drawn_robot, mjcf, own_mjcf in (
        (robot, robot.mjcf, None),
        (replace(robot, visual_mjcf=path), path, robot.mjcf),
    ):
        job = make_job(VideoConfig(), drawn_robot, Ground(), still, 50.0)
        write_job(tmp_path / "job.npz", job)
        back = read_job(tmp_path / "job.npz")
        assert (back.mjcf, back.own_mjcf) == (mjcf, own_mjcf)


class MenagerieError(Exception):
    pass


def menagerie(xml: Callable[[str], Path]) -> SimpleNamespace:
    """A stand-in for the package, as far as it is used."""
    return SimpleNamespace(
        MenagerieError=MenagerieError, get=lambda name: SimpleNamespace(default_model=name, xml=xml)
    )


def test_menagerie_brings_the_model(robot, changed, monkeypatch):
    path = changed(add_hands_and_a_room)
    asked = []
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", menagerie(lambda name: asked.append(name) or path))
    assert robot_xml.with_visual_model(robot, "menagerie").visual_mjcf == path
    assert asked == ["unitree_g1"]


def test_menagerie_without_package_network_or_robot_is_one_line(robot, monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", None)
    with pytest.raises(ConfigError, match="pip install mujoco-menagerie"):
        robot_xml.with_visual_model(robot, "menagerie")

    def offline(name: str) -> Path:
        raise MenagerieError("no route\nto host")

    monkeypatch.setitem(sys.modules, "mujoco_menagerie", menagerie(offline))
    with pytest.raises(ConfigError, match="unitree_g1: no route to host"):
        robot_xml.with_visual_model(robot, "menagerie")
    with pytest.raises(ConfigError, match=r"'k1'.*\bg1\b"):
        robot_xml.with_visual_model(robots.load("k1"), "menagerie")
