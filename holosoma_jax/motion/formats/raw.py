"""`Raw`: what a file holds, before joint order, quaternion order and units are decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.motion.formats import compression

GREATEST = 1e6
"""limit of any number in a clip, in any unit"""
SLOWEST, FASTEST = 0.1, 10_000.0
"""frames per second of a clip: what is slower would be resampled to more frames than memory holds"""
LONGEST_NAME = 200
UNIT_TOLERANCE = 0.02
"""by which a quaternion's length may differ from 1; float16 and printed digits stay within"""


@dataclass(frozen=True, eq=False)
class StoredBodies:
    """Body poses that a file holds beside the coordinates."""

    names: tuple[str, ...] | None
    """None: nameless, in one of two orders"""
    pos: np.ndarray
    """[T, B, 3] m"""
    quat: np.ndarray | None = None
    """[T, B, 4] in the file's quaternion order"""
    lin_vel: np.ndarray | None = None
    ang_vel: np.ndarray | None = None
    local: bool = False
    """positions are relative to a root at the origin that is not rotated"""


@dataclass(frozen=True, eq=False)
class Raw:
    """One trajectory of T frames as its file has it.

    Tuples of choices list the readings that the layout allows, the format's own convention first.
    """

    file: str
    """path, for messages"""
    format: str
    name: str
    fps: float | None
    """None: not in the file"""
    root_pos: np.ndarray
    """[T, 3]"""
    root_rot: np.ndarray
    """[T, 4] quaternion, or [T, 3] Euler angles where `quaternion` says so"""
    joint_pos: np.ndarray
    """[T, J]"""
    joint_names: tuple[str, ...] | None = None
    joint_orders: tuple[str, ...] = ("robot", "isaac")
    """of a file without names"""
    quaternion: tuple[str, ...] = ("xyzw", "wxyz")
    units: tuple[str, ...] = ("m rad",)
    """'m rad', 'm deg', 'cm deg' or 'cm rad', of root position and of angles"""
    joint_vel: np.ndarray | None = None
    """[T, J] rad/s"""
    root_vel: np.ndarray | None = None
    """[T, 6] as stored: linear and angular, world frame"""
    bodies: StoredBodies | None = None
    contact: np.ndarray | None = None
    object_pos: np.ndarray | None = None
    object_quat: np.ndarray | None = None
    terrain: str | None = None
    notes: tuple[str, ...] = ()
    conventional: bool = True
    """the format defines the first of each tuple of choices; else writers differ, and figures alone decide"""
    root_body: str | None = None
    """the body whose pose `root_pos` and `root_rot` are; None: the root"""
    commanded: bool = False
    """what a policy was exported with: joint velocities are the file's own, and a reading that does not fit the
    ground is noted, not refused"""


class Fields:
    """Arrays of one file by key, checked on access; every fault is one line that names file and key."""

    def __init__(self, file: str, values: Mapping[str, Any]):
        """`values`: what the file holds."""
        self.file, self.values = file, values

    def __contains__(self, key: str) -> bool:
        """Whether the file has it, and not as None."""
        return self.values.get(key) is not None

    def array(self, key: str, *shape: int | None) -> np.ndarray:
        """The finite float64 array under `key`; `None` in `shape` allows any length.

        Raises:
          ConfigError: it is missing, no array of numbers, of another shape, or not finite (with the frame).
        """
        if key not in self:
            raise ConfigError(f"{self.file}: lacks '{key}'.{nearest(key, map(str, self.values))}")
        return checked(self.file, key, self.values[key], shape)

    def optional(self, key: str, *shape: int | None) -> np.ndarray | None:
        """`array`, or None if the file lacks it."""
        return self.array(key, *shape) if key in self else None

    def labels(self, key: str, frames: int) -> np.ndarray:
        """Contact labels [frames, 2] of the left and right foot.

        Raises:
          ConfigError: as `array`; or one is not from 0 to 1.
        """
        labels = self.array(key, frames, 2)
        off = (labels < 0.0) | (labels > 1.0)
        if off.any():
            t, foot = map(int, np.argwhere(off)[0])
            raise ConfigError(
                f"{self.file}: {key}, frame {t}, column [{foot}] is {labels[t, foot]:g}; expected 0 to 1."
            )
        return labels

    def names(self, key: str) -> tuple[str, ...]:
        """The list of names under `key`.

        Raises:
          ConfigError: it is no list of text, is empty, or names one thing twice.
        """
        if key not in self:
            raise ConfigError(f"{self.file}: lacks '{key}'.{nearest(key, map(str, self.values))}")
        try:
            values = np.asarray(self.values[key])
        except ValueError:  # lists of different lengths
            values = np.zeros((0, 0))
        if values.shape == (0,):
            raise ConfigError(f"{self.file}: {key} is empty; expected a list of names.")
        if values.ndim != 1 or values.dtype.kind not in "US":
            raise ConfigError(f"{self.file}: {key}: expected a list of names, got {_described(values)}.")
        names = tuple(v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values.tolist())
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise ConfigError(f"{self.file}: {key}: names '{twice}' twice.")
        return names

    def word(self, key: str) -> str | None:
        """The text under `key`; None if there is none, as other writers may mean something else by the key."""
        value = np.asarray(self.values[key]) if isinstance(self.values.get(key), str | np.ndarray) else None
        if value is None or value.size != 1 or value.dtype.kind != "U":
            return None
        return str(value.item())[:LONGEST_NAME] or None

    def fps(self, key: str = "fps") -> float | None:
        """Frames per second, or None if the file lacks them."""
        return frame_rate(self.file, key, self.values[key]) if key in self else None

    def required_fps(self) -> float:
        """`fps`; raises ConfigError if the file lacks them."""
        rate = self.fps()
        if rate is None:
            raise ConfigError(f"{self.file}: lacks 'fps'.")
        return rate


