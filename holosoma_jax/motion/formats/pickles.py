"""Pickled clips: GMR, TWIST; PHC, ASAP, PBHC, SONIC's motion library; MimicKit; PHUMA's and ami-iit's npy of a dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import rotations
from holosoma_jax.motion.formats.raw import Fields, Raw, StoredBodies, unit

KNOWN = (
    "GMR or TWIST (root_pos, root_rot, dof_pos), PHUMA (root_trans, root_ori, dof_pos), PHC, ASAP or PBHC "
    "(root_trans_offset), MimicKit (frames, loop_mode), ami-iit (joints_list)"
)


def parse(file: str, value: Any, name: str) -> list[Raw]:
    """The clips in the unpickled `value`.

    Raises:
      ConfigError: it is of no known format, or an array is faulty.
    """
    if (read := _reader(value)) is not None:
        return [read(Fields(file, value), name)]
    held = type(value).__name__
    items: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        held = ", ".join(map(str, list(value)[:8])) or "nothing"
        items = [(str(k), v) for k, v in value.items()]
    elif isinstance(value, list | tuple):
        held = f"{held} of {len(value)}"
        items = [(f"{name}_{i}", v) for i, v in enumerate(value)]
    clips = [read(Fields(f"{file}: {key}", v), key) for key, v in items if (read := _reader(v)) is not None]
    if clips:
        return clips
    raise ConfigError(f"{file}: holds {held}, which is no known motion format. Known pickles: {KNOWN}.")


def _reader(value: Any) -> Callable[[Fields, str], Raw] | None:
    """What reads `value`, if it is one clip; told by its keys."""
    if not isinstance(value, Mapping):
        return None
    if "root_trans_offset" in value:
        return _phc
    if "root_pos" in value and "dof_pos" in value:
        return _gmr
    if "root_trans" in value and "root_ori" in value:
        return _phuma
    if "frames" in value and "loop_mode" in value:
        return _mimickit
    return _ami if "joints_list" in value else None


def _gmr(fields: Fields, name: str) -> Raw:
    root_pos = fields.array("root_pos", None, 3)
    frames = len(root_pos)
    root_rot = fields.array("root_rot", frames, 4)
    unit(fields.file, "root_rot", root_rot)
    bodies = None
    if "local_body_pos" in fields and "link_body_list" in fields:
        names = fields.names("link_body_list")
        bodies = StoredBodies(names, fields.array("local_body_pos", frames, len(names), 3), local=True)
    return Raw(
        file=fields.file,
        format="GMR pickle",
        name=name,
        fps=fields.fps(),
        root_pos=root_pos,
        root_rot=root_rot,
        joint_pos=fields.array("dof_pos", frames, None),
        joint_names=fields.names("joint_names") if "joint_names" in fields else None,
        bodies=bodies,
    )


def _phuma(fields: Fields, name: str) -> Raw:
    root_pos = fields.array("root_trans", None, 3)
    root_rot = unit(fields.file, "root_ori", fields.array("root_ori", len(root_pos), 4))
    return Raw(
        file=fields.file,
        format="PHUMA npy",
        name=name,
        fps=fields.fps(),
        root_pos=root_pos,
        root_rot=root_rot,
        joint_pos=fields.array("dof_pos", len(root_pos), None),
    )


def _mimickit(fields: Fields, name: str) -> Raw:
    """Rows of the root's position, its rotation vector, and joints."""
    rows = fields.array("frames", None, None)
    if rows.shape[1] < 7:
        raise ConfigError(
            f"{fields.file}: frames has {rows.shape[1]} columns; expected 6 and one for each joint."
        )
    return Raw(
        file=fields.file,
        format="MimicKit pickle",
        name=name,
        fps=fields.fps(),
        root_pos=rows[:, :3],
        root_rot=rotations.from_rotvec(rows[:, 3:6]),
        joint_pos=rows[:, 6:],
        quaternion=("wxyz",),
    )


def _phc(fields: Fields, name: str) -> Raw:
    """The root's rotation is stored twice, as `root_rot` and as the rotation vector `pose_aa[:, 0]`."""
    root_pos = fields.array("root_trans_offset", None, 3)
    frames = len(root_pos)
    order, notes = ("xyzw", "wxyz"), ()
    pose = fields.optional("pose_aa", frames, None, 3)
    if pose is not None and not pose.shape[1]:
        raise ConfigError(
            f"{fields.file}: pose_aa has shape {list(pose.shape)}: it has no joint, not even the root."
        )
    if "root_rot" in fields:
        root_rot = fields.array("root_rot", frames, 4)
        unit(fields.file, "root_rot", root_rot)
        if pose is not None:
            order = tuple(
                o for o in order if _agree(root_rot if o == "wxyz" else root_rot[:, [3, 0, 1, 2]], pose[:, 0])
            )
            if not order:
                raise ConfigError(
                    f"{fields.file}: root_rot and pose_aa[:, 0] are different rotations, whichever order the "
                    "quaternion has; one of them is damaged."
                )
            notes = (f"pose_aa[:, 0] agrees with root_rot read as {order[0]}",)
    elif pose is not None:
        root_rot, order = rotations.from_rotvec(pose[:, 0]), ("wxyz",)
        notes = ("root orientation from pose_aa[:, 0]",)
    else:
        raise ConfigError(f"{fields.file}: lacks 'root_rot' and 'pose_aa': the root has no orientation.")
    return Raw(
        file=fields.file,
        format="PHC pickle",
        name=name,
        fps=fields.fps(),
        root_pos=root_pos,
        root_rot=root_rot,
        joint_pos=_dof(fields, frames),
        quaternion=order,
        contact=fields.labels("contact_mask", frames) if "contact_mask" in fields else None,
        notes=notes,
    )


def _dof(fields: Fields, frames: int) -> np.ndarray:
    """`dof` [T, J], of which some writers make [T, J, 1]."""
    if np.ndim(fields.values["dof"] if "dof" in fields else 0.0) == 3:
        return fields.array("dof", frames, None, 1)[..., 0]
    return fields.array("dof", frames, None)


def _ami(fields: Fields, name: str) -> Raw:
    names = fields.names("joints_list")
    root_pos = fields.array("root_position", None, 3)
    root_rot = fields.array("root_quaternion", len(root_pos), 4)
    unit(fields.file, "root_quaternion", root_rot)
    return Raw(
        file=fields.file,
        format="ami-iit npy",
        name=name,
        fps=fields.fps(),
        root_pos=root_pos,
        root_rot=root_rot,
        joint_pos=fields.array("joint_positions", len(root_pos), len(names)),
        joint_names=names,
    )


def _agree(quat: np.ndarray, rotvec: np.ndarray) -> bool:
    off = rotations.multiply(quat, rotations.conjugate(rotations.from_rotvec(rotvec)))
    return bool(np.median(np.linalg.norm(rotations.to_rotvec(off), axis=1)) < 0.02)
