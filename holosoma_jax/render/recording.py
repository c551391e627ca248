"""Trajectories as files: what one robot did in an evaluation.

A recording is an ``.npz`` with one array per quantity, [T, ...], float32, SI units, world frame,
quaternions w x y z, at the end of each control step and before any reset; names, rates and limits are
the JSON document under ``_metadata_json``. ``ghost_*`` is the pose of a second robot, where there is one.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bridges.protocol import Array, Pose, SimState
from holosoma_jax import __version__
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.files import replacing
from holosoma_jax.render.video_job import GhostPath, Trajectory
from holosoma_jax.robots.robot import Robot

METADATA = "_metadata_json"
STARTS = "episode_start"
"""Array [T] bool: frames of the first control step after a reset."""
UNITS: Mapping[str, str] = {
    "joint_pos": "rad",
    "joint_vel": "rad/s",
    "joint_target": "rad",
    "joint_torque": "N m",
    "action": "policy's own, before action scale and default pose",
    "command": "m/s forward, m/s left, rad/s yaw rate",
    "root_pos": "m",
    "root_quat": "w x y z",
    "root_lin_vel": "m/s",
    "root_ang_vel": "rad/s",
    "body_pos": "m",
    "body_quat": "w x y z",
    "body_lin_vel": "m/s",
    "body_ang_vel": "rad/s",
    "contact_force": "N",
    "ghost_root_pos": "m",
    "ghost_root_quat": "w x y z",
    "ghost_joint_pos": "rad",
}
"""Array -> unit; the order in the file."""
POSE = ("root_pos", "root_quat", "joint_pos")
"""What a pose is; of a second robot it is kept as ``ghost_...``"""


@dataclass(frozen=True, eq=False)
class Recording:
    """One robot over T frames."""

    arrays: Mapping[str, np.ndarray]
    """of `UNITS`, and `STARTS`, [T, ...]; one made of a motion clip lacks some"""
    joint_names: tuple[str, ...]
    body_names: tuple[str, ...]
    robot: str | None
    """name of the robot's record; None where the file does not say"""
    dt: float
    """s between frames"""
    metadata: Mapping[str, Any]
    """the whole JSON document; empty if it is made of a motion clip"""

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.arrays["root_pos"])

    def frame(self, t: int) -> SimState:
        """Frame `t` as the state of one environment, [1, ...]; what the file lacks is zero."""
        bodies = len(self.body_names)
        shapes = {"body_quat": (bodies, 4), "root_lin_vel": (3,), "root_ang_vel": (3,)}

        def row(name: str) -> np.ndarray:
            if name in self.arrays:
                return self.arrays[name][t : t + 1]
            return np.zeros((1, *shapes.get(name, (bodies, 3))), np.float32)

        return SimState(**{name: row(name) for name in SimState._fields})

    def ghost(self, t: int) -> Pose | None:
        """The second robot in frame `t`, [1, ...], its velocities zero; None if the file has none."""
        if "ghost_root_pos" not in self.arrays:
            return None
        pos, quat, joints = (self.arrays[f"ghost_{name}"][t : t + 1] for name in POSE)
        zero = np.zeros((1, 3), np.float32)
        return Pose(pos, quat, zero, zero, joints, np.zeros_like(joints))

    def trajectory(self, first: int = 0, last: int | None = None, stride: int = 1) -> Trajectory:
        """Every `stride`-th frame from `first` to before `last`, as it is drawn."""
        part, found = slice(first, last, stride), self.arrays
        ghost = None
        if "ghost_root_pos" in found:
            ghost = GhostPath(*(found[f"ghost_{name}"][part] for name in POSE))
        own = {name: found[name][part] for name in Trajectory._fields if name in found}
        return Trajectory(**own, ghost=ghost)  # type: ignore[arg-type]


