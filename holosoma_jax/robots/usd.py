"""A robot's MJCF as USD text (.usda), for Isaac Sim and for whatever else reads USD physics.

Every link is a rigid body under the root prim, every joint a prim under ``joints`` that ties two links.
Numbers are the model's, to nine digits. What USD physics has no word for is there in MuJoCo's (``mjc:``), which
Newton reads and PhysX does not: contact and limit solver settings, passive joint forces, coupled joint limits
(fixed tendons). Left out are rotor inertia, which is the record's, and links that only mark a point
(`holosoma_jax.robots.model.markers`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import mujoco
import numpy as np

from holosoma_jax.robots.model import collides, markers, read
from holosoma_jax.robots.robot import Robot

_SHAPES = mujoco.mjtGeom
_AXES = {(1.0, 0.0, 0.0): "X", (0.0, 1.0, 0.0): "Y", (0.0, 0.0, 1.0): "Z"}
_PLAIN = (1.0, 0.0, 0.0, 0.0)
_ROOT_SCHEMAS = ["PhysicsArticulationRootAPI", "PhysxArticulationAPI"]
SELF_COLLISION = ("newton:selfCollisionEnabled", "physxArticulation:enabledSelfCollisions")
"""attributes of the root prim"""
JOINTS = "joints"
"""the prim under which joints are: a joint may have the name of a link"""
COUPLED_LIMITS = "coupled_limits"
"""the prim under which limits on sums of joint angles are, where the model has any"""


def usda(robot: Robot, *, self_collisions: bool = False) -> str:
    """The robot as text of a USD layer, colliding shapes only.

    Args:
      robot: its model gives everything but its name.
      self_collisions: whether its links collide with one another, those next to each other apart.

    Raises:
      ValueError: a joint that is neither free nor a hinge, a body with several joints, or a shape that USD
        physics has no prim for; names it.
    """
    model = read(robot.mjcf, robot.root_body).spec.compile()
    root = prim_name(robot.name)
    skipped = markers(model)
    bodies = [b for b in range(1, model.nbody) if model.body(b).name not in skipped]
    collide = str(self_collisions).lower()
    flags = [f"bool {name} = {collide}" for name in SELF_COLLISION]
    lines = [
        "#usda 1.0",
        "(",
        f'    defaultPrim = "{root}"',
        "    kilogramsPerUnit = 1",
        "    metersPerUnit = 1",
        '    upAxis = "Z"',
        ")",
        "",
        *_prim("Xform", root, _ROOT_SCHEMAS, [*flags, *_tree(model, robot, root, bodies)]),
    ]
    return "\n".join(lines) + "\n"


def prim_name(name: str) -> str:
    """`name` as USD allows it: letters, digits and underscores, no digit first."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{plain}" if not plain or plain[0].isdigit() else plain


def _tree(model: Any, robot: Robot, root: str, bodies: list[int]) -> Iterable[str]:
    """Materials, links and joints, below the root prim."""
    coefficients = sorted({float(model.geom_friction[g, 0]) for g in _colliding(model, bodies)})
    materials = {mu: f"material_{i}" for i, mu in enumerate(coefficients)}
    for mu, name in materials.items():
        friction = [f"float physics:{kind}Friction = {_text(mu)}" for kind in ("dynamic", "static")]
        yield from _prim(
            "Material", name, ["PhysicsMaterialAPI"], [*friction, "float physics:restitution = 0"]
        )
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    for body in bodies:
        yield from _link(model, data, body, {mu: f"/{root}/{name}" for mu, name in materials.items()})
    joints: list[str] = []
    for body in bodies:
        if model.body_parentid[body]:
            joints += _joint(model, robot, root, body)
    yield from _prim("Scope", JOINTS, [], joints)
    limits = [line for t in range(model.ntendon) for line in _coupled_limit(model, root, t)]
    if limits:
        yield from _prim("Scope", COUPLED_LIMITS, [], limits)


