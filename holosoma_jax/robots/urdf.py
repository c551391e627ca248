"""A robot's MJCF as URDF text, for programs that read nothing else (kinematics on the robot itself).

Links, joints and inertias are the model's, to twelve digits. URDF has no word for some of what MJCF
says, and this is left out: rotor inertia, solver settings, contact filters, coupled joint limits and
the floating base (a reader adds it above the root link). It has fewer shapes, too: a capsule becomes
a cylinder with a ball at each end, an ellipsoid a box of the same volume.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import Any

import mujoco
import numpy as np

from holosoma_jax.robots.model import read
from holosoma_jax.robots.robot import Robot

_SHAPES = mujoco.mjtGeom
_BOX_OF_ELLIPSOID = (math.pi / 6.0) ** (1.0 / 3.0)
"""half-size of a box over the semi-axis of the ellipsoid with the same volume"""


def urdf(robot: Robot) -> str:
    """The robot as URDF text.

    Args:
      robot: its model gives the tree, inertias and shapes; the record the torque (N m) and velocity
        (rad/s) limits of the joints.

    Raises:
      ValueError: a joint that is neither free nor a hinge, or a body with several joints; URDF cannot
        say that.
    """
    model = read(robot.mjcf, robot.root_body).spec.compile()
    root = ET.Element("robot", name=robot.name)
    for body in range(1, model.nbody):
        _link(root, model, body)
    for body in range(1, model.nbody):
        parent = int(model.body_parentid[body])
        if parent:
            _joint(root, model, robot, body, parent)
    ET.indent(root)
    return '<?xml version="1.0"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def rpy(quat: np.ndarray) -> tuple[float, float, float]:
    """Roll, pitch, yaw in rad of a w x y z quaternion, about fixed axes: R = Rz(yaw) Ry(pitch) Rx(roll)."""
    w, x, y, z = (float(v) for v in np.asarray(quat, np.float64) / np.linalg.norm(quat))
    # From the matrix, sine and cosine of the pitch together: asin alone loses half the digits near 90 degrees.
    sine, cosine = 2.0 * (w * y - z * x), math.hypot(1 - 2 * (y * y + z * z), 2 * (x * y + w * z))
    pitch = math.atan2(sine, cosine)
    if cosine < 1e-9:  # roll and yaw turn about the same axis: all of it is called yaw
        return 0.0, pitch, math.atan2(-2 * (x * y - w * z), 1 - 2 * (x * x + z * z))
    roll = math.atan2(2 * (y * z + w * x), 1 - 2 * (x * x + y * y))
    return roll, pitch, math.atan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z))


def _link(root: ET.Element, model: Any, body: int) -> None:
    link = ET.SubElement(root, "link", name=model.body(body).name)
    if model.body_mass[body] > 0:
        inertial = ET.SubElement(link, "inertial")
        _origin(inertial, model.body_ipos[body])
        ET.SubElement(inertial, "mass", value=_text(model.body_mass[body]))
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, model.body_iquat[body])
        turn = turn.reshape(3, 3)
        tensor = turn @ np.diag(model.body_inertia[body]) @ turn.T  # about the centre of mass, link axes
        entries = {"ixx": (0, 0), "ixy": (0, 1), "ixz": (0, 2), "iyy": (1, 1), "iyz": (1, 2), "izz": (2, 2)}
        ET.SubElement(inertial, "inertia", {name: _text(tensor[ij]) for name, ij in entries.items()})
    first = int(model.body_geomadr[body])
    for geom in range(first, first + int(model.body_geomnum[body])):
        kind = "collision" if model.geom_contype[geom] or model.geom_conaffinity[geom] else "visual"
        for place, shape in _parts(model, geom):
            element = ET.SubElement(link, kind)
            _origin(element, place, model.geom_quat[geom])
            ET.SubElement(element, "geometry").append(shape)
            if kind == "visual":
                _paint(element, model, geom)


def _parts(model: Any, geom: int) -> list[tuple[np.ndarray, ET.Element]]:
    """The geom as URDF shapes, each with the position of its centre in the link frame."""
    centre, size = model.geom_pos[geom], model.geom_size[geom]
    kind = int(model.geom_type[geom])
    if kind == _SHAPES.mjGEOM_BOX:
        return [(centre, ET.Element("box", size=_text(2.0 * size)))]
    if kind == _SHAPES.mjGEOM_ELLIPSOID:
        return [(centre, ET.Element("box", size=_text(2.0 * _BOX_OF_ELLIPSOID * size)))]
    if kind == _SHAPES.mjGEOM_SPHERE:
        return [(centre, ET.Element("sphere", radius=_text(size[0])))]
    if kind not in (_SHAPES.mjGEOM_CAPSULE, _SHAPES.mjGEOM_CYLINDER):
        return []  # meshes have files, planes no end
    cylinder = ET.Element("cylinder", radius=_text(size[0]), length=_text(2.0 * size[1]))
    parts = [(centre, cylinder)]
    if kind == _SHAPES.mjGEOM_CAPSULE:
        axis = np.zeros(3)
        mujoco.mju_rotVecQuat(axis, np.array([0.0, 0.0, size[1]]), model.geom_quat[geom])
        parts += [(centre + end * axis, ET.Element("sphere", radius=_text(size[0]))) for end in (-1.0, 1.0)]
    return parts


def _paint(element: ET.Element, model: Any, geom: int) -> None:
    material = int(model.geom_matid[geom])
    rgba = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
    name = model.mat(material).name if material >= 0 else f"paint_{geom}"
    ET.SubElement(ET.SubElement(element, "material", name=name), "color", rgba=_text(rgba))


def _joint(root: ET.Element, model: Any, robot: Robot, body: int, parent: int) -> None:
    """The joint above `body`: a hinge, or a fixed one."""
    name, count, first = model.body(body).name, int(model.body_jntnum[body]), int(model.body_jntadr[body])
    if count > 1 or (count == 1 and model.jnt_type[first] != mujoco.mjtJoint.mjJNT_HINGE):
        raise ValueError(f"{robot.mjcf}: body '{name}' has {count} joints, wanted none or one hinge.")
    if count == 1 and np.any(model.jnt_pos[first]):
        raise ValueError(
            f"{robot.mjcf}: the joint of body '{name}' is not at the body's origin. Move the frame."
        )
    kind = "fixed" if count == 0 else "revolute" if model.jnt_limited[first] else "continuous"
    title = f"{name}_fixed" if count == 0 else model.joint(first).name
    joint = ET.SubElement(root, "joint", name=title, type=kind)
    _origin(joint, model.body_pos[body], model.body_quat[body])
    ET.SubElement(joint, "parent", link=model.body(parent).name)
    ET.SubElement(joint, "child", link=name)
    if count == 0:
        return
    ET.SubElement(joint, "axis", xyz=_text(model.jnt_axis[first]))
    limit = {} if kind == "continuous" else dict(zip(("lower", "upper"), model.jnt_range[first], strict=True))
    if title in robot.joint_names:
        index = robot.joint_names.index(title)
        limit |= {"effort": robot.torque_limit[index], "velocity": robot.velocity_limit[index]}
    ET.SubElement(joint, "limit", {key: _text(value) for key, value in limit.items()})
    dof = int(model.jnt_dofadr[first])
    damping, friction = model.dof_damping[dof], model.dof_frictionloss[dof]
    ET.SubElement(joint, "dynamics", damping=_text(damping), friction=_text(friction))


def _origin(element: ET.Element, xyz: np.ndarray, quat: np.ndarray | None = None) -> None:
    turn = (0.0, 0.0, 0.0) if quat is None else rpy(quat)
    ET.SubElement(element, "origin", xyz=_text(xyz), rpy=_text(np.array(turn)))


def _text(value: Any) -> str:
    """Numbers separated by spaces, to twelve significant digits; float32 to its own."""
    array = np.atleast_1d(np.asarray(value))
    digits = 8 if array.dtype == np.float32 else 12
    return " ".join(f"{float(number) + 0.0:.{digits}g}" for number in array)