class Recorder:
    """Keeps one environment's control steps for `save`."""

    def __init__(self, robot: Robot, *, env: int = 0):
        """Nothing is kept yet; environment `env` will be."""
        self._robot, self._env = robot, env
        self._frames: list[dict[str, np.ndarray]] = []
        self._starts: list[bool] = []

    def add(
        self,
        sim: SimState,
        command: Array,
        action: Array,
        targets: Array,
        episode_start: bool = False,
        ghost: SimState | Pose | None = None,
    ) -> None:
        """Copy one control step.

        Args:
          sim: [E, ...] the state that the step reached.
          command: [E, 3].
          action: [E, A].
          targets: [E, J] rad.
          episode_start: whether the step was the first after a reset.
          ghost: [E, ...] a second pose, drawn transparent; in all steps or in none.
        """
        env, robot = self._env, self._robot
        frame = {name: np.array(getattr(sim, name)[env], np.float32) for name in SimState._fields}
        target = np.array(targets[env], np.float32)
        torque = robot.kp * (target - frame["joint_pos"]) - robot.kd * frame["joint_vel"]
        frame |= {
            "command": np.array(command[env], np.float32),
            "action": np.array(action[env], np.float32),
            "joint_target": target,
            "joint_torque": np.clip(torque, -robot.torque_limit, robot.torque_limit),
        }
        if ghost is not None:
            frame |= {f"ghost_{name}": np.array(getattr(ghost, name)[env], np.float32) for name in POSE}
        self._frames.append(frame)
        self._starts.append(episode_start)

    def save(self, path: Path, *, control_dt: float, decimation: int, **facts: Any) -> Path:
        """Write everything as compressed ``.npz``, atomically.

        Args:
          path: target; its folder is created.
          control_dt: s between frames.
          decimation: physics steps per frame.
          facts: further entries of the metadata: policy, simulator, ...

        Raises:
          OSError: it cannot be written.
        """
        robot = self._robot
        metadata = {
            "holosoma_jax_version": __version__,
            "robot": robot.name,
            "dt": control_dt,
            "control_hz": round(1.0 / control_dt, 6),
            "physics_hz": round(decimation / control_dt, 6),
            "joint_names": list(robot.joint_names),
            "body_names": list(robot.body_names),
            **{name: np.asarray(getattr(robot, name)).tolist() for name in _LIMITS},
            "quaternions": "w x y z",
            "joint_torque": "clip(kp (target - q) - kd qd, limits) at the end of the control step",
            "units": dict(UNITS),
            **facts,
        }
        kept = [name for name in UNITS if name in self._frames[0]]
        arrays = {name: np.stack([frame[name] for frame in self._frames]) for name in kept}
        arrays |= {METADATA: np.array(json.dumps(metadata)), STARTS: np.array(self._starts)}
        with replacing(path) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **arrays)
        return path


_WANTED = "wanted an .npz that eval --record has written"
_SHORTEST, _LONGEST = 1e-4, 10.0
"""s between two frames"""
_MAX_RATIO, _FREE_BYTES = 100, 50 << 20
"""times its size that an archive may unpack to, above so many bytes"""
_UNIT_TOLERANCE = 0.02
"""by which a quaternion's length may differ from 1"""
_LIMITS = ("kp", "kd", "torque_limit", "velocity_limit", "joint_lower", "joint_upper", "default_joint_pos")


