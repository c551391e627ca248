"""Putting a simulated pose on the model that is drawn.

Physics uses plain shapes; a drawing can use any model whose joints have the robot's names. Joints are matched
by name, so their order does not matter; joints that the robot lacks (hands) rest at their initial pose; a root
frame at another place and joints that turn the other way are converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np

from holosoma_jax.render import visual_spec
from holosoma_jax.render.visual_spec import MisfitError

AXIS_TOLERANCE = 0.9
"""least |cosine| between the axes of a joint in both models"""
PLACE_TOLERANCE = 0.15
"""m that a joint of the drawn model may be off from where the robot's is"""


class VisualModel(NamedTuple):
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

    @property
    def root_body(self) -> int:
        """Index of the body that the free joint moves."""
        joint = int(np.flatnonzero(self.model.jnt_qposadr == self.root)[0])
        return int(self.model.jnt_bodyid[joint])


def bind(
    model: mujoco.MjModel, joint_names: Sequence[str], source: Path, own_mjcf: Path | None = None
) -> VisualModel:
    """How to pose `model` as the robot that has `joint_names`.

    Args:
      model: what is drawn; it may hold more than the robot.
      joint_names: the robot's, in its order.
      source: the file that `model` was made from, for errors.
      own_mjcf: the robot's own MJCF, to be compared with; None if `model` is made from that.

    Raises:
      MisfitError: a joint is missing, or is another one than the robot's.
    """
    ids = [_joint(model, name, joint_names, str(source)) for name in joint_names]
    columns = np.array([int(model.jnt_qposadr[i]) for i in ids], np.int64)
    root = _root(model, ids[0], str(source))
    if own_mjcf is None:
        return VisualModel(model, root, columns, np.ones(len(ids)), np.zeros(3))
    spec, _ = visual_spec.read(own_mjcf, joint_names)
    own = bind(visual_spec.compile_model(spec, own_mjcf), joint_names, own_mjcf)
    anchors, axes = _rest(model, root, ids)
    own_anchors, own_axes = _rest(own.model, own.root, _ids(own))
    cosine = np.sum(axes * own_axes, axis=1)
    for name, value in zip(joint_names, cosine, strict=True):
        if abs(value) < AXIS_TOLERANCE:
            angle = float(np.degrees(np.arccos(min(1.0, abs(float(value))))))
            raise MisfitError(
                f"{source}: joint '{name}' turns about another axis than the robot's, {angle:.0f} degrees off."
            )
    offset = np.median(own_anchors - anchors, axis=0)
    distance = np.linalg.norm(own_anchors - anchors - offset, axis=1)
    worst = int(np.argmax(distance))
    if distance[worst] > PLACE_TOLERANCE:
        raise MisfitError(
            f"{source}: joint '{joint_names[worst]}' lies {distance[worst]:.2f} m from where the robot has it; "
            "another robot, or another zero pose."
        )
    return VisualModel(model, root, columns, np.sign(cosine), offset)


def set_pose(
    visual: VisualModel,
    data: mujoco.MjData,
    root_pos: np.ndarray,
    root_quat: np.ndarray,
    joint_pos: np.ndarray,
) -> None:
    """Write a pose into `data.qpos` and compute where bodies and geoms are.

    Args:
      visual: the model with its addresses.
      data: of its model.
      root_pos: [3] m.
      root_quat: [4] w x y z.
      joint_pos: [J] rad, in the robot's order.
    """
    turned = np.zeros(3)
    mujoco.mju_rotVecQuat(turned, visual.offset, np.asarray(root_quat, np.float64))
    data.qpos[visual.root : visual.root + 7] = [*(root_pos + turned), *root_quat]
    data.qpos[visual.columns] = visual.sign * joint_pos
    mujoco.mj_kinematics(visual.model, data)
    mujoco.mj_comPos(visual.model, data)  # tracking cameras and lights need it
    mujoco.mj_camlight(visual.model, data)


def height_above_root(visual: VisualModel, data: mujoco.MjData) -> float:
    """M from the root up to the highest point that is drawn of the posed robot."""
    model, height = visual.model, float(data.xpos[visual.root_body, 2])
    drawn = (model.geom_bodyid > 0) & np.isin(model.geom_group, visual_spec.DRAWN_GROUPS)
    top = data.geom_xpos[drawn, 2] + model.geom_rbound[drawn]
    return float(top.max(initial=height) - height)


def _joint(model: mujoco.MjModel, name: str, joint_names: Sequence[str], source: str) -> int:
    found = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name)
    if found < 0:
        present = [model.joint(i).name for i in range(model.njnt)]
        raise visual_spec.missing_joint(name, present, joint_names, source)
    if model.jnt_type[found] != mujoco.mjtJoint.mjJNT_HINGE:
        raise MisfitError(f"{source}: joint '{name}' is not a hinge, as the robot's is.")
    return found


def _root(model: mujoco.MjModel, joint: int, source: str) -> int:
    body = int(model.body_rootid[model.jnt_bodyid[joint]])
    first = int(model.body_jntadr[body])
    if first < 0 or model.jnt_type[first] != mujoco.mjtJoint.mjJNT_FREE:
        raise MisfitError(f"{source}: '{model.body(body).name}' has no free joint; give it a <freejoint/>.")
    return int(model.jnt_qposadr[first])


def _ids(visual: VisualModel) -> list[int]:
    joint_of = {int(address): joint for joint, address in enumerate(visual.model.jnt_qposadr)}
    return [joint_of[int(column)] for column in visual.columns]


def _rest(model: mujoco.MjModel, root: int, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Anchors [J, 3] m and axes [J, 3] of joints in the root frame, all of them at zero."""
    data = mujoco.MjData(model)
    data.qpos[root : root + 7] = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    data.qpos[[int(model.jnt_qposadr[i]) for i in ids]] = 0.0
    mujoco.mj_kinematics(model, data)
    return data.xanchor[ids].copy(), data.xaxis[ids].copy()
