"""Writing clips as holosoma's and as mjlab's npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from holosoma_jax.files import replacing
from holosoma_jax.motion.clip import Clip
from holosoma_jax.motion.kinematics import Skeleton

FORMATS = ("holosoma", "mjlab", "compact")
COMPACT = ("fps", "joint_pos", "joint_names", "contact", "object_pos_w", "object_quat_w", "terrain")
"""of holosoma's arrays, those from which the others are computed"""


def write(path: Path, clip: Clip, skeleton: Skeleton, to: str = "holosoma") -> Path:
    """Write `clip` as compressed npz, atomically; float32.

    Velocities are those of frame origins, in the world frame. holosoma's layout has the root's state in
    front of the joints', and names; mjlab's has neither, the robot's order, and the bodies that a joint
    moves. 'compact' is holosoma's layout without bodies and velocities, which only this package reads.

    Args:
      path: the file; its folder is created.
      clip: of the skeleton's robot.
      skeleton: of the robot.
      to: one of `FORMATS`.

    Raises:
      OSError: it cannot be written.
    """
    if to == "compact":
        whole = as_holosoma(clip)
        arrays = {k: whole[k] for k in COMPACT if k in whole}
    else:
        arrays = as_mjlab(clip, skeleton) if to == "mjlab" else as_holosoma(clip)
    with replacing(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
    return path


def as_holosoma(clip: Clip) -> dict[str, np.ndarray]:
    """The arrays of holosoma's npz."""
    arrays = {
        "fps": _rate(clip.fps),
        "joint_pos": clip.qpos,
        "joint_vel": np.concatenate([clip.root_vel, clip.joint_vel], 1),
        **_bodies(clip, list(range(len(clip.body_names)))),
        "joint_names": np.array(clip.joint_names),
        "body_names": np.array(clip.body_names),
    }
    arrays |= _object(clip)
    if clip.terrain is not None:
        arrays["terrain"] = np.array(clip.terrain)
    if clip.contact is not None:
        arrays["contact"] = clip.contact
    return _single(arrays)


def as_mjlab(clip: Clip, skeleton: Skeleton) -> dict[str, np.ndarray]:
    """The arrays of mjlab's npz, which has no names: joints and bodies in the robot's order."""
    arrays = {
        "fps": _rate(clip.fps),
        "joint_pos": clip.joint_pos,
        "joint_vel": clip.joint_vel,
        **_bodies(clip, list(skeleton.links)),
        **_object(clip),
    }
    return _single(arrays)


def _object(clip: Clip) -> dict[str, np.ndarray]:
    """Holosoma's names; mjlab has none for an object, and ignores what it does not know."""
    if clip.object_pos is None or clip.object_quat is None or clip.object_lin_vel is None:
        return {}
    return {
        "object_pos_w": clip.object_pos,
        "object_quat_w": clip.object_quat,
        "object_lin_vel_w": clip.object_lin_vel,
    }


def _bodies(clip: Clip, rows: list[int]) -> dict[str, np.ndarray]:
    return {
        "body_pos_w": clip.body_pos[:, rows],
        "body_quat_w": clip.body_quat[:, rows],
        "body_lin_vel_w": clip.body_lin_vel[:, rows],
        "body_ang_vel_w": clip.body_ang_vel[:, rows],
    }


def _rate(fps: float) -> np.ndarray:
    """[1]; an integer wherever it is one, as both formats have it."""
    return np.array([round(fps)]) if float(fps).is_integer() else np.array([fps], np.float64)


def _single(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k: v.astype(np.float32) if v.dtype.kind == "f" and k != "fps" else v for k, v in arrays.items()}
