"""A robot's URDF and a ground as a MuJoCo model, one an environment, so that parameters can differ."""

import xml.etree.ElementTree as ET

import mujoco
import numpy as np


class Asset:
    """What the importer makes of a URDF: names in its own order, and shapes per body.

    Every link becomes a body, as fixed joints are not collapsed [stubs]; only joints that turn have a DOF [assumed].
    """

    def __init__(self, path, options):
        self.options, root = options, ET.parse(path).getroot()
        self.links = {link.get("name"): link for link in root.iter("link")}
        self.joints = {joint.find("child").get("link"): joint for joint in root.iter("joint")}
        (self.base,) = [name for name in self.links if name not in self.joints]
        self.bodies, self.dofs, self.shapes = [], [], []  # names; names; index ranges in the order of bodies
        self._walk(self.base)
        for name in self.bodies:
            link = self.links[name]
            mass = link.find("inertial/mass")
            if mass is None and not options.override_inertia:
                raise ValueError(f"link {name} has no mass: the importer invents one [assumed]")
            count = len(link.findall("collision"))
            self.shapes.append((self.shapes[-1][0] + self.shapes[-1][1] if self.shapes else 0, count))

    def _walk(self, name):
        """Depth first, children in reverse: no order that a bridge could take for its own [test].

        [holosoma] requires of its own robots that the importer's order is that of its config.
        """
        self.bodies.append(name)
        joint = self.joints.get(name)
        if joint is not None and joint.get("type") in ("revolute", "continuous"):
            self.dofs.append(joint.get("name"))
        children = [child for child, joint in self.joints.items() if joint.find("parent").get("link") == name]
        for child in reversed(children):
            self._walk(child)

    def build(self, sim):
        """The model of one environment of `sim`."""
        top = ET.Element("mujoco")
        ET.SubElement(top, "compiler", angle="radian", autolimits="true", eulerseq="XYZ")
        option = ET.SubElement(
            top, "option", timestep=str(sim.params.dt), gravity=_text(sim.gravity), cone="pyramidal"
        )
        # bounding boxes hang on inertial frames, which move when parameters are set [test]
        ET.SubElement(option, "flag", autoreset="disable", midphase="disable")
        world = ET.SubElement(top, "worldbody")
        ground = {"name": "ground", "contype": "2", "conaffinity": "1"}
        if sim.mesh is None:
            ET.SubElement(world, "geom", type="plane", size="0 0 1", **ground)
        else:
            heights, cell, corner = sim.mesh
            half, low = (np.array(heights.shape) - 1) * cell / 2, heights.min()
            span = max(np.ptp(heights), 1e-6)
            assets = ET.SubElement(top, "asset")
            size = _text([*half, span, 1.0])
            rows, cols = heights.shape
            ET.SubElement(assets, "hfield", name="ground", nrow=str(cols), ncol=str(rows), size=size)
            place = _text([*(np.array(corner) + half), low])
            ET.SubElement(world, "geom", type="hfield", hfield="ground", pos=place, **ground)
        self._body(world, self.base, None)
        model = mujoco.MjModel.from_xml_string(ET.tostring(top, encoding="unicode"))
        if sim.mesh is not None:
            model.hfield_data[:] = ((sim.mesh[0] - low) / span).T.ravel()
        return model

    def _body(self, parent, name, joint):
        body = ET.SubElement(parent, "body", name=name)
        if joint is None:
            ET.SubElement(body, "freejoint", name="base")
        else:
            _place(body, joint.find("origin"))
            if joint.get("type") != "fixed":
                limit, element = (
                    joint.find("limit"),
                    {"name": joint.get("name"), "axis": joint.find("axis").get("xyz")},
                )
                if joint.get("type") == "revolute":
                    element["range"] = f"{limit.get('lower')} {limit.get('upper')}"
                ET.SubElement(body, "joint", **element)
        link = self.links[name]
        inertia, mass = link.find("inertial/inertia"), link.find("inertial/mass")
        inertial = ET.SubElement(
            body, "inertial", mass=mass.get("value"), pos=link.find("inertial/origin").get("xyz")
        )
        inertial.set(
            "fullinertia", " ".join(inertia.get(k) for k in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz"))
        )
        for collision in link.findall("collision"):
            (shape,) = collision.find("geometry")
            # [test] The robot's priority: its friction is that of the contact (`Gym.set_actor_rigid_shape_properties`).
            geom = ET.SubElement(
                body, "geom", contype="1", conaffinity="2", priority="1", **self._size(shape)
            )
            _place(geom, collision.find("origin"))
        for child, child_joint in self.joints.items():
            if child_joint.find("parent").get("link") == name:
                self._body(body, child, child_joint)

    def _size(self, shape):
        if shape.tag == "box":
            return {"type": "box", "size": _text(0.5 * np.array(shape.get("size").split(), float))}
        if shape.tag == "sphere":
            return {"type": "sphere", "size": shape.get("radius")}
        # [stubs]; that the capsule's middle part has the cylinder's length: [assumed]
        kind = "capsule" if self.options.replace_cylinder_with_capsule else "cylinder"
        return {"type": kind, "size": f"{shape.get('radius')} {0.5 * float(shape.get('length'))}"}


def grid(vertices, triangles):
    """Heights [rows, cols], cell and corner of a mesh over a regular grid whose cells are split from low to high.

    MuJoCo collides a mesh as its convex hull, which a ground is not; hence height fields only [test].
    """
    points = np.asarray(vertices, np.float64).reshape(-1, 3)
    cols = int(np.flatnonzero(np.diff(points[:, 0]) > 0)[0]) + 1
    rows = len(points) // cols
    heights, cell = points[:, 2].reshape(rows, cols), points[1, 1] - points[0, 1]
    number = np.arange(rows * cols).reshape(rows, cols)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    wanted = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    found = np.asarray(triangles, np.int64).reshape(-1, 3)
    if not np.array_equal(np.sort(found, 1), np.sort(wanted, 1)):
        raise ValueError("not the triangles of a grid, cell by cell")
    p, q, r = points[found].swapaxes(0, 1)
    if not (np.cross(q - p, r - p)[:, 2] > 0).all():
        raise ValueError("triangles must face upwards")  # [assumed]
    return heights, cell, tuple(points[0, :2])


def _place(element, origin):
    """URDF's roll, pitch and yaw are about fixed axes (wiki.ros.org/urdf/XML): MuJoCo's eulerseq XYZ."""
    element.set("pos", origin.get("xyz", "0 0 0"))
    element.set("euler", origin.get("rpy", "0 0 0"))


def _text(values):
    return " ".join(repr(float(value)) for value in values)
