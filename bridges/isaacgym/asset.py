"""What IsaacGym's importer is given: the robot as URDF, the ground as triangles."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import numpy as np

from bridges.protocol import Ground
from holosoma_jax.robots.robot import Robot
from holosoma_jax.robots.urdf import urdf

MARKER_MASS = 0.005
"""kg; a fixed leaf without collision shapes and no heavier than this marks a point, and is left out"""


def robot_urdf(robot: Robot) -> str:
    """The robot's URDF without what PhysX gains nothing from: looks, markers, balls at the ends of capsules.

    A link of a gram behind a fixed joint spoils the conditioning of its articulation, and the importer
    gives a link without a mass one of its own. The host computes where markers are. The importer turns
    cylinders into capsules (`replace_cylinder_with_capsule`), so the balls would only double contacts.

    Raises:
      ValueError: URDF cannot describe the robot (`holosoma_jax.robots.urdf`).
    """
    root = ET.fromstring(urdf(robot))
    for link in root.iter("link"):
        for visual in link.findall("visual"):
            link.remove(visual)
        _drop_capsule_ends(link)
    parents = {joint.find("parent").get("link") for joint in root.iter("joint")}  # type: ignore[union-attr]
    for joint in list(root.iter("joint")):
        child = joint.find("child").get("link")  # type: ignore[union-attr]
        link = next(link for link in root.iter("link") if link.get("name") == child)
        if joint.get("type") == "fixed" and child not in parents and _is_marker(link):
            root.remove(joint)
            root.remove(link)
    return '<?xml version="1.0"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def triangles(ground: Ground) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] float32 in m and triangles [T, 3] uint32, counter-clockwise from above.

    Each cell is split along the diagonal from (i, j) to (i + 1, j + 1), as `Ground` says.
    """
    assert ground.heights is not None
    rows, cols = ground.heights.shape
    x = ground.corner[0] + ground.cell * np.arange(rows)
    y = ground.corner[1] + ground.cell * np.arange(cols)
    vertices = np.stack([*np.meshgrid(x, y, indexing="ij"), ground.heights], -1).reshape(-1, 3)
    number = np.arange(rows * cols, dtype=np.uint32).reshape(rows, cols)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    cells = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2)
    return vertices.astype(np.float32), np.ascontiguousarray(cells.reshape(-1, 3))


def _is_marker(link: ET.Element) -> bool:
    mass = link.find("inertial/mass")
    return link.find("collision") is None and (mass is None or float(mass.get("value", 0)) <= MARKER_MASS)


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
