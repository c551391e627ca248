"""A robot's model file, MJCF or URDF, as the robot alone: what a bridge adds a ground and actuators to.

Files from elsewhere bring a scene of their own. What belongs to it is left out, with one note each:
static geometry, lights, actuators that are not our PD law, sensors, keyframes, what ties the robot to the world, and
physics options: rates, gravity and the solver are the config's, for every simulator. Contact pairs between the robot
and the file's ground become ordinary collisions with the same friction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.robots.model_file import drop_textures, parse

LARGEST = 3.4028234663852886e38
"""the largest float32"""
OPTIONS = (
    "gravity", "wind", "magnetic", "density", "viscosity", "disableflags", "enableflags", "disableactuator",
)  # fmt: skip
"""Options that change what is simulated, not only how precisely"""
SIZES = ("memory", "nuserdata", "njmax", "nconmax", "nstack")
UNLIMITED = math.pi
"""rad either side of zero: what soft limits and action bounds take for a hinge without a range"""
MARKER_MASS = 0.005
"""kg; a fixed leaf without collision shapes and no heavier than this marks a point"""


class RobotModel(NamedTuple):
    """A model file, read."""

    spec: mujoco.MjSpec
    """one tree of bodies, its root a child of the world with a free joint; no actuators"""
    servos: mujoco.MjModel | None
    """the compiled file if it has one position servo a hinge, in the order of the hinges: its gains count"""
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
    try:
        return _read(path, root_body)
    except ConfigError:
        raise
    except ValueError as error:  # MuJoCo finds some faults when a list is asked for, others when it compiles
        raise ConfigError(f"{path}: MuJoCo rejects it: {' '.join(str(error).split())}") from None


def _read(path: Path, root_body: str) -> RobotModel:
    spec, missing = parse(path)
    notes = [f"{len(missing)} files are missing and were only for looks ({missing[0]})"] if missing else []
    notes += _reset_options(spec)
    root = _root(spec, path, root_body)
    notes += _drop_scene(spec, root)
    if not root.joints:
        root.add_freejoint()
        notes.append(f"'{root.name}' is fixed to the world in the file; a free joint was added")
    for index, body in enumerate(spec.bodies[1:]):
        body.name = body.name or f"body_{index + 1}"
    _require_dissipation(spec, path)
    servos, driven = _servos(spec)
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    if driven and servos is None:
        notes.append(f"{driven} actuators left out; robot.yaml gives gains and torque limits")
    return RobotModel(spec, servos, tuple(notes))


def _require_dissipation(spec: mujoco.MjSpec, path: Path) -> None:
    """Refuse joints that gain energy or have a negative inertia; MuJoCo takes them, the latter with a warning.

    Raises:
      ConfigError: names the joint and what is negative.
    """
    for joint in spec.joints:
        for name in ("armature", "damping", "frictionloss", "stiffness"):
            value = np.atleast_1d(getattr(joint, name))
            if not (value >= 0).all():
                raise ConfigError(
                    f"{path}: {name} of joint '{joint.name}' is {value.min():g}, wanted 0 or more."
                )


def _reset_options(spec: mujoco.MjSpec) -> list[str]:
    """MuJoCo's own options and sizes in the place of the file's; a note on those that change the physics."""
    plain = mujoco.MjSpec()
    changed = [name for name in OPTIONS if np.any(getattr(spec.option, name) != getattr(plain.option, name))]
    spec.option = plain.option
    for name in SIZES:
        setattr(spec, name, getattr(plain, name))
    return [f"<option>: {', '.join(changed)} left out; physics is the config's"] if changed else []


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
    sites = {site.name for site in spec.sites if _below(site.parent, root)}
    places = {mujoco.mjtObj.mjOBJ_BODY: bodies, mujoco.mjtObj.mjOBJ_SITE: sites}
    ties = [e for e in spec.equalities if e.objtype in places and not {e.name1, e.name2} <= places[e.objtype]]
    watching = [
        part for part in (*spec.cameras, *spec.lights) if part.targetbody and part.targetbody not in bodies
    ]
    _delete(spec, watching)
    static = [geom for geom in spec.worldbody.geoms]
    others = [body for body in spec.worldbody.bodies if body != root]
    lights = list(spec.worldbody.lights)
    for parts, what in (
        (ties, "constraints to the world"),
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
    drop_textures(spec, list(spec.textures))
    _delete(spec, [*spec.skins, *spec.hfields])
    return notes


def _delete(spec: mujoco.MjSpec, parts: Iterable[object]) -> None:
    for part in list(parts):
        spec.delete(part)


def _below(body: mujoco.MjsBody, root: mujoco.MjsBody) -> bool:
    """Whether `body` is `root` or hangs from it."""
    while body is not None:
        if body == root:  # ids are all -1 before the file is compiled
            return True
        body = body.parent
    return False


def _servos(spec: mujoco.MjSpec) -> tuple[mujoco.MjModel | None, int]:
    """The compiled file, if its actuators are one position servo a hinge in order; and how many there are."""
    model = spec.compile()
    hinges = [j for j in range(model.njnt) if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_HINGE]
    affine = (model.actuator_biastype == mujoco.mjtBias.mjBIAS_AFFINE).all()
    # Others, a velocity servo or one behind a gear, have numbers at these places, too, which mean something else.
    gain, bias = model.actuator_gainprm[:, 0], model.actuator_biasprm[:, 1]
    position = np.allclose(gain, -bias) and (gain > 0).all() and (model.actuator_gear[:, 0] == 1).all()
    ordered = model.nu == len(hinges) and [int(j) for j in model.actuator_trnid[:, 0]] == hinges
    return (model if model.nu and affine and position and ordered else None), model.nu