def regular_file(path: Path) -> bytes:
    """What the file holds.

    Raises:
      ConfigError: there is none, or it is a pipe or a device, larger than a clip can be, or cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: is no regular file; expected a clip in one.")
        if path.stat().st_size > compression.MAX_BYTES:
            raise ConfigError(f"{path}: holds {path.stat().st_size / 1e9:.1f} GB; expected a clip.")
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file.") from None
    except ConfigError:
        raise
    except (OSError, ValueError) as error:  # ValueError: its name holds NUL
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read ({reason}).") from None


def frame_rate(file: str, key: str, value: Any) -> float:
    """`value` as frames per second: one number, as such or in an array.

    Raises:
      ConfigError: it is anything else, or not from `SLOWEST` to `FASTEST`.
    """
    array = _as_array(file, key, value)
    if array.size == 1 and array.dtype.kind in "iuf":
        rate = float(array.reshape(-1)[0])
        if SLOWEST <= rate <= FASTEST:
            return rate
        raise ConfigError(
            f"{file}: {key} is {rate:g}; expected frames per second, {SLOWEST:g} to {FASTEST:g}."
        )
    raise ConfigError(f"{file}: {key}: expected one number, frames per second; got {_described(array)}.")


def frame_time(file: str, key: str, value: Any) -> float:
    """`value` as seconds between two frames, in frames per second.

    Raises:
      ConfigError: it is no number, or not from 1 / `FASTEST` to 1 / `SLOWEST`.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 1.0 / FASTEST <= value <= 1.0 / SLOWEST:
        raise ConfigError(
            f"{file}: {key} is {value!r:.40}; expected seconds between frames, {1 / FASTEST:g} to {1 / SLOWEST:g}."
        )
    return 1.0 / value


def _as_array(file: str, key: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:
        raise ConfigError(f"{file}: {key}: its rows differ in length.") from None


def checked(file: str, key: str, value: Any, shape: Sequence[int | None]) -> np.ndarray:
    """`value` as float64 of `shape`, finite; see `Fields.array`."""
    array = _as_array(file, key, value)
    if array.dtype.kind not in "iufb":
        raise ConfigError(f"{file}: {key}: expected an array of numbers, got {_described(array)}.")
    with np.errstate(all="ignore"):  # signalling NaN of damaged files
        array = array.astype(np.float64)
        faulty = ~(np.abs(array) <= GREATEST)
    if array.ndim != len(shape) or any(
        w is not None and w != n for w, n in zip(shape, array.shape, strict=True)
    ):
        expected = ", ".join(
            "T" if w is None and i == 0 else "any" if w is None else str(w) for i, w in enumerate(shape)
        )
        raise ConfigError(f"{file}: {key} has shape {list(array.shape)}, expected [{expected}].")
    if shape and array.shape[0] == 0:
        raise ConfigError(f"{file}: {key} is empty: it has no frame.")
    if faulty.any():
        where = np.argwhere(faulty)[0]
        value = array[tuple(where)]
        column = f", column {list(map(int, where[1:]))}" if len(where) > 1 else ""
        raise ConfigError(
            f"{file}: {key}, frame {int(where[0])}{column} is {value:g}; expected finite numbers below {GREATEST:g}."
        )
    return array


def unit(file: str, key: str, quat: np.ndarray) -> np.ndarray:
    """`quat` [T, ..., 4], of length 1 within `UNIT_TOLERANCE`.

    Raises:
      ConfigError: one has not; names the frame.
    """
    length = np.linalg.norm(quat, axis=-1)
    off = np.abs(length - 1.0) > UNIT_TOLERANCE
    if off.any():
        where = np.argwhere(off)[0]
        body = f", body {int(where[1])}" if len(where) > 1 else ""
        raise ConfigError(
            f"{file}: {key}, frame {int(where[0])}{body}: the quaternion has length {length[tuple(where)]:.3g}, "
            "expected 1."
        )
    return quat


def require_frames(file: str, frames: int, arrays: Mapping[str, np.ndarray | None]) -> None:
    """See that all arrays have `frames` rows.

    Raises:
      ConfigError: one has not; names it.
    """
    for key, array in arrays.items():
        if array is not None and len(array) != frames:
            raise ConfigError(f"{file}: {key} has {len(array)} frames, but the root has {frames}.")


def _described(array: np.ndarray) -> str:
    if array.dtype.kind == "O":
        return f"Python objects of shape {list(array.shape)}"
    if array.dtype.kind in "US":
        return f"text {str(array.reshape(-1)[:1])[1:-1]}"
    return f"{array.dtype} of shape {list(array.shape)}"
