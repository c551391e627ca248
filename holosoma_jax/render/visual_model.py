"""Which model is drawn for a robot, and how a simulated pose is put on it.

Physics uses plain shapes; people would rather see the real robot. Any MJCF whose joints have the
robot's names can be drawn in its place. Joints are matched by name, so their order does not matter;
joints the robot lacks (hands) rest at their initial pose; a root frame at another height is made up for.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np

AXIS_TOLERANCE = 0.9
"""least |cosine| between the axes of a joint in both models"""
PLACE_TOLERANCE = 0.15
"""m that a joint of the drawn model may be off from where the robot's is"""


class MisfitError(ValueError):
    """The model cannot stand for the robot; names the joint."""


class Figure(NamedTuple):
    """A model to draw, and where a robot's pose goes in it."""

    model: mujoco.MjModel
    root: int
    """address in qpos of the free joint"""
    columns: np.ndarray
    """[J] addresses in qpos of the robot's joints, in its order"""
    sign: np.ndarray
    """[J] +1, or -1 where the drawn joint turns the other way"""
    offset: np.ndarray
    """[3] m, origin of the drawn root in the robot's root frame"""


def figure(
    model: mujoco.MjModel, joint_names: Sequence[str], source: str, like: Path | None = None
) -> Figure:
    """How to pose `model` as the robot that has `joint_names`.

    Args:
      model: what is drawn; it may hold more than the robot.
      joint_names: the robot's, in its order.
      source: what `model` was made from, for errors.
      like: the robot's own MJCF, to be compared with; None if `model` is made from that.

    Raises:
      MisfitError: a joint is missing, or is another one than the robot's.
    """
    ids = [_joint(model, name, joint_names, source) for name in joint_names]
    columns = np.array([int(model.jnt_qposadr[i]) for i in ids], np.int64)
    root = _root(model, ids[0], source)
    if like is None:
        return Figure(model, root, columns, np.ones(len(ids)), np.zeros(3))
    own = figure(mujoco.MjModel.from_xml_path(str(like)), joint_names, str(like))
    (place, axis), (own_place, own_axis) = _rest(model, root, ids), _rest(own.model, own.root, _ids(own))
    cosine = np.sum(axis * own_axis, axis=1)
    for name, value in zip(joint_names, cosine, strict=True):
        if abs(value) < AXIS_TOLERANCE:
            angle = float(np.degrees(np.arccos(min(1.0, abs(float(value))))))
            raise MisfitError(
                f"{source}: joint '{name}' turns about another axis than the robot's, {angle:.0f} degrees off."
            )
    offset = np.median(own_place - place, axis=0)
    off = np.linalg.norm(own_place - place - offset, axis=1)
    worst = int(np.argmax(off))
    if off[worst] > PLACE_TOLERANCE:
        raise MisfitError(
            f"{source}: joint '{joint_names[worst]}' lies {off[worst]:.2f} m from where the robot has it; "
            "another robot, or another zero pose."
        )
    return Figure(model, root, columns, np.sign(cosine), offset)


def place(
    shown: Figure, data: mujoco.MjData, root_pos: np.ndarray, root_quat: np.ndarray, joint_pos: np.ndarray
) -> None:
    """Write a pose into `data.qpos`; kinematics are the caller's.

    Args:
      shown: the figure.
      data: of its model.
      root_pos: [3] m.
      root_quat: [4] w x y z.
      joint_pos: [J] rad, in the robot's order.
    """
    turned = np.zeros(3)
    mujoco.mju_rotVecQuat(turned, shown.offset, np.asarray(root_quat, np.float64))
    data.qpos[shown.root : shown.root + 7] = [*(root_pos + turned), *root_quat]
    data.qpos[shown.columns] = shown.sign * joint_pos


def check(path: Path, joint_names: Sequence[str], like: Path) -> None:
    """Make sure that the MJCF `path` can be drawn for the robot.

    Raises:
      MisfitError: it does not fit, or cannot be read; one line.
    """
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        free_root(spec, joint_names, str(path))
        for key in spec.keys:  # of the model as it was
            spec.delete(key)
        model = spec.compile()
    except MisfitError:
        raise
    except (ValueError, OSError) as error:
        raise MisfitError(
            f"{path}: not a model that MuJoCo can load: {' '.join(str(error).split())}"
        ) from None
    figure(model, joint_names, str(path), like)


def free_root(spec: mujoco.MjSpec, joint_names: Sequence[str], source: str) -> mujoco.MjsBody:
    """The body that carries the robot's joints, given a free joint where it has none.

    Raises:
      MisfitError: no body of `spec` has the robot's first joint.
    """
    for body in spec.worldbody.bodies:
        names = [joint.name for part in (body, *body.find_all("body")) for joint in part.joints]
        if joint_names[0] in names:
            if not any(joint.type == mujoco.mjtJoint.mjJNT_FREE for joint in body.joints):
                if body.joints:
                    raise MisfitError(
                        f"{source}: joint '{body.joints[0].name}' holds '{body.name}' to the world; "
                        "the robot's root has to be free."
                    )
                body.add_freejoint()
            return body
    every = [joint.name for joint in spec.joints if joint.name]
    raise MisfitError(_missing(joint_names[0], every, joint_names, source))


def _joint(model: mujoco.MjModel, name: str, wanted: Sequence[str], source: str) -> int:
    found = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name)
    if found < 0:
        every = [model.joint(i).name for i in range(model.njnt)]
        raise MisfitError(_missing(name, every, wanted, source))
    if model.jnt_type[found] != mujoco.mjtJoint.mjJNT_HINGE:
        raise MisfitError(f"{source}: joint '{name}' is not a hinge, as the robot's is.")
    return found


def _missing(name: str, every: Sequence[str], wanted: Sequence[str], source: str) -> str:
    near = get_close_matches(name, [other for other in every if other not in wanted], n=1)
    hint = f" Is it '{near[0]}'? Names have to be the same." if near else ""
    return f"{source}: the robot's joint '{name}' is not among its {len(every)}.{hint}"


def _root(model: mujoco.MjModel, joint: int, source: str) -> int:
    body = int(model.body_rootid[model.jnt_bodyid[joint]])
    first = int(model.body_jntadr[body])
    if first < 0 or model.jnt_type[first] != mujoco.mjtJoint.mjJNT_FREE:
        raise MisfitError(f"{source}: '{model.body(body).name}' has no free joint; give it a <freejoint/>.")
    return int(model.jnt_qposadr[first])


def _ids(shown: Figure) -> list[int]:
    joint_of = {int(address): joint for joint, address in enumerate(shown.model.jnt_qposadr)}
    return [joint_of[int(column)] for column in shown.columns]


def _rest(model: mujoco.MjModel, root: int, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Anchors [J, 3] m and axes [J, 3] of joints in the root frame, all of them at zero."""
    data = mujoco.MjData(model)
    data.qpos[root : root + 7] = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    data.qpos[[int(model.jnt_qposadr[i]) for i in ids]] = 0.0
    mujoco.mj_kinematics(model, data)
    return data.xanchor[ids].copy(), data.xaxis[ids].copy()
