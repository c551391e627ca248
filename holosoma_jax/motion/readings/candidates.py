"""Readings: the trajectories that one file may mean, over its joint orders, quaternion orders and units."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.motion import rotations
from holosoma_jax.motion.formats.qpos import euler_to_quaternion
from holosoma_jax.motion.formats.raw import Raw, StoredBodies
from holosoma_jax.motion.kinematics import Skeleton
from holosoma_jax.robots.joint_order import plain_name


class Labels(NamedTuple):
    """The choices that make a reading."""

    joint_order: str
    """names, robot, isaac"""
    quaternion: str
    """wxyz, xyzw, or a kind of Euler angles"""
    units: str
    body_order: str
    """names, robot, isaac; '' where the file stores no bodies"""

    def text(self) -> str:
        """As messages show them."""
        parts = [f"joint order {self.joint_order}", f"quaternion {self.quaternion}"]
        parts += [f"units {self.units}"] if self.units != "m rad" else []
        parts += [f"bodies {self.body_order}"] if self.body_order else []
        return ", ".join(parts)


class Reading(NamedTuple):
    """A trajectory with nothing left open."""

    labels: Labels
    qpos: np.ndarray
    """[T, 7 + J] in the robot's order"""
    columns: dict[str, int]
    """the robot's joint -> its column in the file"""
    rows: dict[str, int]
    """the robot's body -> its row among the stored ones"""


def all_labels(raw: Raw, maps: Mapping[str, dict[str, int]]) -> Iterator[Labels]:
    """Every combination of choices that the file leaves open, the format's own convention first."""
    bodies: tuple[str, ...] = ("",)
    if raw.bodies is not None:
        bodies = ("names",) if raw.bodies.names else ("isaac", "robot")
    for joint, quaternion, units, body in itertools.product(maps, raw.quaternion, raw.units, bodies):
        yield Labels(joint, quaternion, units, body)


def joint_maps(raw: Raw, skeleton: Skeleton) -> tuple[dict[str, dict[str, int]], tuple[str, ...]]:
    """Joint order -> (the robot's joint -> column), and what has to be said about missing ones."""
    robot, width = skeleton.robot, raw.joint_pos.shape[1]
    if raw.joint_names is not None:
        if len(raw.joint_names) != width:
            raise ConfigError(
                f"{raw.file}: names {len(raw.joint_names)} joints, but has {width} joint columns."
            )
        places = {plain_name(n): i for i, n in enumerate(raw.joint_names)}
        columns = {n: places[plain_name(n)] for n in robot.joint_names if plain_name(n) in places}
        missing = [n for n in robot.joint_names if n not in columns]
        legs = {n for foot in robot.feet_bodies for n in skeleton.joints_above(foot)}
        if absent := [n for n in missing if n in legs]:
            raise ConfigError(
                f"{raw.file}: has no joint '{absent[0]}', which robot '{robot.name}' has in a leg."
                f"{nearest(absent[0], raw.joint_names)} Name another robot with --robot."
            )
        known = {plain_name(n) for n in robot.joint_names}
        extra = [n for n in raw.joint_names if plain_name(n) not in known]
        ignored = (f"not joints of '{robot.name}', ignored: {', '.join(extra)}",) if extra else ()
        return {"names": columns}, (*_missing_note(missing, width), *ignored)
    present = list(robot.joint_names)
    if width != len(present):
        subsets = (
            [n for n in present if "wrist" not in n.lower()],
            [n for n in present if "wrist_pitch" not in n.lower() and "wrist_yaw" not in n.lower()],
        )
        fitting = [s for s in subsets if len(s) == width]
        if not fitting:
            sizes = sorted({len(s) for s in subsets} | {len(present)})
            raise ConfigError(
                f"{raw.file}: has {width} nameless joint columns; robot '{robot.name}' has {len(present)} joints "
                f"(known: {', '.join(map(str, sizes))}). Name another robot with --robot."
            )
        present = fitting[0]
    breadth_first = [n for n in skeleton.breadth_first_joints if n in present]
    orders = {"robot": present, "isaac": breadth_first}
    missing = [n for n in robot.joint_names if n not in present]
    return (
        {order: {n: i for i, n in enumerate(orders[order])} for order in raw.joint_orders},
        _missing_note(missing, width),
    )


def coordinates(
    raw: Raw, skeleton: Skeleton, labels: Labels, columns: Mapping[str, int], frames: np.ndarray
) -> np.ndarray:
    """Coordinates [len(frames), 7 + J] of one reading."""
    length, angle = labels.units.split()
    metres, radians = (0.01 if length == "cm" else 1.0), (np.pi / 180.0 if angle == "deg" else 1.0)
    robot = skeleton.robot
    joints = np.tile(np.asarray(robot.default_joint_pos, np.float64), (len(frames), 1))
    places = [robot.joint_names.index(n) for n in columns]
    joints[:, places] = radians * raw.joint_pos[frames][:, list(columns.values())]
    quat = orientation(raw.root_rot[frames], labels.quaternion, radians)
    qpos = np.concatenate([metres * raw.root_pos[frames], quat, joints], 1)
    if raw.root_body is None:
        return qpos
    if raw.root_body not in robot.body_names:
        raise ConfigError(
            f"{raw.file}: its poses are of body '{raw.root_body}', which robot '{robot.name}' does not have."
            f"{nearest(raw.root_body, robot.body_names)}"
        )
    return skeleton.carried_by(raw.root_body, qpos)


def orientation(stored: np.ndarray, kind: str, radians: float = 1.0) -> np.ndarray:
    """Stored orientations as unit quaternions w x y z [T, ..., 4].

    Args:
      stored: [T, ..., 4] quaternions, or [T, 3] Euler angles.
      kind: of `Labels.quaternion`.
      radians: per unit of the angles.
    """
    if kind == "euler xyz":  # about the fixed axes x, y, z in turn: R = Rz Ry Rx
        x, y, z = np.moveaxis(radians * stored, -1, 0)
        about_y = rotations.multiply(rotations.about(1, y), rotations.about(0, x))
        return rotations.multiply(rotations.about(2, z), about_y)
    if kind.startswith("tilt"):
        return euler_to_quaternion(stored, kind)
    quat = stored if kind == "wxyz" else stored[..., [3, 0, 1, 2]]
    return quat / np.linalg.norm(quat, axis=-1, keepdims=True)


def body_rows(stored: StoredBodies, skeleton: Skeleton, order: str) -> dict[str, int]:
    """The robot's body -> row among the stored ones; nameless ones of another number match none."""
    names, count = skeleton.robot.body_names, stored.pos.shape[1]
    if stored.names is not None:
        return {n: stored.names.index(n) for n in names if n in stored.names}
    if count == len(skeleton.links):
        bodies = skeleton.links if order == "robot" else skeleton.breadth_first_links
        return {names[b]: i for i, b in enumerate(bodies)}
    if count == len(names) and order == "robot":
        return {n: i for i, n in enumerate(names)}
    return {}


def _missing_note(missing: list[str], width: int) -> tuple[str, ...]:
    if not missing:
        return ()
    return (f"{width} joints in the file; at the default pose: {', '.join(missing)}",)
