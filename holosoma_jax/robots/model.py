"""A robot's model file, MJCF or URDF, as the robot alone: what a bridge adds a ground and actuators to.

Files from elsewhere bring a scene of their own. What belongs to it is left out, with one note each:
static geometry, lights, actuators that are not our PD law, sensors, keyframes. Contact pairs between
the robot and the file's ground become ordinary collisions with the same friction.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import mujoco

from holosoma_jax.config.errors import ConfigError

SUFFIXES = (".xml", ".mjcf", ".urdf")
LARGEST = 3.4028234663852886e38
"""the largest float32"""
UNLIMITED = math.pi
"""rad either side of zero: what soft limits and action bounds take for a hinge without a range"""
MARKER_MASS = 0.005
"""kg; a fixed leaf without collision shapes and no heavier than this marks a point"""


class RobotModel(NamedTuple):
    """A model file, read."""

    spec: mujoco.MjSpec
    """one tree of bodies, its root a child of the world with a free joint; no actuators"""
    servos: mujoco.MjModel | None
    """the compiled file if it has one affine actuator a hinge, in the order of the hinges: its gains count"""
    notes: tuple[str, ...]
    """what was left out or added, a line each"""


def read(path: Path, root_body: str) -> RobotModel:
    """The robot in `path`.

    Args:
      path: MJCF or URDF.
      root_body: the body that floats; needed where the file holds several trees.

    Raises:
      ConfigError: the file is not a model, or holds no such body.
    """
    spec, missing = parse(path)
    notes = [f"{len(missing)} meshes are missing and were only for looks"] if missing else []
    root = _root(spec, path, root_body)
    notes += _drop_scene(spec, root)
    if not root.joints:
        root.add_freejoint()
        notes.append(f"'{root.name}' is fixed to the world in the file; a free joint was added")
    for index, body in enumerate(spec.bodies[1:]):
        body.name = body.name or f"body_{index + 1}"
    servos, driven = _servos(spec, path)
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    if driven and servos is None:
        notes.append(f"{driven} actuators left out; robot.yaml gives gains and torque limits")
    return RobotModel(spec, servos, tuple(notes))


def free_of_pairs(spec: mujoco.MjSpec) -> None:
    """Leave out the contact pairs that are left: those between the robot's own links."""
    for pair in list(spec.pairs):
        spec.delete(pair)


def collides(model: mujoco.MjModel, geom: int) -> bool:
    """Whether the geom with this number collides with anything."""
    return bool(model.geom_contype[geom] or model.geom_conaffinity[geom])


def markers(model: mujoco.MjModel) -> frozenset[str]:
    """Names of the bodies that only mark a point, such as the sole under a foot.

    PhysX gains nothing from them: a link of a gram behind a fixed joint spoils the conditioning of its
    articulation, and importers give a link without a mass one of their own.
    """
    solid = {int(model.geom_bodyid[g]) for g in range(model.ngeom) if collides(model, g)}
    parents = {int(parent) for parent in model.body_parentid[1:]}
    return frozenset(
        model.body(b).name
        for b in range(1, model.nbody)
        if not model.body_jntnum[b] and b not in solid | parents and model.body_mass[b] <= MARKER_MASS
    )


def hangs_from(model: mujoco.MjModel, body: int, ancestors: set[int]) -> bool:
    """Whether `body` is one of `ancestors` or below one; all are body numbers of `model`."""
    while body and body not in ancestors:
        body = int(model.body_parentid[body])
    return body in ancestors


def parse(path: Path) -> tuple[mujoco.MjSpec, tuple[str, ...]]:
    """The whole file, without visual geoms whose mesh file is absent.

    Returns:
      The spec, not compiled, and the names of the absent meshes.

    Raises:
      ConfigError: the file is not a model, or the mesh of a collision geom is absent.
    """
    if path.suffix.lower() not in SUFFIXES:  # MuJoCo prints lines of its own about other files
        raise ConfigError(f"{path}: a robot's model ends in {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file.")
    try:
        if path.suffix.lower() == ".urdf":
            return _parse_urdf(path)
        spec = mujoco.MjSpec.from_file(str(path))
    except (ValueError, ET.ParseError) as error:
        raise ConfigError(f"{path}: MuJoCo rejects it: {' '.join(str(error).split())}") from None
    return spec, _drop_missing_meshes(spec, path)


def _parse_urdf(path: Path) -> tuple[mujoco.MjSpec, tuple[str, ...]]:
    """A URDF by MuJoCo's reader, told to keep the base link, fixed links and what is only for looks."""
    tree = ET.fromstring(path.read_bytes())
    extension = tree.find("mujoco")
    if extension is None:
        extension = ET.SubElement(tree, "mujoco")
    compiler = extension.find("compiler")
    if compiler is None:
        compiler = ET.SubElement(extension, "compiler")
    compiler.attrib |= {"fusestatic": "false", "discardvisual": "false", "strippath": "true"}
    folder = compiler.attrib.pop("meshdir", ".")
    assets, missing = {}, []
    for mesh in tree.iter("mesh"):
        name = mesh.get("filename", "").split("://")[-1]
        found = _find_mesh(path.parent, folder, name)
        if found is not None:
            assets[Path(name).name] = found.read_bytes()
    for link in tree.iter("link"):
        for kind in ("visual", "collision"):
            for element in link.findall(kind):
                mesh = element.find("geometry/mesh")
                if mesh is not None and Path(mesh.get("filename", "")).name not in assets:
                    if kind == "collision":
                        raise ValueError(
                            f"the mesh '{mesh.get('filename')}' of link '{link.get('name')}' is missing"
                        )
                    link.remove(element)
                    missing.append(mesh.get("filename", ""))
    return mujoco.MjSpec.from_string(ET.tostring(tree, encoding="unicode"), assets=assets), tuple(missing)


