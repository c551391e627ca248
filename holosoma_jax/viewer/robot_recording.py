"""A recorded trajectory or motion clip with its robot: which one it is, what happens in it, frame by frame."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bridges.protocol import Ground
from holosoma_jax import motion, robots
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import TerrainConfig
from holosoma_jax.envs import terrain as envs_terrain
from holosoma_jax.motion.reading import KNOWN_ROBOTS
from holosoma_jax.render import recording_file
from holosoma_jax.render.recording import METADATA, STARTS, Recording
from holosoma_jax.robots.robot import Robot

LIMIT_MARGIN = 0.01
"""rad by which a simulator's soft limits give way without anything being wrong"""


class RobotRecording(NamedTuple):
    """A trajectory and the robot that it is of."""

    path: Path
    recording: Recording
    """joints and bodies in the robot's order"""
    robot: Robot
    ground: Ground = Ground()
    """what it stands on"""


def load(path: str, robot: str | None = None, terrain: TerrainConfig | None = None) -> RobotRecording:
    """The trajectory in `path`, for the robot that it names, that has its joints, or `robot`.

    Args:
      path: an ``.npz`` of ``eval --record``, a motion clip of any format that `motion.read` knows, or the
        name of a clip that comes with the package.
      robot: folder under holosoma_jax/robots, or a path to one; None: found by the joints.
      terrain: the ground; None: the file's own, or a plane.

    Raises:
      ConfigError: neither a recording nor a clip, of no robot that is known, or the terrain cannot be read.
    """
    if not _is_recording(Path(path)):
        clip = motion.read(path, robot, check_limits=False)
        record = robots.load(robot or clip.robot)
        if terrain is None and clip.terrain in envs_terrain.shipped():
            terrain = envs_terrain.of_mesh(clip.terrain)
        record = robots.with_box(record) if clip.has_object else record
        return RobotRecording(Path(path), _of_clip(clip), record, _ground(terrain) or Ground())
    found = recording_file.read(path)
    record = robots.load(robot) if robot else _robot_of(path, found)
    if missing := [name for name in record.joint_names if name not in found.joint_names]:
        raise ConfigError(
            f"{path}: has no joint '{missing[0]}', which robot '{record.name}' has. Name another --asset."
        )
    if "object_pos" in found.arrays:
        record = robots.with_box(record, _size(path, found))
    return RobotRecording(Path(path), _in_order(found, record), record, _ground(terrain) or found.ground)


def _ground(terrain: TerrainConfig | None) -> Ground | None:
    return None if terrain is None else envs_terrain.build(terrain, seed=0).ground


def _size(path: str, found: Recording) -> list[float] | None:
    """Lengths of the recorded box in m; None where the file does not say.

    Raises:
      ConfigError: it says something else.
    """
    size = found.metadata.get("object_size")
    if size is None:
        return None
    numbers = isinstance(size, list) and all(isinstance(n, (int, float)) and 0 < n <= 10_000 for n in size)
    if not numbers or len(size) != 3:
        raise ConfigError(f"{path}: {METADATA}: object_size is {size!r:.40}; expected three lengths in m.")
    return size


def _is_recording(path: Path) -> bool:
    """Whether the file is one of ``eval --record``; what is wrong with another, `motion.read` reports."""
    try:
        if not path.is_file():  # a pipe or a device may have no end
            return False
        with zipfile.ZipFile(path) as file:
            return f"{METADATA}.npy" in file.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _of_clip(clip: motion.Clip) -> Recording:
    arrays = {
        "joint_pos": clip.joint_pos,
        "joint_vel": clip.joint_vel,
        "root_pos": clip.root_pos,
        "root_quat": clip.root_quat,
        "root_lin_vel": clip.root_vel[:, :3],
        "root_ang_vel": clip.root_vel[:, 3:],
        "body_pos": clip.body_pos,
        "body_quat": clip.body_quat,
        "body_lin_vel": clip.body_lin_vel,
        "body_ang_vel": clip.body_ang_vel,
    }
    if clip.object_pos is not None and clip.object_quat is not None:
        arrays |= {"object_pos": clip.object_pos, "object_quat": clip.object_quat}
    single = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    return Recording(single, clip.joint_names, clip.body_names, clip.robot, 1.0 / clip.fps, {})


