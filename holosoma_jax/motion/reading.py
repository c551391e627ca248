"""Reading a motion file as a `Clip` of one robot."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from holosoma_jax import robots
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.motion import clip as clips
from holosoma_jax.motion import library, rotations
from holosoma_jax.motion.agreement import agreement
from holosoma_jax.motion.clip import Clip, Provenance
from holosoma_jax.motion.formats import Raw, parse
from holosoma_jax.motion.formats.raw import frame_rate
from holosoma_jax.motion.kinematics import Bodies, Skeleton
from holosoma_jax.motion.readings.candidates import orientation
from holosoma_jax.motion.readings.recognition import Recognised, recognise
from holosoma_jax.robots.joint_order import plain_name
from holosoma_jax.robots.robot import Robot

KNOWN_ROBOTS = ("g1", "t1", "k1")
DEFAULT_ROBOT = "g1"
"""of a file without joint names"""
ASSUMED_FPS = 30.0
"""of a file without a frame rate: LAFAN's, Kimodo's and most of BONES's"""
FAR_OUTSIDE = 0.5
"""rad beyond a joint's range that no other revision of the robot's model explains"""

_FAMILIES = {
    ("BeyondMimic or mjlab npz", "isaac", "wxyz"): "BeyondMimic npz",
    ("BeyondMimic or mjlab npz", "robot", "wxyz"): "mjlab npz",
    ("csv of 7 + J columns", "robot", "xyzw"): "LAFAN csv",
    ("csv of 7 + J columns", "robot", "wxyz"): "Kimodo csv",
}
"""(layout, joint order, quaternion) -> the format, where several share a layout."""


def read(
    path: str | os.PathLike[str], robot: Robot | Skeleton | str | None = None, **choices: object
) -> Clip:
    """The one clip in `path`; see `read_all` for the arguments.

    Args:
      path: a file, or SONIC's folder.
      robot: as of `read_all`.
      choices: as of `read_all`, and `clip`: which one, by its name in the file.

    Raises:
      ConfigError: as `read_all`; or it holds several, and `clip` names none of them.
    """
    wanted = choices.pop("clip", None)
    found = read_all(path, robot, only=wanted, **choices)  # type: ignore[arg-type]
    if len(found) > 1:
        names = ", ".join(c.name for c in found[:8]) + (", ..." if len(found) > 8 else "")
        raise ConfigError(f"{path}: holds {len(found)} clips ({names}). Name one with --clip.")
    return found[0]


def read_all(
    path: str | os.PathLike[str],
    robot: Robot | Skeleton | str | None = None,
    *,
    joint_order: str | None = None,
    quaternion: str | None = None,
    units: str | None = None,
    input_fps: float | None = None,
    only: str | None = None,
    bodies: str = "computed",
    check_limits: bool = True,
) -> list[Clip]:
    """Every clip in `path`, its joint and quaternion order recognised by forward kinematics.

    Args:
      path: a file, SONIC's folder, or the name of a clip that comes with the package; the format is told
        by its content.
      robot: the robot, its folder's name, or its skeleton; None: the one with the file's joint names,
        or the G1.
      joint_order: 'robot' or 'isaac'; None: found.
      quaternion: 'wxyz' or 'xyzw'; None: found.
      units: 'm rad', 'm deg', 'cm deg' or 'cm rad' (BONES); None: found.
      input_fps: frame rate of a file that states none, or another than it states; None: as stated, or 30.
      only: name of the one clip that is wanted.
      bodies: 'computed': body poses and velocities by forward kinematics of our model, velocities by
        central differences. 'stored': the file's own body arrays and joint velocities, unchanged; the
        clips that holosoma ships hold velocities of centres of mass in a wrong frame, which its own
        training uses.
      check_limits: refuse joints that are far out of their range.

    Raises:
      ConfigError: one line that names the file, the key or the joint, and the frame.
    """
    path = Path(path)
    if not _exists(path):
        path = library.shipped().get(os.fspath(path), path)
    raws = parse(path)
    if only is not None:
        names = [raw.name for raw in raws]
        if only not in names:
            raise ConfigError(
                f"{path}: has no clip '{only}'.{nearest(only, names)} Clips: {', '.join(names[:20])}."
            )
        raws = [raw for raw in raws if raw.name == only]
    skeleton = _skeleton(path, raws[0], robot)
    out = []
    for raw in raws:
        if input_fps is not None:
            input_fps = frame_rate(raw.file, "--input-fps", input_fps)
            note = f"{input_fps:g} fps as asked for" + (f"; the file states {raw.fps:g}" if raw.fps else "")
            raw = dataclasses.replace(raw, fps=float(input_fps), notes=(*raw.notes, note))
        elif raw.fps is None:
            note = f"fps is not in the file; {ASSUMED_FPS:g} assumed, change it with --input-fps"
            raw = dataclasses.replace(raw, fps=ASSUMED_FPS, notes=(*raw.notes, note))
        found = recognise(raw, skeleton, joint_order=joint_order, quaternion=quaternion, units=units)
        if check_limits:
            require_limits(raw.file, skeleton.robot, found.reading.qpos[:, 7:])
        out.append(_clip(raw, skeleton, found, stored=bodies == "stored"))
    return out


