"""A motion file of every format, written from one clip; layouts are those of docs/motions.md."""

from __future__ import annotations

import json
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from holosoma_jax.motion import Clip, Skeleton, rotations
from tests.support.joblib_pickle import joblib_bytes

XYZW = [1, 2, 3, 0]
NO_WRISTS = "wrist"


class Written(NamedTuple):
    """One way to write a clip."""

    write: Callable[[Path, Clip, Skeleton], Path]
    format: str
    """how reading names it"""
    joint_order: str
    quaternion: str
    fps: float | None = None
    """what reading takes, where the file states none"""


def breadth_first(skeleton: Skeleton, joints: np.ndarray) -> np.ndarray:
    names = skeleton.robot.joint_names
    return joints[:, [names.index(n) for n in skeleton.breadth_first_joints]]


def bodies(clip: Clip, rows: tuple[int, ...]) -> dict[str, np.ndarray]:
    rows_ = list(rows)
    return {
        "body_pos_w": clip.body_pos[:, rows_],
        "body_quat_w": clip.body_quat[:, rows_],
        "body_lin_vel_w": clip.body_lin_vel[:, rows_],
        "body_ang_vel_w": clip.body_ang_vel[:, rows_],
    }


def holosoma(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    """With the world as body 0, as holosoma's own clips have it, and without the foot markers."""
    rows = skeleton.links
    held = bodies(clip, rows)
    for key, array in held.items():
        world = np.zeros_like(array[:, :1])
        world[..., 0] = 1.0 if key == "body_quat_w" else 0.0
        held[key] = np.concatenate([world, array], 1)
    np.savez(
        path,
        fps=np.array([round(clip.fps)]),
        joint_pos=clip.qpos,
        joint_vel=np.concatenate([clip.root_vel, clip.joint_vel], 1),
        joint_names=np.array(clip.joint_names),
        body_names=np.array(["world", *(clip.body_names[r] for r in rows)]),
        **held,
    )
    return path


def beyond_mimic(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    np.savez(
        path,
        fps=np.array([clip.fps]),
        joint_pos=breadth_first(skeleton, clip.joint_pos),
        joint_vel=breadth_first(skeleton, clip.joint_vel),
        **bodies(clip, skeleton.breadth_first_links),
    )
    return path


def mjlab(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    np.savez(
        path,
        fps=np.array([clip.fps]),
        joint_pos=clip.joint_pos,
        joint_vel=clip.joint_vel,
        **bodies(clip, skeleton.links),
    )
    return path


def hdmi(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    """Names and frame rate in a file of their own, one of whose bodies is no robot's."""
    held = bodies(clip, skeleton.links)
    box = {key: array[:, :1] for key, array in held.items()}
    np.savez(
        path,
        joint_pos=clip.joint_pos,
        joint_vel=clip.joint_vel,
        **{key: np.concatenate([array, box[key]], 1) for key, array in held.items()},
    )
    names = [*(clip.body_names[row] for row in skeleton.links), "suitcase"]
    stated = {"fps": clip.fps, "body_names": names, "joint_names": [*clip.joint_names]}
    path.with_name("meta.json").write_text(json.dumps(stated))
    return path


def holomotion(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    rows = list(skeleton.links)
    np.savez(
        path,
        metadata=json.dumps({"motion_fps": clip.fps, "num_dofs": 29}),
        ref_dof_pos=clip.joint_pos.astype(np.float32),
        ref_dof_vel=clip.joint_vel.astype(np.float32),
        ref_global_translation=clip.body_pos[:, rows].astype(np.float32),
        ref_global_rotation_quat=clip.body_quat[:, rows][..., XYZW].astype(np.float32),
    )
    return path


def isaac_amp(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    rows = list(skeleton.breadth_first_links)
    np.savez(
        path,
        fps=np.array([round(clip.fps)]),
        dof_names=np.array(skeleton.breadth_first_joints),
        body_names=np.array([clip.body_names[r] for r in rows]),
        dof_positions=breadth_first(skeleton, clip.joint_pos).astype(np.float32),
        dof_velocities=breadth_first(skeleton, clip.joint_vel).astype(np.float32),
        body_positions=clip.body_pos[:, rows],
        body_rotations=clip.body_quat[:, rows],
        body_linear_velocities=clip.body_lin_vel[:, rows],
        body_angular_velocities=clip.body_ang_vel[:, rows],
    )
    return path


def loco_mujoco_old(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    """Pelvis hinges about -y, x, z in turn, R = R-y Rx Rz; the height counts from 0.755 m."""
    w, x, y, z = clip.root_quat.T
    r21, r20, r22 = 2 * (y * z - w * x), 2 * (x * z + w * y), 1 - 2 * (x * x + y * y)
    r10, r11 = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z)
    coordinates = {
        "q_pelvis_tx": clip.root_pos[:, 0],
        "q_pelvis_tz": clip.root_pos[:, 1],
        "q_pelvis_ty": clip.root_pos[:, 2] - 0.755,
        "q_pelvis_tilt": -np.arctan2(r20, r22),
        "q_pelvis_list": np.arcsin(-r21),
        "q_pelvis_rotation": np.arctan2(r10, r11),
        "dq_pelvis_tx": np.gradient(clip.root_pos[:, 0]),
    }
    joints = {f"q_{n}": clip.joint_pos[:, i] for i, n in enumerate(clip.joint_names)}
    np.savez(path, **coordinates, **joints)
    return path


def loco_mujoco_new(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    np.savez(
        path,
        qpos=clip.qpos,
        qvel=np.concatenate([clip.root_vel, clip.joint_vel], 1),
        split_points=np.array([0, clip.num_frames]),
        frequency=clip.fps,
        joint_names=np.array(["root", *clip.joint_names]),
    )
    return path


def lafan(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    table = np.concatenate([clip.root_pos, clip.root_quat[:, XYZW], clip.joint_pos], 1)
    np.savetxt(path, table, "%.6f", delimiter=",")
    return path


def numbered(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    """Frame numbers in front."""
    table = np.loadtxt(lafan(path, clip, skeleton), delimiter=",")
    np.savetxt(path, np.concatenate([np.arange(len(table))[:, None], table], 1), "%.6f", delimiter=",")
    return path


def timed(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    """Seconds in front."""
    time = np.arange(clip.num_frames)[:, None] / clip.fps
    np.savetxt(path, np.concatenate([time, clip.qpos], 1), "%.6f", delimiter=",")
    return path


def kimodo(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    np.savetxt(path, clip.qpos, delimiter=",")
    return path


def bones(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    """Centimetres and degrees; R = Rz Ry Rx."""
    w, x, y, z = clip.root_quat.T
    euler = np.stack(
        [
            np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)),
            np.arcsin(2 * (w * y - z * x)),
            np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
        ],
        1,
    )
    header = ["Frame", *(f"root_translate{a}" for a in "XYZ"), *(f"root_rotate{a}" for a in "XYZ")]
    header += [f"{n}_dof" for n in clip.joint_names]
    table = np.concatenate(
        [
            np.arange(clip.num_frames)[:, None],
            100 * clip.root_pos,
            np.degrees(euler),
            np.degrees(clip.joint_pos),
        ],
        1,
    )
    np.savetxt(path, table, "%.6f", delimiter=",", header=",".join(header), comments="")
    return path


def gmr(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    """With body positions about a root at the origin, which is not rotated."""
    back = np.broadcast_to(rotations.conjugate(clip.root_quat[:, None]), clip.body_quat.shape)
    local = rotations.rotate(back, clip.body_pos - clip.root_pos[:, None])
    value = {
        "fps": np.float64(clip.fps),
        "root_pos": clip.root_pos,
        "root_rot": clip.root_quat[:, XYZW],
        "dof_pos": clip.joint_pos,
        "local_body_pos": local.astype(np.float32),
        "link_body_list": [*clip.body_names],
    }
    path.write_bytes(pickle.dumps(value))
    return path


def twist(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    """Without wrists and bodies."""
    arms = [i for i, n in enumerate(clip.joint_names) if NO_WRISTS not in n]
    value = {
        "fps": round(clip.fps),
        "root_pos": clip.root_pos.astype(np.float32),
        "root_rot": clip.root_quat[:, XYZW].astype(np.float32),
        "dof_pos": clip.joint_pos[:, arms].astype(np.float32),
        "local_body_pos": None,
        "link_body_list": None,
    }
    path.write_bytes(pickle.dumps(value, protocol=2))
    return path


def phuma(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    value = {
        "root_trans": clip.root_pos,
        "root_ori": clip.root_quat[:, XYZW],
        "dof_pos": clip.joint_pos,
        "fps": clip.fps,
    }
    np.save(path, np.array(value, dtype=object), allow_pickle=True)
    return path


def mimickit(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    rows = np.concatenate([clip.root_pos, rotations.to_rotvec(clip.root_quat), clip.joint_pos], 1)
    path.write_bytes(pickle.dumps({"loop_mode": 1, "fps": clip.fps, "frames": rows.tolist()}))
    return path


def phc_clip(clip: Clip) -> dict[str, object]:
    pose = np.zeros((clip.num_frames, 1 + 23 + 3, 3))
    pose[:, 0] = rotations.to_rotvec(clip.root_quat)
    arms = [i for i, n in enumerate(clip.joint_names) if NO_WRISTS not in n]
    return {
        "root_trans_offset": clip.root_pos,
        "pose_aa": pose,
        "dof": clip.joint_pos[:, arms],
        "root_rot": clip.root_quat[:, XYZW],
        "fps": round(clip.fps),
    }


def phc(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    """As joblib writes it, compressed; see `joblib_bytes`."""
    path.write_bytes(zlib.compress(joblib_bytes({"walk": phc_clip(clip)})))
    return path


def omni_retarget(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    """Quaternion first."""
    np.savez(path, qpos=np.concatenate([clip.root_quat, clip.root_pos, clip.joint_pos], 1), fps=clip.fps)
    return path


def retargeting(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    """Position first, and an object's pose last."""
    thing = np.tile([0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0], (clip.num_frames, 1))
    np.savez(
        path,
        qpos=np.concatenate([clip.qpos, thing], 1),
        human_joints=np.zeros((clip.num_frames, 22, 3)),
        fps=clip.fps,
        cost=0.0,
    )
    return path


def amass(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    np.save(
        path, np.concatenate([clip.root_pos, clip.root_quat[:, XYZW], clip.joint_pos], 1).astype(np.float32)
    )
    return path


def ami(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    value = {
        "joints_list": [*clip.joint_names],
        "joint_positions": clip.joint_pos,
        "root_position": clip.root_pos,
        "root_quaternion": clip.root_quat[:, XYZW],
        "fps": clip.fps,
    }
    np.save(path, np.array(value, dtype=object), allow_pickle=True)
    return path


def sonic(path: Path, clip: Clip, skeleton: Skeleton) -> Path:
    folder = path.with_suffix("")
    folder.mkdir()
    rows = list(skeleton.breadth_first_links)[:14]
    tables = {
        "joint_pos": breadth_first(skeleton, clip.joint_pos),
        "joint_vel": breadth_first(skeleton, clip.joint_vel),
        "body_pos": clip.body_pos[:, rows].reshape(clip.num_frames, -1),
        "body_quat": clip.body_quat[:, rows].reshape(clip.num_frames, -1),
    }
    for key, table in tables.items():
        header = ",".join(f"{key}_{i}" for i in range(table.shape[1]))
        np.savetxt(folder / f"{key}.csv", table, "%.6f", delimiter=",", header=header, comments="")
    return folder


FORMATS: dict[str, Written] = {
    "holosoma.npz": Written(holosoma, "holosoma npz", "names", "wxyz"),
    "beyond_mimic.npz": Written(beyond_mimic, "BeyondMimic npz", "isaac", "wxyz"),
    "mjlab.npz": Written(mjlab, "mjlab npz", "robot", "wxyz"),
    "hdmi.npz": Written(hdmi, "mjlab npz with names", "names", "wxyz"),
    "holomotion.npz": Written(holomotion, "HoloMotion npz", "robot", "xyzw"),
    "isaac_amp.npz": Written(isaac_amp, "Isaac Lab AMP npz", "names", "wxyz"),
    "loco_old.npz": Written(
        loco_mujoco_old, "loco-mujoco npz (one array a coordinate)", "names", "tilt-list-rotation", 30.0
    ),
    "loco_new.npz": Written(loco_mujoco_new, "loco-mujoco npz", "names", "wxyz"),
    "lafan.csv": Written(lafan, "LAFAN csv", "robot", "xyzw", 30.0),
    "kimodo.csv": Written(kimodo, "Kimodo csv", "robot", "wxyz", 30.0),
    "numbered.csv": Written(numbered, "LAFAN csv", "robot", "xyzw", 30.0),
    "timed.csv": Written(timed, "Kimodo csv", "robot", "wxyz"),
    "bones.csv": Written(bones, "BONES csv", "names", "euler xyz", 30.0),
    "gmr.pkl": Written(gmr, "GMR pickle", "robot", "xyzw"),
    "twist.pkl": Written(twist, "GMR pickle", "robot", "xyzw"),
    "phuma.npy": Written(phuma, "PHUMA npy", "robot", "xyzw"),
    "mimickit.pkl": Written(mimickit, "MimicKit pickle", "robot", "wxyz"),
    "phc.pkl": Written(phc, "PHC pickle", "robot", "xyzw"),
    "omni.npz": Written(omni_retarget, "OmniRetarget npz", "robot", "wxyz"),
    "retargeting.npz": Written(retargeting, "holosoma_retargeting npz", "robot", "wxyz"),
    "amass.npy": Written(amass, "AMASS-for-G1 npy", "robot", "xyzw", 30.0),
    "ami.npy": Written(ami, "ami-iit npy", "names", "xyzw"),
    "sonic.csv": Written(sonic, "SONIC folder", "isaac", "wxyz"),
}
"""File name -> how it is written and must be read."""