def _robot_of(path: str, found: Recording) -> Robot:
    known = [robots.load(asset) for asset in KNOWN_ROBOTS]
    for record in known:
        if set(record.joint_names) == set(found.joint_names):
            return record
    raise ConfigError(
        f"{path}: its {len(found.joint_names)} joints ({found.joint_names[0]}, ...) are of no robot known here: "
        f"{', '.join(KNOWN_ROBOTS)}. Name the robot's folder with --asset."
    )


def _in_order(found: Recording, robot: Robot) -> Recording:
    """The recording with joints as the robot orders them, and the bodies that the robot has."""
    joints = [found.joint_names.index(name) for name in robot.joint_names]
    bodies = [name for name in robot.body_names if name in found.body_names]
    rows = [found.body_names.index(name) for name in bodies]

    def pick(name: str, array: np.ndarray) -> np.ndarray:
        if name.startswith("joint_") or name == "ghost_joint_pos":
            return array[:, joints]
        return array[:, rows] if name.startswith("body_") or name == "contact_force" else array

    return Recording(
        {name: pick(name, array) for name, array in found.arrays.items()},
        robot.joint_names,
        tuple(bodies),
        robot.name,
        found.dt,
        found.metadata,
        found.ground,
    )


def summary(replay: RobotRecording) -> list[tuple[str, str]]:
    """What a person wants to know of a trajectory: (quantity, text with its unit)."""
    found, robot = replay.recording, replay.robot
    arrays = found.arrays
    position = arrays["root_pos"].astype(np.float64)
    starts = np.asarray(arrays.get(STARTS, np.zeros(len(position))), bool)
    steps = np.linalg.norm(np.diff(position[:, :2], axis=0), axis=1)
    path = float(np.sum(steps[~starts[1:]]))  # a reset is no step
    rows = [
        ("robot", f"{robot.name}, {robot.num_joints} joints"),
        ("frames", f"{found.num_frames} at {1.0 / found.dt:g} Hz, {found.num_frames * found.dt:.2f} s"),
        ("root height", f"{position[:, 2].min():.3f} to {position[:, 2].max():.3f} m"),
        ("path of the root", f"{path:.2f} m"),
    ]
    if starts[1:].any():
        rows.insert(2, ("episodes", f"{1 + int(starts[1:].sum())}"))
    if policy := found.metadata.get("policy"):
        rows.insert(1, ("policy", str(policy)))
    if "root_lin_vel" in arrays:
        speed = np.linalg.norm(arrays["root_lin_vel"][:, :2].astype(np.float64), axis=1)  # 1e30 squared fits
        rows.append(("speed", f"mean {speed.mean():.2f}, at most {speed.max():.2f} m/s"))
    if "command" in arrays:
        low, high = arrays["command"].min(0), arrays["command"].max(0)
        same = np.array_equal(low, high)
        shown = _triple(low) if same else f"{_triple(low)} to {_triple(high)}"
        rows.append(("command", f"{shown} (m/s, m/s, rad/s)"))
    outside = _outside(arrays["joint_pos"], robot)
    rows.append(("joint limits", outside or "kept in every frame"))
    if "joint_torque" in arrays:
        share = np.mean(np.abs(arrays["joint_torque"]) >= 0.999 * robot.torque_limit, axis=0)
        worst = int(np.argmax(share))
        text = f"{robot.joint_names[worst]} in {share[worst]:.0%} of frames" if share[worst] > 0 else "never"
        rows.append(("torque limit reached", text))
    return rows


def _triple(values: np.ndarray) -> str:
    return " ".join(f"{value:+.2f}" for value in values + 0.0)


def _outside(joint_pos: np.ndarray, robot: Robot) -> str | None:
    """The joint that is furthest out of its range, if any is by more than `LIMIT_MARGIN`."""
    beyond = np.maximum(joint_pos - robot.joint_upper, robot.joint_lower - joint_pos)
    joint = int(np.argmax(beyond.max(0)))
    if beyond[:, joint].max() <= LIMIT_MARGIN:
        return None
    frames = int(np.sum(beyond.max(1) > LIMIT_MARGIN))
    return f"{robot.joint_names[joint]} by up to {beyond[:, joint].max():.3f} rad; {frames} frames"