def require_limits(file: str, robot: Robot, joint_pos: np.ndarray) -> None:
    """See that no joint of `joint_pos` [T, J] is more than `FAR_OUTSIDE` out of its range.

    Raises:
      ConfigError: one is; names it and its worst frame.
    """
    beyond = np.maximum(joint_pos - robot.joint_upper, robot.joint_lower - joint_pos)
    t, j = np.unravel_index(int(beyond.argmax()), beyond.shape)
    if beyond[t, j] > FAR_OUTSIDE:
        raise ConfigError(
            f"{file}: frame {t}: {robot.joint_names[j]} is {joint_pos[t, j]:.2f} rad, far outside its range "
            f"[{robot.joint_lower[j]:.2f}, {robot.joint_upper[j]:.2f}]. Is the clip of another robot?"
        )


def _exists(path: Path) -> bool:
    """Whether there is such a file; False for what cannot be a file's name, which `parse` then refuses."""
    try:
        return path.exists()
    except OSError:
        return False


def _skeleton(path: Path, raw: Raw, robot: Robot | Skeleton | str | None) -> Skeleton:
    if isinstance(robot, Skeleton):
        return robot
    if isinstance(robot, str):
        robot = robots.load(robot)
    if robot is not None:
        return Skeleton(robot)
    if raw.joint_names is None:
        return Skeleton(robots.load(DEFAULT_ROBOT))
    held = {plain_name(n) for n in raw.joint_names}
    for name in KNOWN_ROBOTS:
        record = robots.load(name)
        skeleton = Skeleton(record)
        if {plain_name(n) for foot in record.feet_bodies for n in skeleton.joints_above(foot)} <= held:
            return skeleton
    raise ConfigError(
        f"{path}: its {len(raw.joint_names)} joints ({raw.joint_names[0]}, ...) are of no robot known here: "
        f"{', '.join(KNOWN_ROBOTS)}. Name the robot's folder with --robot."
    )


def _clip(raw: Raw, skeleton: Skeleton, found: Recognised, *, stored: bool) -> Clip:
    reading = found.reading
    object_quat = raw.object_quat
    if object_quat is not None:
        object_quat = rotations.continuous(orientation(object_quat, reading.labels.quaternion))
    kind = _FAMILIES.get((raw.format, reading.labels.joint_order, reading.labels.quaternion), raw.format)
    origin = Provenance(Path(raw.file).name, kind, reading.labels.text(), found.why, found.notes)
    fields = {
        "contact": raw.contact,
        "object_pos": raw.object_pos,
        "object_quat": object_quat,
        "terrain": raw.terrain,
        "provenance": origin,
    }
    fps, qvel = float(raw.fps or ASSUMED_FPS), None
    if raw.commanded:
        qvel = clips.velocities(reading.qpos, fps)
        qvel[:, 6:] = _joint_velocities(raw, skeleton, found)
    computed = clips.from_trajectory(skeleton, raw.name, fps, reading.qpos, qvel, **fields)
    if stored:
        qvel, bodies = _stored(raw, skeleton, found)
        return clips.with_bodies(skeleton, raw.name, fps, reading.qpos, qvel, bodies, **fields)
    origin = dataclasses.replace(origin, stored=agreement(raw, reading, computed))
    return dataclasses.replace(computed, provenance=origin)


def _stored(raw: Raw, skeleton: Skeleton, found: Recognised) -> tuple[np.ndarray, Bodies]:
    """The file's own body arrays in the robot's order; a body fixed to another stands in for it."""
    bodies, reading, names = raw.bodies, found.reading, skeleton.robot.body_names
    if (
        bodies is None
        or bodies.quat is None
        or bodies.lin_vel is None
        or bodies.ang_vel is None
        or bodies.local
    ):
        raise ConfigError(
            f"{raw.file}: {raw.format} stores no body poses with velocities; use computed bodies."
        )
    rows = []
    for name in names:
        while name not in reading.rows and (parent := skeleton.fixed_parent(name)) is not None:
            name = parent
        if name not in reading.rows:
            raise ConfigError(f"{raw.file}: stores no body '{name}'; use computed bodies.")
        rows.append(reading.rows[name])
    quat = orientation(bodies.quat[:, rows], reading.labels.quaternion)
    pos, lin_vel, ang_vel = bodies.pos[:, rows], bodies.lin_vel[:, rows], bodies.ang_vel[:, rows]
    qvel = np.concatenate([lin_vel[:, 0], ang_vel[:, 0], _joint_velocities(raw, skeleton, found)], 1)
    return qvel, Bodies(pos, quat, lin_vel, ang_vel)


def _joint_velocities(raw: Raw, skeleton: Skeleton, found: Recognised) -> np.ndarray:
    """The file's own [T, J] rad/s in the robot's order; 0 of joints that it lacks."""
    if raw.joint_vel is None:
        raise ConfigError(f"{raw.file}: lacks joint velocities; use computed bodies.")
    joint_vel = np.zeros((len(raw.joint_vel), skeleton.robot.num_joints))
    places = [skeleton.robot.joint_names.index(n) for n in found.reading.columns]
    joint_vel[:, places] = raw.joint_vel[:, list(found.reading.columns.values())]
    return joint_vel
