"""`Clip`: one motion of one robot in memory, and the trajectory that it is computed from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from holosoma_jax.motion import rotations
from holosoma_jax.motion.kinematics import Bodies, Skeleton


@dataclass(frozen=True)
class Provenance:
    """Where a clip comes from, and how its file was read."""

    file: str = ""
    """the file's name, without its folder"""
    format: str = ""
    """name of the format, as in docs/motions.md"""
    reading: str = ""
    """choices that the file leaves open and how they were decided, e.g. 'joint-order robot, quaternion xyzw'"""
    why: str = ""
    """figures that decided"""
    notes: tuple[str, ...] = ()
    """what was assumed or filled in"""
    stored: dict[str, float] = field(default_factory=dict)
    """how far stored body arrays and velocities are from ours; see `agreement.agreement`"""


@dataclass(frozen=True, eq=False)
class Clip:
    """T frames of one robot: float64 arrays, SI units, world frame, quaternions w x y z, robot's order."""

    name: str
    robot: str
    """name of the robot's record"""
    fps: float
    """frames per second; frame t lies at t / fps"""
    joint_names: tuple[str, ...]
    body_names: tuple[str, ...]
    """the root first"""
    joint_pos: np.ndarray
    """[T, J] rad"""
    joint_vel: np.ndarray
    """[T, J] rad/s"""
    body_pos: np.ndarray
    """[T, B, 3] m, of frame origins"""
    body_quat: np.ndarray
    """[T, B, 4]"""
    body_lin_vel: np.ndarray
    """[T, B, 3] m/s, of frame origins"""
    body_ang_vel: np.ndarray
    """[T, B, 3] rad/s"""
    contact: np.ndarray | None = None
    """[T, 2] 0 to 1, left and right foot; only if the file has labels"""
    object_pos: np.ndarray | None = None
    """[T, 3] m; only if the file tracks an object"""
    object_quat: np.ndarray | None = None
    """[T, 4]"""
    terrain: str | None = None
    """name of the mesh on which the clip was made, in the same coordinates; None: the plane, or not in the file"""
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def has_object(self) -> bool:
        """Whether the pose of an object is known."""
        return self.object_pos is not None and self.object_quat is not None

    @property
    def object_lin_vel(self) -> np.ndarray | None:
        """[T, 3] m/s, differences of its positions; None without an object."""
        return None if self.object_pos is None else differences(self.object_pos, self.fps)

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.joint_pos)

    @property
    def duration(self) -> float:
        """Seconds from the first to the last frame."""
        return (self.num_frames - 1) / self.fps

    @property
    def root_pos(self) -> np.ndarray:
        """[T, 3] m."""
        return self.body_pos[:, 0]

    @property
    def root_quat(self) -> np.ndarray:
        """[T, 4]."""
        return self.body_quat[:, 0]

    @property
    def qpos(self) -> np.ndarray:
        """[T, 7 + J] root position, root quaternion, joints."""
        return np.concatenate([self.root_pos, self.root_quat, self.joint_pos], 1)

    @property
    def root_vel(self) -> np.ndarray:
        """[T, 6] linear m/s and angular rad/s, both in the world frame."""
        return np.concatenate([self.body_lin_vel[:, 0], self.body_ang_vel[:, 0]], 1)


def from_trajectory(
    skeleton: Skeleton,
    name: str,
    fps: float,
    qpos: np.ndarray,
    qvel: np.ndarray | None = None,
    **fields: object,
) -> Clip:
    """A clip from the robot's coordinates alone: bodies by forward kinematics of our model.

    Args:
      skeleton: of the robot.
      name: of the clip.
      fps: frames per second.
      qpos: [T, 7 + J] root position, root quaternion, joints.
      qvel: [T, 6 + J] root velocity (both parts in the world frame), joint speeds; None: central
        differences of `qpos`.
      fields: others of `Clip`.
    """
    qpos = np.array(qpos, np.float64)
    qpos[:, 3:7] /= np.linalg.norm(qpos[:, 3:7], axis=1, keepdims=True)
    qpos[:, 3:7] = rotations.continuous(qpos[:, 3:7])
    qvel = velocities(qpos, fps) if qvel is None else np.asarray(qvel, np.float64)
    return with_bodies(skeleton, name, fps, qpos, qvel, skeleton.bodies(qpos, qvel), **fields)


def with_bodies(
    skeleton: Skeleton,
    name: str,
    fps: float,
    qpos: np.ndarray,
    qvel: np.ndarray,
    bodies: Bodies,
    **fields: object,
) -> Clip:
    """A clip whose body arrays are given; see `from_trajectory`."""
    robot = skeleton.robot
    clip = Clip(
        name=name,
        robot=robot.name,
        fps=float(fps),
        joint_names=robot.joint_names,
        body_names=robot.body_names,
        joint_pos=qpos[:, 7:],
        joint_vel=qvel[:, 6:],
        body_pos=bodies.pos,
        body_quat=rotations.continuous(bodies.quat),
        body_lin_vel=bodies.lin_vel,
        body_ang_vel=bodies.ang_vel,
    )
    return dataclasses.replace(clip, **fields) if fields else clip  # type: ignore[arg-type]


def velocities(qpos: np.ndarray, fps: float) -> np.ndarray:
    """Speeds [T, 6 + J] of `qpos` [T, 7 + J] by central differences, one-sided at both ends; world frame."""
    linear = differences(np.delete(qpos, slice(3, 7), axis=1), fps)
    angular = rotations.angular_velocity(qpos[:, 3:7], 1.0 / fps)
    return np.concatenate([linear[:, :3], angular, linear[:, 3:]], 1)


def differences(x: np.ndarray, fps: float) -> np.ndarray:
    """Central differences of x [T, ...] per second; one-sided at both ends, zero for a single frame."""
    return np.gradient(x, 1.0 / fps, axis=0) if len(x) > 1 else np.zeros_like(x)
