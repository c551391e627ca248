"""Write a robot's MJCF from its figures: `python -m docs.scripts.build_robot FIGURES.yaml OUT.xml`.

The figures are measurements: the tree of bodies, their inertias, joint ranges, and primitive shapes
for contact and for looks (docs/robots.md describes the file). The record, ``robot.yaml`` beside
OUT.xml, holds what was decided: gains, torque limits, armature, and under ``model`` the changes made
to the figures. No mesh is involved.
"""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from holosoma_jax.config.errors import ConfigError, nearest

Node = Mapping[str, Any]

# Self-collision is off: the robot's geoms only meet what has contype 2, which is the ground.
# Priority 1 makes a contact with the ground take the robot's friction and stiffness whole, so that
# whoever randomises friction writes the robot's geoms and nothing else.
COLLISION = {"group": "3", "contype": "1", "conaffinity": "2", "priority": "1", "rgba": "0.8 0.3 0.2 0.4"}
VISUAL = {"group": "2", "contype": "0", "conaffinity": "0"}
CONTACT_KEYS = ("friction", "condim", "solref", "solimp")


def text(value: Any) -> str:
    """A number or a sequence of numbers as an MJCF attribute, to twelve significant digits."""
    numbers = value if isinstance(value, Sequence) else [value]
    return " ".join(f"{float(n) + 0.0:.12g}" for n in numbers)  # + 0.0 turns -0 into 0


def mjcf(figures: Node, record: Node) -> str:
    """The model as MJCF text.

    Args:
      figures: units SI, quaternions w x y z, inertia [xx, yy, zz, xy, xz, yz] about the centre of mass.
      record: parsed ``robot.yaml``.

    Raises:
      ConfigError: the record names a joint, body or geom that the figures lack.
    """
    changes = record.get("model", {})
    joints = figures["joint_order"]
    _known("joints", record["joints"], joints)
    for name in joints:
        if name not in record["joints"]:
            raise ConfigError(f"joints: the record lacks '{name}', which the figures have. Add it.")
    root = ET.Element("mujoco", model=record["name"])
    ET.SubElement(root, "compiler", angle="radian", autolimits="true", inertiafromgeom="false")
    ET.SubElement(root, "option", timestep="0.005")
    _defaults(root, figures, changes)
    bodies = _bodies(figures, changes)
    materials = _materials(root, bodies)
    elements = {"world": ET.SubElement(root, "worldbody")}
    for body in bodies:
        parent = elements[body["parent"]]
        elements[body["name"]] = _body(parent, body, figures, record, materials)
    _tendons(root, figures)
    _actuators(root, figures, record)
    _keyframe(root, figures, record)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _defaults(root: ET.Element, figures: Node, changes: Node) -> None:
    """Classes: collision, foot (contact as the record says), visual; and the joint-limit solver."""
    top = ET.SubElement(ET.SubElement(root, "default"), "default", {"class": "robot"})
    limit = figures["joint_limit_solver"]
    ET.SubElement(top, "joint", solreflimit=text(limit["solref"]), solimplimit=text(limit["solimp"]))
    ET.SubElement(top, "general", gaintype="fixed", biastype="affine")
    collision = ET.SubElement(top, "default", {"class": "collision"})
    contact = figures["contact"]["geoms_default"] | changes.get("contact", {})
    ET.SubElement(collision, "geom", COLLISION | {k: text(contact[k]) for k in CONTACT_KEYS})
    foot = ET.SubElement(collision, "default", {"class": "foot"})
    contact = contact | changes.get("foot_contact", {})
    ET.SubElement(foot, "geom", {k: text(contact[k]) for k in CONTACT_KEYS})
    visual = ET.SubElement(top, "default", {"class": "visual"})
    ET.SubElement(visual, "geom", VISUAL)


def _materials(root: ET.Element, bodies: Sequence[Node]) -> dict[str, str]:
    """One material per colour: rgba text -> material name."""
    colours = sorted({text(g["rgba"]) for body in bodies for g in body["visual"]})
    asset = ET.SubElement(root, "asset")
    names = {colour: f"paint{i}" for i, colour in enumerate(colours)}
    for colour, name in names.items():
        ET.SubElement(asset, "material", name=name, rgba=colour, specular="0.3", shininess="0.4")
    return names


def _bodies(figures: Node, changes: Node) -> list[Node]:
    """Bodies of the figures after the record's changes: geoms, paint, and markers appended.

    ``paint`` maps a body's name, or a colour of the figures as text, to the rgba it gets.
    """
    source, changed = figures["bodies"], changes.get("geoms", {})
    _known("model.geoms", changed, [shape["name"] for body in source for shape in body["collision"]])
    names, paint = [body["name"] for body in source], changes.get("paint", {})
    colours = [text(shape["rgba"]) for body in source for shape in body["visual"]]
    _known("model.paint", paint, [*names, *colours])
    bodies: list[Node] = []
    for body in source:
        shapes = [(shape, changed.get(shape["name"], {})) for shape in body["collision"]]
        collision = [shape | change for shape, change in shapes if change is not None]  # null leaves it out
        visual = []
        for shape in body["visual"]:
            rgba = paint.get(body["name"], paint.get(text(shape["rgba"]), shape["rgba"]))
            visual.append(shape | {"rgba": rgba})
        bodies.append(body | {"collision": collision, "visual": visual})
    markers = changes.get("markers", {})
    _known("model.markers", [marker["parent"] for marker in markers.values()], names)
    bodies += [marker | {"name": name, "collision": [], "visual": []} for name, marker in markers.items()]
    return bodies


