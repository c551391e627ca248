"""Reading a recording from a file that anybody may have written."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bridges.protocol import Ground
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.render.recording import HEIGHTS, METADATA, POSE, STARTS, UNITS, Recording

_WANTED = "wanted an .npz that eval --record has written"
_SHORTEST, _LONGEST = 1e-4, 10.0
"""s between two frames"""
_FINEST, _COARSEST = 1e-3, 100.0
"""m between two heights of the ground"""
_GREATEST = 1e6
"""limit of any number, in any unit: far beyond it, single precision holds none"""
_MAX_RATIO, _FREE_BYTES = 100, 50 << 20
"""times its size that an archive may unpack to, above so many bytes"""
_UNIT_TOLERANCE = 0.02
"""by which a quaternion's length may differ from 1"""


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
    known = {name: arrays[name] for name in ("root_pos", *UNITS, STARTS) if name in arrays}
    if "command" in known and known["command"].dtype.kind == "f" and np.isnan(known["command"]).all():
        del known["command"]  # until November 2026, of a task without commands
    ghost = [name for name in POSE if f"ghost_{name}" in known]
    if 0 < len(ghost) < len(POSE):
        lacking = next(name for name in POSE if name not in ghost)
        raise ConfigError(f"{path}: has 'ghost_{ghost[0]}', but lacks 'ghost_{lacking}'; {_WANTED}.")
    frames = len(np.atleast_1d(known["root_pos"]))
    for name, array in known.items():
        _check(path, name, array, (frames, *_tail(name, len(joints), len(bodies))))
    robot = metadata.get("robot")
    if robot is not None and not isinstance(robot, str):
        raise ConfigError(f"{path}: {METADATA}: robot is {robot!r:.40}; expected a name.")
    ground = _ground(path, metadata, arrays.get(HEIGHTS))
    return Recording(known, joints, bodies, robot=robot, dt=float(dt), metadata=metadata, ground=ground)


def _ground(path: Path, document: Mapping[str, Any], heights: np.ndarray | None) -> Ground:
    """The ground of a recording; a plane if it has no heights."""
    if heights is None:
        return Ground()
    _check(path, HEIGHTS, heights, (len(np.atleast_1d(heights)), None))
    try:
        place: Any = document.get("ground")
        cell, (x, y) = (float(place["cell"]), map(float, place["corner"]))
        fits = (
            _FINEST <= cell <= _COARSEST
            and abs(x) <= _GREATEST
            and abs(y) <= _GREATEST
            and min(heights.shape) > 1
        )
    except (TypeError, KeyError, ValueError, OverflowError):
        fits, cell, x, y = False, 0.0, 0.0, 0.0
    if not fits:
        raise ConfigError(
            f"{path}: {METADATA}: ground is {document.get('ground')!r:.60} for {HEIGHTS} of shape "
            f"{list(heights.shape)}; expected cell, {_FINEST:g} to {_COARSEST:g} m, and corner, two numbers in m, for "
            "at least 2 x 2 heights."
        )
    return Ground(heights.astype(np.float32), cell, (x, y))


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
    with np.errstate(all="ignore"):
        bad = ~(np.abs(array.astype(np.float64)) <= _GREATEST)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ConfigError(
            f"{path}: {name}, frame {where[0]}, entry {list(where[1:])} is {array[where]:g}; expected finite numbers "
            f"below {_GREATEST:g}."
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