def read(path: str | os.PathLike[str]) -> Recording:
    """A recording.

    Raises:
      ConfigError: no such file, or it is no recording; one line that names the array at fault.
    """
    path = Path(path)
    try:
        _require_small(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file.") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; {_WANTED}.") from None
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except Exception:  # a zip error, a pickle, an early end, ...
        raise ConfigError(f"{path}: not an .npz file of arrays, or cut short; {_WANTED}.") from None
    metadata = _document(path, arrays.get(METADATA))
    joints, bodies = (_names(path, metadata, key) for key in ("joint_names", "body_names"))
    dt = metadata.get("dt")
    if isinstance(dt, bool) or not isinstance(dt, (int, float)) or not _SHORTEST <= dt <= _LONGEST:
        raise ConfigError(
            f"{path}: {METADATA}: dt is {dt!r:.40}; expected seconds between frames, {_SHORTEST:g} to {_LONGEST:g}."
        )
    if missing := [name for name in POSE if name not in arrays]:
        raise ConfigError(f"{path}: lacks '{missing[0]}'; {_WANTED}.")
    kept = {name: arrays[name] for name in ("root_pos", *UNITS, STARTS) if name in arrays}
    ghost = [name for name in POSE if f"ghost_{name}" in kept]
    if 0 < len(ghost) < len(POSE):
        lacking = next(name for name in POSE if name not in ghost)
        raise ConfigError(f"{path}: has 'ghost_{ghost[0]}', but lacks 'ghost_{lacking}'; {_WANTED}.")
    frames = len(np.atleast_1d(kept["root_pos"]))
    for name, array in kept.items():
        _check(path, name, array, (frames, *_tail(name, len(joints), len(bodies))))
    robot = metadata.get("robot")
    if robot is not None and not isinstance(robot, str):
        raise ConfigError(f"{path}: {METADATA}: robot is {robot!r:.40}; expected a name.")
    return Recording(kept, joints, bodies, robot=robot, dt=float(dt), metadata=metadata)


def _require_small(path: Path) -> None:
    """Raise ConfigError where an archive would unpack to many times its size."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ConfigError(f"{path}: is no regular file; {_WANTED}.")
    packed = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        size = sum(item.file_size for item in archive.infolist())
    if size > max(_FREE_BYTES, _MAX_RATIO * packed):
        raise ConfigError(
            f"{path}: would unpack from {packed / 1e6:.1f} MB to {size / 1e6:.0f} MB; {_WANTED}."
        )


def _document(path: Path, array: np.ndarray | None) -> dict[str, Any]:
    """The JSON document of a recording."""
    if array is None:
        raise ConfigError(f"{path}: has no {METADATA}; {_WANTED}.")
    try:
        document = json.loads(str(array))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: its {METADATA} is not JSON ({error}).") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: its {METADATA} holds {document!r:.40}; expected names and rates.")
    return document


def _names(path: Path, document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The list of different names under `key`."""
    names = document.get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"{path}: {METADATA}: {key} is {names!r:.40}; expected a list of names.")
    if not names or len(set(names)) < len(names):
        twice = next((name for name in names if names.count(name) > 1), None)
        what = "is empty" if twice is None else f"names '{twice}' twice"
        raise ConfigError(f"{path}: {METADATA}: {key} {what}.")
    return tuple(names)


def _check(path: Path, name: str, array: np.ndarray, wanted: tuple[int | None, ...]) -> None:
    """See that an array of a recording has the shape that is `wanted`, finite numbers and unit quaternions."""
    alike = array.ndim == len(wanted) and all(
        w in (None, n) for w, n in zip(wanted, array.shape, strict=True)
    )
    if not alike or not wanted[0] or array.dtype.kind not in "fiub":
        raise ConfigError(
            f"{path}: {name} is {array.dtype} of shape {list(array.shape)}; expected numbers of shape "
            f"{['any' if w is None else w for w in wanted]}, at least one frame."
        )
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ConfigError(
            f"{path}: {name}, frame {where[0]}, entry {list(where[1:])} is {array[where]:g}; expected finite numbers."
        )
    if name.endswith("_quat"):
        length = np.linalg.norm(array.astype(np.float64), axis=-1)
        off = np.abs(length - 1.0) > _UNIT_TOLERANCE
        if off.any():
            where = tuple(int(i) for i in np.argwhere(off)[0])
            raise ConfigError(
                f"{path}: {name}, frame {where[0]}: the quaternion has length {length[where]:.3g}, expected 1."
            )


def _tail(name: str, joints: int, bodies: int) -> tuple[int | None, ...]:
    """The shape of one frame of array `name` in a recording; None: any length."""
    if name == STARTS:
        return ()
    if name == "action":
        return (None,)
    name = name.removeprefix("ghost_")
    if name.startswith("joint_"):
        return (joints,)
    size = 4 if name.endswith("_quat") else 3
    return (bodies, size) if name.startswith("body_") or name == "contact_force" else (size,)
