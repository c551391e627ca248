"""What the importer is given."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import mujoco
import numpy as np
import pytest

from bridges.ground import triangles
from bridges.isaacgym.asset import robot_urdf
from bridges.protocol import Ground
from holosoma_jax import robots
from holosoma_jax.robots.model import MARKER_MASS
from holosoma_jax.robots.robot import Robot
from tests.support.biped import BIPED


@pytest.mark.parametrize("name", ["g1", "t1", "k1"])
def test_all_that_has_dynamics_is_there_and_nothing_to_look_at(name: str):
    robot = robots.load(name)
    root = ET.fromstring(robot_urdf(robot))
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    links = {link.get("name"): link for link in root.iter("link")}
    missing = set(robot.body_names) - links.keys()
    assert missing == set(robot.foot_height_bodies)  # markers
    assert all(model.body(body).mass[0] <= MARKER_MASS for body in missing)
    mass = sum(float(m.get("value", 0)) for m in root.iter("mass"))
    assert abs(mass - robot.body_mass.sum()) <= MARKER_MASS * len(missing)
    hinges = [j.get("name") for j in root.iter("joint") if j.get("type") == "revolute"]
    assert sorted(map(str, hinges)) == sorted(robot.joint_names)
    assert not list(root.iter("visual"))


@pytest.mark.parametrize("name", ["g1", "t1", "k1"])
def test_each_colliding_geom_is_one_shape(name: str):
    """A capsule is a cylinder, which the importer rounds; no balls at its ends."""
    robot = robots.load(name)
    root = ET.fromstring(robot_urdf(robot))
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    bodies, robots_own = model.geom_bodyid, model.geom_bodyid > 0
    collides = robots_own & ((model.geom_contype != 0) | (model.geom_conaffinity != 0))
    for link in root.iter("link"):
        wanted = int((collides & (bodies == model.body(link.get("name")).id)).sum())
        assert len(link.findall("collision")) == wanted, link.get("name")


def test_a_hinge_off_its_bodys_origin_is_refused_by_name(robot: Robot):
    with pytest.raises(ValueError, match="head"):
        robot_urdf(replace(robot, mjcf=BIPED.mjcf))


def test_ground_triangles_face_upwards_and_share_their_diagonal():
    # 2 x 2 cells of 0.5 m from (1, 2); one point is up
    heights = np.zeros((3, 3), np.float32)
    heights[1, 1] = 0.3
    vertices, faces = triangles(Ground(heights, cell=0.5, corner=(1.0, 2.0)))
    assert vertices.shape == (9, 3) and faces.shape == (8, 3)
    np.testing.assert_allclose(vertices[4], [1.5, 2.5, 0.3])
    np.testing.assert_allclose(vertices[5], [1.5, 3.0, 0.0])
    a, b, c = (vertices[faces[:, k]].astype(float) for k in range(3))
    normal = np.cross(b - a, c - a)
    assert (normal[:, 2] > 0).all()
    np.testing.assert_allclose(normal[:, 2].sum() / 2, 1.0)  # m^2: the cells' area, nothing twice
    for cell in faces.reshape(-1, 2, 3):  # from (i, j) to (i + 1, j + 1): numbers n and n + 4
        shared = sorted(set(cell[0]) & set(cell[1]))
        assert shared[1] - shared[0] == 4
