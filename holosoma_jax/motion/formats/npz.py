"""npz clips: holosoma, BeyondMimic, mjlab, HDMI, HoloMotion, Isaac Lab AMP, loco-mujoco, OmniRetarget, recordings."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion.formats import qpos
from holosoma_jax.motion.formats.raw import Fields, Raw, StoredBodies, frame_time, require_frames, unit

RECORDING = "_metadata_json"
KNOWN = (
    "holosoma (joint_names, body_names), BeyondMimic or mjlab (joint_pos, body_pos_w), Isaac Lab AMP (dof_names), "
    "HoloMotion (ref_dof_pos), OmniRetarget or holosoma_retargeting (qpos), loco-mujoco (q_pelvis_tx, or qpos and "
    "split_points), or a recording of eval --record"
)


def parse(fields: Fields, name: str) -> list[Raw]:
    """The clips of an npz.

    Args:
      fields: its arrays.
      name: of the clip.

    Raises:
      ConfigError: the keys are of no known format, or an array is faulty.
    """
    if RECORDING in fields:
        return [_recording(fields, name)]
    if "dof_names" in fields:
        return [_isaac_amp(fields, name)]
    if "q_pelvis_tx" in fields:
        return [qpos.loco_mujoco_old(fields, name)]
    if "qpos" in fields and "split_points" in fields:
        return qpos.loco_mujoco_new(fields, name)
    if "qpos" in fields:
        return [qpos.qpos_only(fields, name)]
    for prefix in ("ref_", ""):
        if f"{prefix}dof_pos" in fields and f"{prefix}global_translation" in fields:
            return [_holomotion(fields, name, prefix)]
    if "joint_pos" in fields and ("joint_names" in fields or "body_names" in fields):
        return [_named(fields, name)]
    if "joint_pos" in fields and "body_pos_w" in fields:
        return [_nameless(fields, name)]
    keys = ", ".join(sorted(fields.values)[:8])
    raise ConfigError(f"{fields.file}: holds {keys}, which is no known motion format. Known: {KNOWN}.")


def _named(fields: Fields, name: str) -> Raw:
    """holosoma: the root's state in front of the joints'."""
    file = fields.file
    joint_names = fields.names("joint_names") if "joint_names" in fields else None
    joint_pos = fields.array("joint_pos", None, None)
    bodies = _bodies(fields, fields.names("body_names") if "body_names" in fields else None)
    joints = len(joint_names) if joint_names else joint_pos.shape[1] - 7
    if joint_pos.shape[1] not in (joints, joints + 7):
        raise ConfigError(
            f"{file}: joint_pos has {joint_pos.shape[1]} columns, but joint_names has {joints} names; expected "
            f"{joints + 7} (root position, root quaternion, joints) or {joints}."
        )
    frames = len(joint_pos)
    joint_vel = fields.optional("joint_vel", frames, joint_pos.shape[1] - (joint_pos.shape[1] != joints))
    facts: dict[str, Any] = {
        "name": name,
        "fps": fields.required_fps(),
        "joint_names": joint_names,
        "quaternion": ("wxyz", "xyzw"),
        "bodies": bodies,
        "contact": _contact(fields, frames),
        "terrain": fields.word("terrain"),
        **_object(fields, frames),
    }
    if joint_pos.shape[1] == joints:
        if bodies is None:
            raise ConfigError(f"{file}: lacks 'body_pos_w', and joint_pos has no columns for the root.")
        return _rooted_in_bodies(fields, "mjlab npz with names", joint_pos, joint_vel, bodies, facts)
    return Raw(
        file=file,
        format="holosoma npz",
        root_pos=joint_pos[:, :3],
        root_rot=unit(file, "joint_pos[:, 3:7]", joint_pos[:, 3:7]),
        joint_pos=joint_pos[:, 7:],
        joint_vel=None if joint_vel is None else joint_vel[:, 6:],
        root_vel=None if joint_vel is None else joint_vel[:, :6],
        **facts,
    )


def _nameless(fields: Fields, name: str) -> Raw:
    """BeyondMimic (breadth-first) and mjlab (the robot's order) write the same keys."""
    joint_pos = fields.array("joint_pos", None, None)
    frames = len(joint_pos)
    bodies = _bodies(fields, None)
    assert bodies is not None  # parse has seen body_pos_w
    if bodies.quat is None:
        raise ConfigError(f"{fields.file}: lacks 'body_quat_w', which holds the root's orientation.")
    facts: dict[str, Any] = {
        "name": name,
        "fps": fields.required_fps(),
        "quaternion": ("wxyz", "xyzw"),
        "joint_orders": ("isaac", "robot"),
        "conventional": False,
        "bodies": bodies,
        "contact": _contact(fields, frames),
        **_object(fields, frames),
    }
    joint_vel = fields.optional("joint_vel", frames, joint_pos.shape[1])
    return _rooted_in_bodies(fields, "BeyondMimic or mjlab npz", joint_pos, joint_vel, bodies, facts)


def _rooted_in_bodies(
    fields: Fields,
    kind: str,
    joint_pos: np.ndarray,
    joint_vel: np.ndarray | None,
    bodies: StoredBodies,
    facts: dict[str, Any],
) -> Raw:
    """The root is the first body; with names, the pelvis's row is found by the caller's robot."""
    file = fields.file
    require_frames(file, len(joint_pos), {"body_pos_w": bodies.pos, "body_quat_w": bodies.quat})
    _require_a_body(file, "body_pos_w", bodies.pos)
    if bodies.quat is None:
        raise ConfigError(f"{file}: lacks 'body_quat_w', which holds the root's orientation.")
    row = _root_row(bodies.names)
    return Raw(
        file=file,
        format=kind,
        root_pos=bodies.pos[:, row],
        root_rot=bodies.quat[:, row],
        joint_pos=joint_pos,
        joint_vel=joint_vel,
        **facts,
    )


def _holomotion(fields: Fields, name: str, prefix: str) -> Raw:
    """HoloMotion: joints and bodies without names, in the order of the URDF; facts as JSON under `metadata`."""
    joint_pos = fields.array(f"{prefix}dof_pos", None, None)
    pos = fields.array(f"{prefix}global_translation", len(joint_pos), None, 3)
    _require_a_body(fields.file, f"{prefix}global_translation", pos)
    key = f"{prefix}global_rotation_quat"
    quat = unit(fields.file, key, fields.array(key, *pos.shape[:2], 4))
    try:
        facts = json.loads(fields.word("metadata") or "{}")
    except (ValueError, RecursionError):
        facts = {}
    stated = Fields(f"{fields.file}: metadata", facts if isinstance(facts, dict) else {})
    return Raw(
        file=fields.file,
        format="HoloMotion npz",
        name=name,
        fps=stated.fps("motion_fps"),
        root_pos=pos[:, 0],
        root_rot=quat[:, 0],
        joint_pos=joint_pos,
        joint_vel=fields.optional(f"{prefix}dof_vel", *joint_pos.shape),
        bodies=StoredBodies(None, pos, quat),
    )


def _require_a_body(file: str, key: str, pos: np.ndarray) -> None:
    """Raise ConfigError unless `pos` [T, B, 3] has a body, whose pose is the root's."""
    if not pos.shape[1]:
        raise ConfigError(f"{file}: {key} has shape {list(pos.shape)}: it has no body, not even the root.")


def _isaac_amp(fields: Fields, name: str) -> Raw:
    joint_names, body_names = fields.names("dof_names"), fields.names("body_names")
    joint_pos = fields.array("dof_positions", None, len(joint_names))
    frames, count = len(joint_pos), len(body_names)
    pos = fields.array("body_positions", frames, count, 3)
    quat = unit(fields.file, "body_rotations", fields.array("body_rotations", frames, count, 4))
    return Raw(
        file=fields.file,
        format="Isaac Lab AMP npz",
        name=name,
        fps=fields.required_fps(),
        root_pos=pos[:, _root_row(body_names)],
        root_rot=quat[:, _root_row(body_names)],
        joint_pos=joint_pos,
        joint_names=joint_names,
        quaternion=("wxyz", "xyzw"),
        joint_vel=fields.optional("dof_velocities", frames, len(joint_names)),
        bodies=StoredBodies(body_names, pos, quat),
    )


def _recording(fields: Fields, name: str) -> Raw:
    """What `eval --record` writes."""
    file = fields.file
    try:
        document = json.loads(str(fields.values[RECORDING]))
        if not isinstance(document, dict):
            raise ValueError(f"a mapping was expected, it is a {type(document).__name__}")
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: {RECORDING} is not what a recording holds ({error}).") from None
    stated = Fields(f"{file}: {RECORDING}", document)
    joint_names, body_names = stated.names("joint_names"), stated.names("body_names")
    joint_pos = fields.array("joint_pos", None, len(joint_names))
    frames, count = len(joint_pos), len(body_names)
    pos = fields.optional("body_pos", frames, count, 3)
    quat = fields.optional("body_quat", frames, count, 4)
    box = _object(fields, frames, "object_pos", "object_quat")
    notes: tuple[str, ...] = ()
    if (
        "episode_start" in fields
        and (starts := np.flatnonzero(fields.array("episode_start", frames)[1:])).size
    ):
        notes = (
            f"{starts.size} resets within the recording, the first at frame {starts[0] + 1}: cut with --range",
        )
    return Raw(
        file=file,
        format="recording",
        name=name,
        fps=frame_time(file, f"{RECORDING}: dt", document.get("dt")),
        root_pos=fields.array("root_pos", frames, 3),
        root_rot=unit(file, "root_quat", fields.array("root_quat", frames, 4)),
        joint_pos=joint_pos,
        joint_names=joint_names,
        quaternion=("wxyz", "xyzw"),
        joint_vel=fields.optional("joint_vel", frames, len(joint_names)),
        bodies=None if pos is None else StoredBodies(body_names, pos, quat),
        notes=notes,
        **box,
    )


def _bodies(fields: Fields, names: tuple[str, ...] | None) -> StoredBodies | None:
    if "body_pos_w" not in fields:
        return None
    pos = fields.array("body_pos_w", None, len(names) if names else None, 3)
    shape = pos.shape[:2]
    quat = fields.optional("body_quat_w", *shape, 4)
    if quat is not None:
        unit(fields.file, "body_quat_w", quat)
    linear, angular = (fields.optional(f"body_{k}_vel_w", *shape, 3) for k in ("lin", "ang"))
    return StoredBodies(names, pos, quat, linear, angular)


def _root_row(names: tuple[str, ...] | None) -> int:
    """The row of the root body: by the names that our robots' roots have, or the first."""
    return next((names.index(n) for n in ("pelvis", "Trunk") if n in names), 0) if names else 0


def _object(
    fields: Fields, frames: int, place: str = "object_pos_w", attitude: str = "object_quat_w"
) -> dict[str, Any]:
    quat = fields.optional(attitude, frames, 4)
    if quat is not None:
        unit(fields.file, attitude, quat)
    pos = fields.optional(place, frames, 3)
    if (pos is None) != (quat is None):
        there, lacks = (attitude, place) if pos is None else (place, attitude)
        raise ConfigError(f"{fields.file}: has '{there}' but not '{lacks}'; an object needs both.")
    return {"object_pos": pos, "object_quat": quat}


def _contact(fields: Fields, frames: int) -> np.ndarray | None:
    key = next((k for k in ("contact", "foot_contact", "contact_mask") if k in fields), None)
    return None if key is None else fields.labels(key, frames)
