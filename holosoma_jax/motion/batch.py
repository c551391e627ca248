"""`Clips`: many clips as flat arrays, from which an environment gathers its frame."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.motion import edit
from holosoma_jax.motion.clip import Clip
from holosoma_jax.motion.kinematics import Skeleton

log = logging.getLogger(__name__)
MIN_FRAMES = 3
"""a reset draws a frame before the last, and the step after it needs the next"""


class Frames(NamedTuple):
    """Reference states [..., ...] float32: of all frames in `Clips`, of one an environment after `at`."""

    joint_pos: Any
    """[..., J] rad"""
    joint_vel: Any
    """[..., J] rad/s"""
    root_pos: Any
    """[..., 3] m"""
    root_quat: Any
    """[..., 4] w x y z"""
    root_lin_vel: Any
    """[..., 3] m/s"""
    root_ang_vel: Any
    """[..., 3] rad/s, world frame"""
    body_pos: Any
    """[..., K, 3] m, of the K tracked bodies"""
    body_quat: Any
    """[..., K, 4]"""
    body_lin_vel: Any
    """[..., K, 3] m/s"""
    body_ang_vel: Any
    """[..., K, 3] rad/s"""
    object_pos: Any = None
    """[..., 3] m; this and the next two are None unless every clip tracks an object"""
    object_quat: Any = None
    """[..., 4]"""
    object_lin_vel: Any = None
    """[..., 3] m/s"""


class Clips(NamedTuple):
    """M clips, F frames in all, one behind the other: a pytree of arrays, NumPy's or JAX's.

    A frame index runs over all clips, so a step costs one gather however many clips there are.
    """

    frames: Frames
    """[F, ...]"""
    start: Any
    """[M] int32: first frame of each clip"""
    length: Any
    """[M] int32: number of its frames"""
    clip: Any
    """[F] int32: the clip that each frame belongs to"""

    def at(self, frame: Any) -> Frames:
        """The reference states at `frame` [E] int32, each [E, ...]."""
        return Frames(*(None if array is None else array[frame] for array in self.frames))


def concatenate(clips: Sequence[Clip], skeleton: Skeleton, bodies: Sequence[str], fps: float = 50.0) -> Clips:
    """`clips` as device-ready float32 arrays.

    Args:
      clips: of the skeleton's robot; those at another rate are resampled.
      skeleton: of the robot.
      bodies: the tracked bodies, in the order wanted.
      fps: control steps per second; one frame is consumed a step.

    Raises:
      ConfigError: no clip, one of another robot or too short, or an unknown body.

    An object is kept if every clip tracks one; if only some do, a warning names one that does not.
    """
    if not clips:
        raise ConfigError("no motion clip; name at least one.")
    names = skeleton.robot.body_names
    for body in bodies:
        if body not in names:
            raise ConfigError(
                f"robot '{skeleton.robot.name}' has no body '{body}' to track.{nearest(body, names)}"
            )
    rows = [names.index(body) for body in bodies]
    parts = []
    for clip in clips:
        if clip.robot != skeleton.robot.name:
            raise ConfigError(
                f"clip '{clip.name}' is of robot '{clip.robot}', not of '{skeleton.robot.name}'."
            )
        clip = edit.resample(skeleton, clip, fps)
        if clip.num_frames < MIN_FRAMES:
            raise ConfigError(
                f"clip '{clip.name}' has {clip.num_frames} frames at {fps:g} fps; at least {MIN_FRAMES} are needed."
            )
        parts.append(_frames(clip, rows))
    if any(clip.has_object for clip in clips):
        lacking = next((clip.name for clip in clips if not clip.has_object), None)
        if lacking is not None:
            log.warning("clip '%s' tracks no object: those of the other clips are left out.", lacking)
            parts = [part._replace(object_pos=None, object_quat=None, object_lin_vel=None) for part in parts]
    length = np.array([len(part.joint_pos) for part in parts], np.int32)
    return Clips(
        Frames(
            *(None if arrays[0] is None else np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        ),
        start=(np.cumsum(length) - length).astype(np.int32),
        length=length,
        clip=np.repeat(np.arange(len(parts), dtype=np.int32), length),
    )


def _frames(clip: Clip, rows: Sequence[int]) -> Frames:
    pos, quat, lin, ang = clip.body_pos, clip.body_quat, clip.body_lin_vel, clip.body_ang_vel
    arrays = (
        clip.joint_pos, clip.joint_vel, pos[:, 0], quat[:, 0], lin[:, 0], ang[:, 0],
        pos[:, rows], quat[:, rows], lin[:, rows], ang[:, rows],
        clip.object_pos, clip.object_quat, clip.object_lin_vel,
    )  # fmt: skip
    return Frames(*(None if a is None else np.ascontiguousarray(a, np.float32) for a in arrays))