def _link(model: Any, data: Any, body: int, materials: dict[float, str]) -> list[str]:
    """A rigid body with its mass and its shapes, where the model's start pose has it."""
    lines = _place(data.xpos[body], data.xquat[body])
    schemas = ["PhysicsRigidBodyAPI"]
    if model.body_mass[body] > 0:
        schemas.append("PhysicsMassAPI")
        lines += [
            f"point3f physics:centerOfMass = {_tuple(model.body_ipos[body])}",
            f"float3 physics:diagonalInertia = {_tuple(model.body_inertia[body])}",
            f"float physics:mass = {_text(model.body_mass[body])}",
            f"quatf physics:principalAxes = {_tuple(model.body_iquat[body])}",
        ]
    for count, geom in enumerate(_colliding(model, [body])):
        lines += _shape(model, geom, model.geom(geom).name or f"shape_{count}", materials)
    return _prim("Xform", prim_name(model.body(body).name), schemas, lines)


def _shape(model: Any, geom: int, name: str, materials: dict[float, str]) -> list[str]:
    kind, size = int(model.geom_type[geom]), model.geom_size[geom]
    place = _place(model.geom_pos[geom], model.geom_quat[geom])
    axial = ['uniform token axis = "Z"', f"double radius = {_text(size[0])}"]
    if kind == _SHAPES.mjGEOM_SPHERE:
        prim, lines = "Sphere", [f"double radius = {_text(size[0])}"]
    elif kind == _SHAPES.mjGEOM_CAPSULE:
        prim, lines = "Capsule", [*axial, f"double height = {_text(2.0 * size[1])}"]
    elif kind == _SHAPES.mjGEOM_CYLINDER:
        prim, lines = "Cylinder", [*axial, f"double height = {_text(2.0 * size[1])}"]
    elif kind == _SHAPES.mjGEOM_BOX:
        prim, lines = "Cube", ["double size = 2"]
        place = _place(model.geom_pos[geom], model.geom_quat[geom], size)
    else:
        shape = mujoco.mjtGeom(kind).name.removeprefix("mjGEOM_").lower()
        raise ValueError(
            f"geom '{name}' of body '{model.body(int(model.geom_bodyid[geom])).name}' is a {shape}; the USD "
            "writer has spheres, capsules, cylinders and boxes. Use one of these for collisions."
        )
    lines += [
        f"rel material:binding:physics = <{materials[float(model.geom_friction[geom, 0])]}>",
        f"int mjc:condim = {model.geom_condim[geom]}",
        f"int mjc:priority = {model.geom_priority[geom]}",
        f"double[] mjc:solimp = {_list(model.geom_solimp[geom])}",
        f"double mjc:solmix = {_text(model.geom_solmix[geom])}",
        f"double[] mjc:solref = {_list(model.geom_solref[geom])}",
        'uniform token purpose = "guide"',
        *place,
    ]
    return _prim(prim, prim_name(name), ["PhysicsCollisionAPI", "MaterialBindingAPI"], lines)


def _joint(model: Any, robot: Robot, root: str, body: int) -> list[str]:
    """The joint above `body`: a hinge, or a fixed one."""
    parent, name = int(model.body_parentid[body]), model.body(body).name
    count, first = int(model.body_jntnum[body]), int(model.body_jntadr[body])
    if count > 1 or (count == 1 and model.jnt_type[first] != mujoco.mjtJoint.mjJNT_HINGE):
        raise ValueError(f"{robot.mjcf}: body '{name}' has {count} joints, wanted none or one hinge.")
    anchor, turn, lines = np.zeros(3), np.array(_PLAIN), []
    if count == 0:
        prim, title = "PhysicsFixedJoint", f"{name}_fixed"
    else:
        prim, title, anchor = "PhysicsRevoluteJoint", model.joint(first).name, model.jnt_pos[first]
        axis = tuple(float(v) + 0.0 for v in model.jnt_axis[first])
        if axis not in _AXES:
            turn = _from_x(np.array(axis))
        lines = [f'uniform token physics:axis = "{_AXES.get(axis, "X")}"']  # type: ignore[arg-type]
        if model.jnt_limited[first]:
            low, high = np.degrees(model.jnt_range[first])
            lines += [f"float physics:lowerLimit = {_text(low)}", f"float physics:upperLimit = {_text(high)}"]
        dof = int(model.jnt_dofadr[first])
        lines += [
            f"double mjc:damping = {_text(model.dof_damping[dof])}",
            f"double mjc:frictionloss = {_text(model.dof_frictionloss[dof])}",
            f"double[] mjc:solimplimit = {_list(model.jnt_solimp[first])}",
            f"double[] mjc:solreflimit = {_list(model.jnt_solref[first])}",
        ]
    before, place, offset = np.zeros(4), np.array(model.body_pos[body]), np.zeros(3)
    mujoco.mju_mulQuat(before, model.body_quat[body], turn)
    mujoco.mju_rotVecQuat(offset, anchor, model.body_quat[body])
    lines += [
        f"rel physics:body0 = </{root}/{prim_name(model.body(parent).name)}>",
        f"rel physics:body1 = </{root}/{prim_name(name)}>",
        f"point3f physics:localPos0 = {_tuple(place + offset)}",
        f"point3f physics:localPos1 = {_tuple(anchor)}",
        f"quatf physics:localRot0 = {_tuple(before)}",
        f"quatf physics:localRot1 = {_tuple(turn)}",
    ]
    return _prim(prim, prim_name(title), [], lines)


