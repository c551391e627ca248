"""What IsaacGym's importer is given: the robot as URDF."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import numpy as np

from holosoma_jax.robots.model import markers, read
from holosoma_jax.robots.robot import Robot
from holosoma_jax.robots.urdf import urdf


def robot_urdf(robot: Robot) -> str:
    """The robot's URDF without what PhysX gains nothing from: looks, markers, balls at the ends of capsules.

    The host computes where markers are (`holosoma_jax.robots.model.markers`). The importer turns cylinders
    into capsules (`replace_cylinder_with_capsule`), so the balls would only double contacts.

    Raises:
      ValueError: URDF cannot describe the robot (`holosoma_jax.robots.urdf`).
    """
    root = ET.fromstring(urdf(robot))
    for link in root.iter("link"):
        for visual in link.findall("visual"):
            link.remove(visual)
        _drop_capsule_ends(link)
    left_out = markers(read(robot.mjcf, robot.root_body).spec.compile())
    for joint in list(root.iter("joint")):
        if joint.find("child").get("link") in left_out:  # type: ignore[union-attr]
            root.remove(joint)
    for link in list(root.iter("link")):
        if link.get("name") in left_out:
            root.remove(link)
    return '<?xml version="1.0"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _drop_capsule_ends(link: ET.Element) -> None:
    """Remove spheres that sit on both ends of a cylinder of their radius."""
    ends = []
    for collision in link.findall("collision"):
        cylinder = collision.find("geometry/cylinder")
        if cylinder is not None:
            centre, axis = _place(collision)
            half = 0.5 * float(cylinder.get("length", 0))
            ends += [(float(cylinder.get("radius", 0)), centre + s * half * axis) for s in (-1.0, 1.0)]
    for collision in link.findall("collision"):
        sphere = collision.find("geometry/sphere")
        if sphere is not None:
            radius, centre = float(sphere.get("radius", 0)), _place(collision)[0]
            if any(abs(r - radius) < 1e-6 and np.abs(end - centre).max() < 1e-6 for r, end in ends):
                link.remove(collision)


def _place(collision: ET.Element) -> tuple[np.ndarray, np.ndarray]:
    """Centre of a collision shape and its z axis, in the link's frame."""
    origin = collision.find("origin")
    assert origin is not None
    centre = np.array(origin.get("xyz", "0 0 0").split(), float)
    roll, pitch, yaw = map(float, origin.get("rpy", "0 0 0").split())
    # third column of Rz(yaw) Ry(pitch) Rx(roll)
    cr, sr, cp, sp, cy, sy = (f(v) for v in (roll, pitch, yaw) for f in (math.cos, math.sin))
    return centre, np.array([cy * sp * cr + sy * sr, sy * sp * cr - cy * sr, cp * cr])