def _known(where: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{where}: the figures have no '{name}'.{nearest(name, known)}")


def _body(
    parent: ET.Element, body: Node, figures: Node, record: Node, materials: Mapping[str, str]
) -> ET.Element:
    """Append one body; a body without ``mass`` is a massless frame."""
    root = body["parent"] == "world"
    place = {"name": body["name"], "pos": text(record["init_pos"] if root else body["pos"])}
    if not root and "quat" in body and text(body["quat"]) != "1 0 0 0":
        place["quat"] = text(body["quat"])
    element = ET.SubElement(parent, "body", place)
    if root:
        element.set("childclass", "robot")
    if "mass" in body:
        numbers = {"mass": body["mass"], "pos": body["com"], "fullinertia": body["inertia"]}
        ET.SubElement(element, "inertial", {k: text(v) for k, v in numbers.items()})
    joint = body.get("joint")
    if joint and joint["type"] == "free":
        ET.SubElement(element, "freejoint", name=joint["name"])
    elif joint:
        numbers = {k: joint[k] for k in ("pos", "axis", "range", "damping", "frictionloss")}
        numbers["armature"] = record["joints"][joint["name"]]["armature"]
        ET.SubElement(element, "joint", {"name": joint["name"]} | {k: text(v) for k, v in numbers.items()})
    for site in body.get("sites", ()):
        ET.SubElement(element, "site", name=site["name"], pos=text(site["pos"]), quat=text(site["quat"]))
    kind = "foot" if body["name"] in figures["feet"] else "collision"
    for shape in body["collision"]:
        ET.SubElement(element, "geom", {"name": shape["name"], "class": kind} | _shape(shape))
    for shape in body["visual"]:
        paint = materials[text(shape["rgba"])]
        ET.SubElement(element, "geom", {"class": "visual", "material": paint} | _shape(shape))
    return element


def _shape(shape: Node) -> dict[str, str]:
    """type, size, pos, quat of a primitive."""
    attributes = {"type": shape["type"], "size": text(shape["size"]), "pos": text(shape["pos"])}
    if text(shape["quat"]) != "1 0 0 0":
        attributes["quat"] = text(shape["quat"])
    return attributes


def _tendons(root: ET.Element, figures: Node) -> None:
    """Limits on a linear combination of joints, as fixed tendons (coupled ankle linkages)."""
    limits = figures.get("coupled_limits")
    if not limits:
        return
    tendons = ET.SubElement(root, "tendon")
    for i, limit in enumerate(limits):
        numbers = {"range": limit["range"], "solreflimit": limit["solref"], "solimplimit": limit["solimp"]}
        attributes = {"name": f"coupled_limit{i}"} | {k: text(v) for k, v in numbers.items()}
        tendon = ET.SubElement(tendons, "fixed", attributes)
        for joint, coef in zip(limit["joints"], limit["coefs"], strict=True):
            ET.SubElement(tendon, "joint", joint=joint, coef=text(coef))


def _actuators(root: ET.Element, figures: Node, record: Node) -> None:
    """One motor per joint: torque = clip(kp (ctrl - q) - kd qd, +-torque_limit), ctrl in rad."""
    actuators = ET.SubElement(root, "actuator")
    for name in figures["joint_order"]:
        joint = record["joints"][name]
        kp, kd, limit = joint["kp"], joint["kd"], joint["torque_limit"]
        law = {"gainprm": text(kp), "biasprm": text([0, -kp, -kd]), "forcerange": text([-limit, limit])}
        ET.SubElement(actuators, "general", {"class": "robot", "name": name, "joint": name} | law)


def _keyframe(root: ET.Element, figures: Node, record: Node) -> None:
    """The spawn pose, for viewers."""
    joints = [record["joints"][name]["default"] for name in figures["joint_order"]]
    qpos = [*record["init_pos"], *record["init_quat"], *joints]
    ET.SubElement(ET.SubElement(root, "keyframe"), "key", name="spawn", qpos=text(qpos), ctrl=text(joints))


def main(argv: Sequence[str] | None = None) -> None:
    """Command line: read figures and record, write the MJCF."""
    parser = argparse.ArgumentParser(prog="python -m docs.scripts.build_robot", description=__doc__)
    parser.add_argument("figures", type=Path, help="YAML with the robot's figures")
    parser.add_argument("out", type=Path, help="MJCF to write; robot.yaml must lie beside it")
    args = parser.parse_args(argv)
    record = args.out.parent / "robot.yaml"
    for path in (args.figures, record):
        if not path.is_file():
            parser.error(f"there is no file {path}")
    model = mjcf(yaml.safe_load(args.figures.read_text()), yaml.safe_load(record.read_text()))
    args.out.write_text(model)


if __name__ == "__main__":
    main()
