"""The model file that a robot is drawn with, reduced to what is drawn: the robot's bodies, geoms and joints.

Model files hold more than a drawing needs, and parts of it refer to other files: contact pairs name the floor
of a scene file, sensors and cameras name bodies beside the robot. All of that is removed before compilation.
The same spec is checked when the command starts and drawn later.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import mujoco

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.robots import model_file

REMOVED = (
    "pairs", "excludes", "equalities", "tendons", "actuators", "sensors", "keys", "tuples", "lights", "cameras",
    "sites",
)  # fmt: skip
"""Lists of a spec that a drawing needs nothing of, those first that refer to others"""
DRAWN_GROUPS = (0, 1, 2)
"""Geom groups that MuJoCo's viewers show by default"""
HIDDEN_GROUP = 3


class MisfitError(ValueError):
    """The model cannot be drawn in the robot's place; names the joint or the file."""


def read(
    path: Path, joint_names: Sequence[str], *, complete: bool = False
) -> tuple[mujoco.MjSpec, mujoco.MjsBody]:
    """The robot of an MJCF or URDF file, with a free root, and nothing else.

    Args:
      path: the file.
      joint_names: the robot's; the body that carries them is kept.
      complete: whether an absent mesh file is an error; otherwise its geoms are not drawn.

    Returns:
      The spec, not compiled, and its root body.

    Raises:
      MisfitError: MuJoCo cannot read the file, or it has no such robot; one line.
    """
    try:
        spec, missing = model_file.parse(path)
    except ConfigError as error:
        raise MisfitError(str(error)) from None
    if missing and complete:
        raise MisfitError(f"{path}: the file of '{missing[0]}', which it draws, is missing.")
    root = _root(spec, joint_names, str(path))
    for name in REMOVED:
        for part in list(getattr(spec, name)):
            spec.delete(part)
    for part in (*spec.worldbody.geoms, *(body for body in spec.worldbody.bodies if body.name != root.name)):
        spec.delete(part)
    for hfield in list(spec.hfields):
        spec.delete(hfield)
    for texture in list(spec.textures):
        if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            spec.delete(texture)
    if not any(joint.type == mujoco.mjtJoint.mjJNT_FREE for joint in root.joints):
        root.add_freejoint()
    _hide_collision_geoms(spec)
    plain = mujoco.MjSpec()
    spec.visual, spec.stat, spec.option = plain.visual, plain.stat, plain.option
    spec.compiler.discardvisual = spec.compiler.fusestatic = False
    # Nothing is stepped: masses that MuJoCo would reject do not matter.
    spec.compiler.balanceinertia = True
    spec.compiler.boundmass, spec.compiler.boundinertia = 1e-3, 1e-6
    return spec, root


def compile_model(spec: mujoco.MjSpec, path: Path) -> mujoco.MjModel:
    """The compiled model.

    Raises:
      MisfitError: MuJoCo cannot compile it (a mesh is missing, say); one line.
    """
    try:
        return spec.compile()
    except (ValueError, OSError) as error:
        raise MisfitError(f"{path}: MuJoCo rejects it: {' '.join(str(error).split())}") from None


def missing_joint(name: str, present: Sequence[str], joint_names: Sequence[str], source: str) -> MisfitError:
    """The one line for the robot's joint `name`, which is not among those `present`."""
    near = get_close_matches(name, [other for other in present if other not in joint_names], n=1)
    hint = f" Is it '{near[0]}'? Names have to be the same." if near else ""
    return MisfitError(f"{source}: the robot's joint '{name}' is not among its {len(present)}.{hint}")


def _root(spec: mujoco.MjSpec, joint_names: Sequence[str], source: str) -> mujoco.MjsBody:
    """The body below the world that carries the robot's joints."""
    for body in spec.worldbody.bodies:
        names = [joint.name for part in (body, *body.find_all("body")) for joint in part.joints]
        if joint_names[0] not in names:
            continue
        held = [joint for joint in body.joints if joint.type != mujoco.mjtJoint.mjJNT_FREE]
        if held:
            raise MisfitError(
                f"{source}: joint '{held[0].name}' connects '{body.name}' to the world; the robot's root has to "
                "be free."
            )
        if not body.name:
            body.name = "root of the robot"
        return body
    present = [joint.name for joint in spec.joints if joint.name]
    raise missing_joint(joint_names[0], present, joint_names, source)


def _hide_collision_geoms(spec: mujoco.MjSpec) -> None:
    """Leave one shape of each body in the groups that are drawn.

    Bodies that have geoms without collision (what is meant to be seen) hide the others. A model whose geoms
    are all in hidden groups has no such geoms; then all are drawn.
    """
    geoms = list(spec.geoms)
    if not any(geom.group in DRAWN_GROUPS for geom in geoms):
        for geom in geoms:
            geom.group = 0
        return
    for body in spec.bodies:
        drawn = [geom for geom in body.geoms if geom.group in DRAWN_GROUPS]
        colliding = [geom for geom in drawn if geom.contype or geom.conaffinity]
        if len(colliding) < len(drawn):
            for geom in colliding:
                geom.group = HIDDEN_GROUP
