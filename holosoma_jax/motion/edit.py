"""Clips made of clips: another frame rate, a range of frames, feet to the ground, left and right exchanged."""

from __future__ import annotations

import dataclasses

import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import rotations
from holosoma_jax.motion.clip import Clip, from_trajectory
from holosoma_jax.motion.kinematics import Skeleton

STAYS = 0.01
"""m by which a clip may be raised or lowered and still be on the mesh that it was made on"""


def resample(skeleton: Skeleton, clip: Clip, fps: float) -> Clip:
    """`clip` at `fps`; unchanged where it has them already.

    Output frame k lies at k / fps, for all k / fps before the last input frame, as holosoma's converter
    has it. Positions and joints are interpolated linearly, orientations by shortest-arc slerp; velocities
    are differences of the result.
    """
    if np.isclose(fps, clip.fps, rtol=1e-6) or clip.num_frames < 2:
        return clip if clip.num_frames > 1 else dataclasses.replace(clip, fps=float(fps))
    count = max(1, int(np.ceil(clip.duration * fps - 1e-6)))
    place = np.arange(count) / fps * clip.fps
    first = np.minimum(place.astype(int), clip.num_frames - 2)
    share = place - first

    def linear(x: np.ndarray) -> np.ndarray:
        weight = share.reshape(-1, *[1] * (x.ndim - 1))
        return (1.0 - weight) * x[first] + weight * x[first + 1]

    def spherical(q: np.ndarray) -> np.ndarray:
        return rotations.slerp(q[first], q[first + 1], share)

    qpos = np.concatenate([linear(clip.root_pos), spherical(clip.root_quat), linear(clip.joint_pos)], 1)
    return _rebuilt(
        skeleton,
        clip,
        qpos,
        fps=float(fps),
        contact=None if clip.contact is None else linear(clip.contact),
        object_pos=None if clip.object_pos is None else linear(clip.object_pos),
        object_quat=None if clip.object_quat is None else spherical(clip.object_quat),
    )


def cut(skeleton: Skeleton, clip: Clip, first: int, last: int) -> Clip:
    """Frames `first` to before `last` of `clip`.

    Raises:
      ConfigError: there are none.
    """
    if not 0 <= first < last <= clip.num_frames:
        raise ConfigError(
            f"--range {first}:{last}: clip '{clip.name}' has frames 0 to {clip.num_frames}; "
            "the first must lie before the last."
        )
    part = slice(first, last)
    arrays = {k: None if v is None else v[part] for k, v in _tracks(clip).items()}
    return _rebuilt(skeleton, clip, clip.qpos[part], **arrays)


def ground(skeleton: Skeleton, clip: Clip) -> Clip:
    """`clip` raised or lowered as a whole, so that the lowest point of a foot over all frames is at 0."""
    shift = np.array([0.0, 0.0, -skeleton.clearance(clip.body_pos, clip.body_quat).min()])
    moved = None if clip.object_pos is None else clip.object_pos + shift
    terrain = clip.terrain if abs(shift[2]) < STAYS else None
    return dataclasses.replace(clip, body_pos=clip.body_pos + shift, object_pos=moved, terrain=terrain)


def mirror(skeleton: Skeleton, clip: Clip) -> Clip:
    """`clip` reflected at the x-z plane: left limbs do what right ones did."""
    robot = skeleton.robot
    flip_pos, flip_quat = np.array([1.0, -1.0, 1.0]), np.array([1.0, -1.0, 1.0, -1.0])
    joints = robot.mirror_sign.astype(np.float64) * clip.joint_pos[:, robot.mirror_index]
    return _rebuilt(
        skeleton,
        clip,
        np.concatenate([clip.root_pos * flip_pos, clip.root_quat * flip_quat, joints], 1),
        name=f"{clip.name}_mirrored",
        contact=None if clip.contact is None else clip.contact[:, ::-1],
        terrain=None,
        object_pos=None if clip.object_pos is None else clip.object_pos * flip_pos,
        object_quat=None if clip.object_quat is None else clip.object_quat * flip_quat,
    )


def with_default_pose(skeleton: Skeleton, clip: Clip, before: float = 0.0, after: float = 0.0) -> Clip:
    """`clip` with transitions from and to the default pose.

    The default state stands where the clip starts (or ends), at the height of the robot's initial state
    and with the clip's heading. Positions and joints are blended linearly, orientations by slerp, over
    round(seconds * fps) frames; bodies and velocities follow from the blended coordinates.

    Args:
      skeleton: of the clip's robot.
      clip: any.
      before: s in front of the clip; 0: none.
      after: s behind it; 0: none.
    """
    qpos, counts = clip.qpos, [round(before * clip.fps), round(after * clip.fps)]
    parts = [qpos]
    if counts[0] > 1:
        share = np.arange(counts[0]) / counts[0]
        parts.insert(0, _blend(_standing(skeleton, qpos[0]), qpos[0], share))
    if counts[1] > 1:
        share = np.arange(1, counts[1] + 1) / counts[1]
        parts.append(_blend(qpos[-1], _standing(skeleton, qpos[-1]), share))
    pads = [counts[0] if counts[0] > 1 else 0, counts[1] if counts[1] > 1 else 0]

    def held(x: np.ndarray) -> np.ndarray:
        return np.pad(x, [tuple(pads), *[(0, 0)] * (x.ndim - 1)], mode="edge")

    arrays = {k: None if v is None else held(v) for k, v in _tracks(clip).items()}
    return _rebuilt(skeleton, clip, np.concatenate(parts), **arrays)


def _standing(skeleton: Skeleton, like: np.ndarray) -> np.ndarray:
    robot = skeleton.robot
    place = np.array([like[0], like[1], robot.init_pos[2]])
    return np.concatenate([place, rotations.about(2, rotations.yaw(like[3:7])), robot.default_joint_pos])


def _blend(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    out = (1.0 - share[:, None]) * a + share[:, None] * b
    shape = (len(share), 4)
    out[:, 3:7] = rotations.slerp(np.broadcast_to(a[3:7], shape), np.broadcast_to(b[3:7], shape), share)
    return out


def _tracks(clip: Clip) -> dict[str, np.ndarray | None]:
    """Arrays that forward kinematics does not give."""
    return {"contact": clip.contact, "object_pos": clip.object_pos, "object_quat": clip.object_quat}


def _rebuilt(skeleton: Skeleton, clip: Clip, qpos: np.ndarray, **changes: object) -> Clip:
    kept = {"name": clip.name, "fps": clip.fps, "terrain": clip.terrain, "provenance": clip.provenance}
    fields = {**kept, **_tracks(clip), **changes}
    return from_trajectory(skeleton, qpos=qpos, **fields)  # type: ignore[arg-type]
