"""The orders in which programs number a robot's joints, and what their names have in common."""

from __future__ import annotations

import mujoco

from holosoma_jax.robots import model as robot_model
from holosoma_jax.robots.robot import Robot


def plain_name(name: str) -> str:
    """A joint's or body's name without what formats add or leave out."""
    name = name.rpartition("/")[2]  # "robot/left_knee_joint", as MuJoCo names what is attached
    return name.lower().removesuffix("_joint").removesuffix("_link")


def breadth_first(robot: Robot) -> tuple[str, ...]:
    """The joints level by level from the root, as PhysX numbers them: the order of Isaac Lab's policies."""
    spec = robot_model.read(robot.mjcf, robot.root_body).spec
    level, names = [spec.body(robot.root_body)], []
    while level:
        names += [joint.name for body in level for joint in body.joints if _is_hinge(joint)]
        level = [child for body in level for child in body.bodies]
    return tuple(names)


def _is_hinge(joint: mujoco.MjsJoint) -> bool:
    return joint.type != mujoco.mjtJoint.mjJNT_FREE
