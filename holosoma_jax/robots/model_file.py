"""A robot's model file as MuJoCo's spec: MJCF or URDF, without what is only for looks and cannot be read."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import mujoco

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.robots import model_size
from holosoma_jax.robots.model_size import MOST_BODIES

SUFFIXES = (".xml", ".mjcf", ".urdf")
MESHES = (".stl", ".obj", ".msh")
"""Formats that MuJoCo reads"""


def parse(path: Path) -> tuple[mujoco.MjSpec, tuple[str, ...]]:
    """The whole file, without meshes, textures and skins that are only for looks and whose file is absent.

    Returns:
      The spec, not compiled, and the names of the absent files.

    Raises:
      ConfigError: the file is not a model, is too large, or the mesh of a collision geom is absent.
    """
    if path.suffix.lower() not in SUFFIXES:  # MuJoCo prints lines of its own about other files
        raise ConfigError(f"{path}: a robot's model ends in {', '.join(SUFFIXES)}.")
    try:
        model_size.require(path)
        if path.suffix.lower() == ".urdf":
            spec, missing = _parse_urdf(path)
        else:
            spec = mujoco.MjSpec.from_file(str(path))
            missing = _drop_missing(spec, path)
        _ = spec.worldbody.geoms  # names given twice are reported when a list is first asked for
    except (ValueError, OSError, LookupError, ET.ParseError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: MuJoCo rejects it: {' '.join(str(error).split())}") from None
    if len(spec.bodies) > MOST_BODIES:
        raise ConfigError(f"{path}: holds {len(spec.bodies)} bodies; at most {MOST_BODIES} are read.")
    return spec, missing


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
    names: dict[Path, str] = {}
    missing = []
    for link in tree.iter("link"):
        for kind in ("visual", "collision"):
            for element in link.findall(kind):
                mesh = element.find("geometry/mesh")
                if mesh is None:
                    continue
                wanted = mesh.get("filename", "")
                found = _find_mesh(path.parent, folder, wanted.split("://")[-1])
                if found is not None and found.suffix.lower() in MESHES:
                    mesh.set("filename", names.setdefault(found, _unused(found.name, names)))
                elif kind == "collision":
                    what = "is missing" if found is None else f"is none of {', '.join(MESHES)}"
                    raise ValueError(f"the mesh '{wanted}' of link '{link.get('name')}' {what}")
                else:
                    link.remove(element)
                    missing.append(wanted)
    assets = {name: found.read_bytes() for found, name in names.items()}
    return mujoco.MjSpec.from_string(ET.tostring(tree, encoding="unicode"), assets=assets), tuple(missing)


def _unused(name: str, names: dict[Path, str]) -> str:
    """`name`, or one like it that no other file has: MuJoCo's reader knows meshes by their last part."""
    taken = {Path(other).stem.lower() for other in names.values()}
    return name if Path(name).stem.lower() not in taken else f"{len(names)}_{name}"


def _find_mesh(base: Path, folder: str, name: str) -> Path | None:
    """A mesh by its path in the file, below the URDF's folder, or beside it (`package://` names a folder above)."""
    parts = Path(name).parts
    tails = [Path(*parts[start:]) for start in range(len(parts))]
    places = [base / folder, base, base.parent, base / "meshes", base.parent / "meshes"]
    return next((p / t for t in tails for p in places if (p / t).is_file()), None)


def _drop_missing(spec: mujoco.MjSpec, path: Path) -> tuple[str, ...]:
    """Leave out meshes, textures and skins whose file is absent if they are only for looks; their names."""
    base = path.parent / (spec.meshdir or "")
    names = {mesh.name or Path(mesh.file).stem for mesh in spec.meshes if _absent(mesh.file, base, spec)}
    for geom in [g for g in spec.geoms if g.meshname in names]:
        scenery = geom.parent == spec.worldbody
        if not scenery and (geom.contype or geom.conaffinity):
            raise ConfigError(f"{path}: the mesh '{geom.meshname}' of body '{geom.parent.name}' is missing.")
        spec.delete(geom)
    for mesh in [m for m in spec.meshes if (m.name or Path(m.file).stem) in names]:
        spec.delete(mesh)
    for skin in [s for s in spec.skins if _absent(s.file, base, spec)]:
        names.add(skin.name or skin.file)
        spec.delete(skin)
    base = path.parent / (spec.texturedir or "")
    lost = [t for t in spec.textures if any(_absent(file, base, spec) for file in (t.file, *t.cubefiles))]
    names |= {texture.name or texture.file for texture in lost}
    drop_textures(spec, lost)
    return tuple(sorted(names))


def drop_textures(spec: mujoco.MjSpec, textures: list[mujoco.MjsTexture]) -> None:
    """Leave out `textures`; materials keep their colour."""
    gone = {texture.name or Path(texture.file).stem for texture in textures}
    for material in spec.materials:
        material.textures = ["" if name in gone else name for name in material.textures]
    for texture in textures:
        spec.delete(texture)


def _absent(file: str, base: Path, spec: mujoco.MjSpec) -> bool:
    name = Path(file).name if spec.strippath else file
    if not file or file in spec.assets or Path(file).name in spec.assets:
        return False
    return not (base / name).is_file()