def _coupled_limit(model: Any, root: str, tendon: int) -> list[str]:
    """A fixed tendon's limits on a weighted sum of joint angles, rad; nothing for another tendon."""
    first, count = int(model.tendon_adr[tendon]), int(model.tendon_num[tendon])
    wraps = slice(first, first + count)
    if not model.tendon_limited[tendon] or (model.wrap_type[wraps] != mujoco.mjtWrap.mjWRAP_JOINT).any():
        return []
    joints = [prim_name(model.joint(int(j)).name) for j in model.wrap_objid[wraps]]
    low, high = model.tendon_range[tendon]
    lines = [
        'uniform token mjc:limited = "true"',
        f"rel mjc:path = [{', '.join(f'</{root}/{JOINTS}/{joint}>' for joint in joints)}]",
        f"double[] mjc:path:coef = {_list(model.wrap_prm[wraps])}",
        f"double mjc:range:max = {_text(high)}",
        f"double mjc:range:min = {_text(low)}",
        f"double[] mjc:solimplimit = {_list(model.tendon_solimp_lim[tendon])}",
        f"double[] mjc:solreflimit = {_list(model.tendon_solref_lim[tendon])}",
        'uniform token mjc:type = "fixed"',
    ]
    return _prim("MjcTendon", prim_name(model.tendon(tendon).name or f"limit_{tendon}"), [], lines)


def _from_x(axis: np.ndarray) -> np.ndarray:
    """Quaternion that turns x onto the unit vector `axis`; half a turn about z for -x."""
    if axis[0] < -1.0 + 1e-12:
        return np.array([0.0, 0.0, 0.0, 1.0])
    quat = np.array([1.0 + axis[0], 0.0, -axis[2], axis[1]])  # 1 + x . a, x cross a
    return quat / np.linalg.norm(quat)


def _colliding(model: Any, bodies: list[int]) -> list[int]:
    return [g for g in range(model.ngeom) if int(model.geom_bodyid[g]) in bodies and collides(model, g)]


def _place(pos: np.ndarray, quat: np.ndarray, scale: np.ndarray | None = None) -> list[str]:
    """The transform of a prim in its parent."""
    order = ["xformOp:translate", "xformOp:orient"]
    lines = [
        f"quatd xformOp:orient = {_tuple(quat)}",
        f"double3 xformOp:translate = {_tuple(pos)}",
    ]
    if scale is not None:
        order.append("xformOp:scale")
        lines.append(f"double3 xformOp:scale = {_tuple(scale)}")
    names = ", ".join(f'"{name}"' for name in order)
    return [*lines, f"uniform token[] xformOpOrder = [{names}]"]


def _prim(kind: str, name: str, schemas: list[str], lines: Iterable[str]) -> list[str]:
    """A prim of this kind with its attributes and children, `lines`, indented."""
    head = [f'def {kind} "{name}"']
    if schemas:
        names = ", ".join(f'"{schema}"' for schema in schemas)
        head += ["(", f"    prepend apiSchemas = [{names}]", ")"]
    return [*head, "{", *(f"    {line}" if line else line for line in lines), "}"]


def _tuple(values: Any) -> str:
    return "(" + ", ".join(_text(value) for value in values) + ")"


def _list(values: Any) -> str:
    return "[" + ", ".join(_text(value) for value in values) + "]"


def _text(value: Any) -> str:
    number = float(f"{float(value):.9g}") + 0.0  # + 0.0 turns -0 into 0
    return f"{0.0 if math.isclose(number, 0.0, abs_tol=1e-15) else number:.9g}"