def _find_mesh(base: Path, folder: str, name: str) -> Path | None:
    """A mesh by its path in the file, below the URDF's folder, or beside it (`package://` names a folder above)."""
    parts = Path(name).parts
    tails = [Path(*parts[start:]) for start in range(len(parts))]
    places = [base / folder, base, base.parent, base / "meshes", base.parent / "meshes"]
    return next((p / t for t in tails for p in places if (p / t).is_file()), None)


def _drop_missing_meshes(spec: mujoco.MjSpec, path: Path) -> tuple[str, ...]:
    """Leave out meshes whose file is absent if they are only for looks; their names."""
    base = path.parent / (spec.meshdir or "")
    names = {mesh.name or Path(mesh.file).stem for mesh in spec.meshes if _absent(mesh, base, spec)}
    for geom in [g for g in spec.geoms if g.meshname in names]:
        if geom.contype or geom.conaffinity:
            raise ConfigError(f"{path}: the mesh '{geom.meshname}' of body '{geom.parent.name}' is missing.")
        spec.delete(geom)
    for mesh in [m for m in spec.meshes if (m.name or Path(m.file).stem) in names]:
        spec.delete(mesh)
    return tuple(sorted(names))


def _absent(mesh: mujoco.MjsMesh, base: Path, spec: mujoco.MjSpec) -> bool:
    if not mesh.file or mesh.file in spec.assets or Path(mesh.file).name in spec.assets:
        return False
    return not (base / mesh.file).is_file()


def _root(spec: mujoco.MjSpec, path: Path, root_body: str) -> mujoco.MjsBody:
    """The child of the world that is the robot."""
    tops = list(spec.worldbody.bodies)
    named = [body for body in tops if body.name == root_body]
    if named:
        return named[0]
    floating = [b for b in tops if any(j.type == mujoco.mjtJoint.mjJNT_FREE for j in b.joints)]
    if len(floating) == 1:
        return floating[0]
    names = ", ".join(f"'{body.name}'" for body in tops) or "none"
    raise ConfigError(f"{path}: root_body '{root_body}' is not among the bodies at its top: {names}.")


def _drop_scene(spec: mujoco.MjSpec, root: mujoco.MjsBody) -> list[str]:
    """Leave out all that is not the robot; its pairs with the ground become collisions."""
    notes = []
    ours = {geom.name for geom in spec.geoms if geom.name and _below(geom.parent, root)}
    for pair in list(spec.pairs):
        mine = [name for name in (pair.geomname1, pair.geomname2) if name in ours]
        if len(mine) == 2:
            continue  # between two links
        for name in mine:
            geom = spec.geom(name)
            slide, _, spin, roll, _ = pair.friction
            geom.contype = geom.conaffinity = 1
            geom.friction, geom.condim = [slide, spin, roll], pair.condim
            geom.solref, geom.solimp, geom.priority = pair.solref, pair.solimp, max(geom.priority, 1)
        spec.delete(pair)
    bodies = {body.name for body in spec.bodies if _below(body, root)}
    for exclude in list(spec.excludes):
        if not {exclude.bodyname1, exclude.bodyname2} <= bodies:
            spec.delete(exclude)
    static = [geom for geom in spec.worldbody.geoms]
    others = [body for body in spec.worldbody.bodies if body.name != root.name or body.id != root.id]
    lights = list(spec.worldbody.lights)
    for parts, what in (
        (static, "static geoms"),
        (others, "other bodies"),
        (lights, "lights"),
        (list(spec.sensors), "sensors"),
        (list(spec.keys), "keyframes"),
    ):
        if parts:
            names = ", ".join(f"'{part.name}'" for part in parts[:3] if part.name)
            notes.append(f"{len(parts)} {what} left out" + (f" ({names})" if names else ""))
        _delete(spec, parts)
    return notes


def _delete(spec: mujoco.MjSpec, parts: Iterable[object]) -> None:
    for part in list(parts):
        spec.delete(part)


def _below(body: mujoco.MjsBody, root: mujoco.MjsBody) -> bool:
    """Whether `body` is `root` or hangs from it."""
    while body is not None:
        if body.id == root.id:
            return True
        body = body.parent
    return False


def _servos(spec: mujoco.MjSpec, path: Path) -> tuple[mujoco.MjModel | None, int]:
    """The compiled file, if its actuators are one affine servo a hinge in order; and how many there are."""
    try:
        model = spec.compile()
    except ValueError as error:
        raise ConfigError(f"{path}: MuJoCo rejects it: {' '.join(str(error).split())}") from None
    hinges = [j for j in range(model.njnt) if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_HINGE]
    affine = (model.actuator_biastype == mujoco.mjtBias.mjBIAS_AFFINE).all()
    ordered = model.nu == len(hinges) and [int(j) for j in model.actuator_trnid[:, 0]] == hinges
    return (model if model.nu and affine and ordered else None), model.nu
