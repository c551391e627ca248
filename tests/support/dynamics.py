"""Kinematics and mass matrix of a tree of bodies, in NumPy, straight from the figures.

It shares nothing with the MJCF or its builder, so that the two can be compared. Angles in rad,
everything in the world frame; a generalised velocity is [root velocity (world) 3, root angular velocity
(root frame) 3, joint velocities J], as MuJoCo has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

DATA = Path(__file__).resolve().parents[1] / "data" / "robots"


def figures(name: str) -> dict[str, Any]:
    """The figures of robot `name`."""
    return yaml.safe_load((DATA / f"{name}.yaml").read_text())


class Frame(NamedTuple):
    """A body's origin [3], rotation [3, 3] (body to world), and Jacobian of both [6, 6 + J]."""

    pos: np.ndarray
    rot: np.ndarray
    jac: np.ndarray


def rotation(quat: Sequence[float]) -> np.ndarray:
    """Matrix [3, 3] of the quaternion w x y z (normalised here)."""
    w, x, y, z = np.asarray(quat) / np.linalg.norm(quat)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def about(axis: Sequence[float], angle: float) -> np.ndarray:
    """Rotation [3, 3] by `angle` about `axis` (Rodrigues)."""
    k = cross(np.asarray(axis) / np.linalg.norm(axis))
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def cross(v: np.ndarray) -> np.ndarray:
    """Matrix [3, 3] with cross(v) @ u = v x u."""
    return np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])


def kinematics(
    bodies: Sequence[Mapping[str, Any]], root_pos: np.ndarray, root_quat: np.ndarray, q: np.ndarray
) -> dict[str, Frame]:
    """Frames of all bodies; `q` [J] in the order in which the bodies carry their joints."""
    frames: dict[str, Frame] = {}
    joint = 0
    for body in bodies:
        if body["parent"] == "world":
            rot = rotation(root_quat)
            jac = np.zeros((6, 6 + len(q)))
            jac[:3, :3], jac[3:, 3:6] = np.eye(3), rot
            frames[body["name"]] = Frame(np.asarray(root_pos, float), rot, jac)
            continue
        parent = frames[body["parent"]]
        pos, rot = parent.pos + parent.rot @ body["pos"], parent.rot @ rotation(body["quat"])
        jac = shifted(parent, pos)
        if "joint" in body:
            anchor, axis = pos + rot @ body["joint"]["pos"], rot @ body["joint"]["axis"]
            rot = rot @ about(body["joint"]["axis"], q[joint])
            pos = anchor - rot @ body["joint"]["pos"]
            jac = shifted(parent, pos)
            jac[:, 6 + joint] += np.concatenate([np.cross(axis, pos - anchor), axis])
            joint += 1
        frames[body["name"]] = Frame(pos, rot, jac)
    return frames


def shifted(frame: Frame, point: np.ndarray) -> np.ndarray:
    """Jacobian [6, 6 + J] of a point [3] that moves with the body."""
    jac = frame.jac.copy()
    jac[:3] -= cross(point - frame.pos) @ frame.jac[3:]
    return jac


def tensor(inertia: Sequence[float]) -> np.ndarray:
    """[3, 3] from [xx, yy, zz, xy, xz, yz]."""
    xx, yy, zz, xy, xz, yz = inertia
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def mass_matrix(
    bodies: Sequence[Mapping[str, Any]], frames: Mapping[str, Frame], armature: np.ndarray
) -> np.ndarray:
    """[6 + J, 6 + J]: the sum over bodies of J^T diag(m, I) J at their centres of mass, plus armature."""
    total = np.diag(np.concatenate([np.zeros(6), armature]))
    for body in bodies:
        frame = frames[body["name"]]
        jac = shifted(frame, frame.pos + frame.rot @ body["com"])
        spin = frame.rot @ tensor(body["inertia"]) @ frame.rot.T
        total += body["mass"] * jac[:3].T @ jac[:3] + jac[3:].T @ spin @ jac[3:]
    return total
