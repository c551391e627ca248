"""npz clips made of generalised coordinates: OmniRetarget, holosoma_retargeting, loco-mujoco."""

from __future__ import annotations

import itertools

import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import rotations
from holosoma_jax.motion.formats.raw import UNIT_TOLERANCE, Fields, Raw, StoredBodies, unit

ZERO_HEIGHT = 0.755
"""m, the pelvis of loco-mujoco's unitree_g1/g1.xml at zero coordinates"""


def qpos_only(fields: Fields, name: str) -> Raw:
    """OmniRetarget (quaternion first) and holosoma_retargeting (position first), told by unit length."""
    file, qpos = fields.file, fields.array("qpos", None, None)
    width = qpos.shape[1]
    if width < 8:
        raise ConfigError(f"{file}: qpos has {width} columns; expected 7 of the root and one for each joint.")

    def is_unit(columns: slice) -> bool:
        return bool((np.abs(np.linalg.norm(qpos[:, columns], axis=1) - 1.0) < UNIT_TOLERANCE).all())

    first, second = is_unit(slice(0, 4)), is_unit(slice(3, 7))
    if first == second:
        state = "both of" if first else "neither of"
        raise ConfigError(
            f"{file}: qpos: {state} columns 0:4 (OmniRetarget) and 3:7 (holosoma_retargeting) hold unit "
            "quaternions in every frame, so the root's layout is not known."
        )
    retargeting = "human_joints" in fields or "cost" in fields
    pos, rot = (qpos[:, 4:7], qpos[:, 0:4]) if first else (qpos[:, 0:3], qpos[:, 3:7])
    names = fields.names("joint_names") if "joint_names" in fields else None
    object_pos = object_quat = None
    joints = qpos[:, 7:]
    if width == 7 + 29 + 7:  # a tracked object's pose comes last
        joints, tail = qpos[:, 7:-7], qpos[:, -7:]
        object_quat, object_pos = (tail[:, :4], tail[:, 4:]) if first else (tail[:, 3:], tail[:, :3])
        unit(file, "qpos (the object's quaternion)", object_quat)
    return Raw(
        file=file,
        format="holosoma_retargeting npz" if retargeting or second else "OmniRetarget npz",
        name=name,
        fps=fields.required_fps() if "fps" in fields else None,
        root_pos=pos,
        root_rot=rot,
        joint_pos=joints,
        joint_names=names,
        quaternion=("wxyz", "xyzw"),
        object_pos=object_pos,
        object_quat=object_quat,
    )


def loco_mujoco_old(fields: Fields, name: str) -> Raw:
    """One array a coordinate; the pelvis slides along x, y, z and turns about three hinges in turn.

    loco-mujoco's G1 counts the height from where its model's pelvis is at zero, `ZERO_HEIGHT`.
    """
    frames = len(fields.array("q_pelvis_tx", None))
    root = {k: fields.array(f"q_pelvis_{k}", frames) for k in ("tx", "tz", "ty", "tilt", "list", "rotation")}
    height, notes = root["ty"], ()
    if np.median(height) < 0.5 * ZERO_HEIGHT:
        height, notes = (
            height + ZERO_HEIGHT,
            (f"q_pelvis_ty counts from {ZERO_HEIGHT} m, the model's own height",),
        )
    skipped = {f"q_pelvis_{k}" for k in root}
    keys = [k for k in fields.values if k.startswith("q_") and k not in skipped]
    if not keys:
        raise ConfigError(f"{fields.file}: has a pelvis, but no joint 'q_<joint>'.")
    joint_pos = np.stack([fields.array(key, frames) for key in keys], 1)
    fps = next((fields.fps(key) for key in ("frequency", "fps") if key in fields), None)
    return Raw(
        file=fields.file,
        format="loco-mujoco npz (one array a coordinate)",
        name=name,
        fps=fps,
        root_pos=np.stack([root["tx"], root["tz"], height], 1),
        root_rot=np.stack([root["tilt"], root["list"], root["rotation"]], 1),
        joint_pos=joint_pos,
        joint_names=tuple(key.removeprefix("q_") for key in keys),
        quaternion=("tilt-list-rotation", "tilt-list-rotation, tilt reversed"),
        notes=notes,
    )


def loco_mujoco_new(fields: Fields, name: str) -> list[Raw]:
    """Trajectories one behind the other, cut at `split_points`; MuJoCo's own coordinates."""
    file, qpos = fields.file, fields.array("qpos", None, None)
    stated = fields.array("split_points", None)
    splits = stated.astype(int)
    if (
        (splits != stated).any()
        or len(splits) < 2
        or splits[0] != 0
        or splits[-1] != len(qpos)
        or (np.diff(splits) <= 0).any()
    ):
        raise ConfigError(
            f"{file}: split_points is {stated.tolist()}; expected rising numbers from 0 to the {len(qpos)} frames."
        )
    names = fields.names("joint_names") if "joint_names" in fields else None
    if names and len(names) == qpos.shape[1] - 6:  # the root's free joint is one of the names
        names = names[1:]
    fps = fields.fps("frequency")
    pos, quat = fields.optional("xpos", len(qpos), None, 3), fields.optional("xquat", len(qpos), None, 4)
    labels = fields.names("body_names") if "body_names" in fields else None
    rot = unit(file, "qpos[:, 3:7]", qpos[:, 3:7])
    clips = []
    for k, (first, last) in enumerate(itertools.pairwise(splits)):
        part = slice(first, last)
        bodies = None
        if pos is not None and labels is not None:
            bodies = StoredBodies(labels, pos[part], None if quat is None else quat[part])
        clips.append(
            Raw(
                file=file,
                format="loco-mujoco npz",
                name=name if len(splits) == 2 else f"{name}_{k}",
                fps=fps,
                root_pos=qpos[part, :3],
                root_rot=rot[part],
                joint_pos=qpos[part, 7:],
                joint_names=names,
                quaternion=("wxyz", "xyzw"),
                bodies=bodies,
            )
        )
    return clips


def euler_to_quaternion(angles: np.ndarray, kind: str) -> np.ndarray:
    """loco-mujoco's pelvis hinges [T, 3] as quaternions: about -y, then x, then z, each in the turned frame.

    'reversed' in `kind` turns the first about y.
    """
    tilt, list_, rotation = angles.T
    sign = 1.0 if "reversed" in kind else -1.0
    about_y, about_x = rotations.about(1, sign * tilt), rotations.about(0, list_)
    return rotations.multiply(rotations.multiply(about_y, about_x), rotations.about(2, rotation))
