"""The fields of a robot's record, ``robot.yaml``, read and checked one by one.

Every function takes the record's path, for messages, and raises ConfigError that names the file and the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.schema.types import CONTROL
from holosoma_jax.config.yaml12 import NameLoader
from holosoma_jax.robots.model import LARGEST

BODY_LISTS = {
    "feet_bodies": 2,
    "foot_height_bodies": 2,
    "termination_bodies": None,
    "randomized_mass_bodies": None,
}
OPTIONAL_BODY_LISTS = {"hand_bodies": 2, "tracked_bodies": None}
"""read by whole-body tracking only"""
JOINT_NUMBERS = {
    "default": (-100.0, 100.0),
    "kp": (0.0, 1e6),
    "kd": (0.0, 1e5),
    "torque_limit": (1e-6, 1e6),
    "velocity_limit": (1e-6, 1e6),
    "armature": (0.0, 1e3),
}
"""Columns of the joint table (rad, N m/rad, N m s/rad, N m, rad/s, kg m^2), with the least and the greatest number of
each: what single precision can step"""
FARTHEST = 10_000.0, 100.0
"""m, of where a robot may start: horizontally, and in height; as of `robot.init_state.pos`"""
LONGEST_NAME = 100
"""letters of a robot's name"""
FIELDS = (
    "name", "mjcf", "init_pos", "init_quat", "action_scale", "soft_limit_factor",
    "root_body", "torso_body", *BODY_LISTS, "joints",
)  # fmt: skip


def read(path: Path) -> Mapping[str, Any]:
    """The record: all of `FIELDS`, and perhaps the optional ones (``model`` is docs/scripts/build_robot.py's)."""
    try:
        record = yaml.load(path.read_bytes(), NameLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except Exception as error:  # an explicit tag (!!bool maybe) or deep brackets may fail in any way
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(record, dict):
        raise ConfigError(f"{path}: expected a mapping of fields, got {type(record).__name__}.")
    for key in record:
        if key not in (*FIELDS, *OPTIONAL_BODY_LISTS, "model"):
            raise ConfigError(
                f"{path}: unknown field '{key}'.{nearest(str(key), (*FIELDS, *OPTIONAL_BODY_LISTS))}"
            )
    for key in FIELDS:
        if key not in record:
            raise ConfigError(f"{path}: field '{key}' is missing. Fields: {', '.join(FIELDS)}.")
    return record


def joints(path: Path, record: Mapping[str, Any], joints: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns [J] of the joint table, which must list the model's joints in the model's order."""
    table = record["joints"]
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: joints: expected a mapping of joint name to numbers.")
    for name in table:
        if name not in joints:
            raise ConfigError(f"{path}: joints: the model has no joint '{name}'.{nearest(str(name), joints)}")
    for name in joints:
        if name not in table:
            raise ConfigError(f"{path}: joints: the model's joint '{name}' is missing.")
    for got, want in zip(table, joints, strict=True):
        if got != want:
            raise ConfigError(f"{path}: joints: '{got}' stands where the model has '{want}'. Reorder them.")
    for name, row in table.items():
        keys = [*JOINT_NUMBERS, "mirror"]
        if not isinstance(row, dict) or set(row) != set(keys):
            got = ", ".join(map(str, row)) if isinstance(row, dict) else repr(row)
            raise ConfigError(f"{path}: joints.{name}: expected {', '.join(keys)}; got {got}.")
        for key in JOINT_NUMBERS:
            low, high = JOINT_NUMBERS[key]
            if not _is_number(row[key]) or not low <= row[key] <= high:
                raise ConfigError(
                    f"{path}: joints.{name}.{key}: expected a number from {low:g} to {high:g}, got {row[key]!r}."
                )
    return {key: frozen([row[key] for row in table.values()]) for key in JOINT_NUMBERS}


def mirror(path: Path, record: Mapping[str, Any], joints: Sequence[str]) -> tuple[list[int], list[float]]:
    """Index and sign [J] of the left-right mirror; applied twice it is the identity."""
    table = record["joints"]
    for name, row in table.items():
        where, entry = f"{path}: joints.{name}.mirror", row["mirror"]
        if not isinstance(entry, list) or len(entry) != 2 or entry[1] not in (1, -1):
            raise ConfigError(f"{where}: expected [joint, 1] or [joint, -1], got {entry!r}.")
        other, sign = entry
        if other not in joints:
            raise ConfigError(f"{where}: the model has no joint '{other}'.{nearest(str(other), joints)}")
        if table[other]["mirror"] != [name, sign]:
            raise ConfigError(
                f"{where}: is [{other}, {sign}], so {other} must have [{name}, {sign}], "
                f"not {table[other]['mirror']}."
            )
    pairs = [row["mirror"] for row in table.values()]
    return [joints.index(other) for other, _ in pairs], [float(sign) for _, sign in pairs]


def body(path: Path, key: str, name: Any, bodies: Sequence[str]) -> str:
    """`name`, which field `key` gives to one of the model's `bodies`."""
    if name not in bodies:
        raise ConfigError(f"{path}: {key}: the model has no body '{name}'.{nearest(str(name), bodies)}")
    return name


def bodies(
    path: Path, record: Mapping[str, Any], key: str, bodies: Sequence[str], size: int | None
) -> tuple[str, ...]:
    """Field `key`, a list of different `bodies` of the model: of `size` of them, or of any number."""
    names = record[key]
    if not isinstance(names, list) or (size is not None and len(names) != size):
        expected = "a list of body names" if size is None else f"{size} body names, left then right"
        raise ConfigError(f"{path}: {key}: expected {expected}, got {names!r}.")
    found = tuple(body(path, key, name, bodies) for name in names)
    if twice := next((name for name in found if found.count(name) > 1), None):
        raise ConfigError(f"{path}: {key}: names '{twice}' twice.")
    return found


def name_of(path: Path, record: Mapping[str, Any]) -> str:
    """The robot's name, which becomes part of file names."""
    name = text(path, record, "name")
    if len(name) > LONGEST_NAME or not name.strip(" .") or re.search(rf"[/\\{CONTROL}]", name):
        raise ConfigError(
            f"{path}: name: got '{name}'; expected a name without slashes and control characters, at most "
            f"{LONGEST_NAME} letters."
        )
    return name


def text(path: Path, record: Mapping[str, Any], key: str) -> str:
    """Field `key`, a text."""
    if not isinstance(record[key], str):
        raise ConfigError(f"{path}: {key}: expected text, got {record[key]!r}.")
    return record[key]


def positive(path: Path, record: Mapping[str, Any], key: str, high: float) -> float:
    """Field `key`, a number above 0 and at most `high`."""
    if not _is_number(record[key]) or not 1e-6 <= record[key] <= high:
        raise ConfigError(f"{path}: {key}: expected a number above 0, at most {high:g}, got {record[key]!r}.")
    return float(record[key])


def vector(path: Path, record: Mapping[str, Any], key: str, size: int) -> Any:
    """Field `key`, `size` numbers as a tuple."""
    value = record[key]
    if not isinstance(value, list) or len(value) != size or not all(map(_is_number, value)):
        raise ConfigError(f"{path}: {key}: expected {size} numbers, got {value!r}.")
    return tuple(float(v) for v in value)


def start(path: Path, record: Mapping[str, Any]) -> Any:
    """Where the robot starts, m from its tile's origin."""
    x, y, z = found = vector(path, record, "init_pos", 3)
    if max(abs(x), abs(y)) > FARTHEST[0] or not 0.0 <= z <= FARTHEST[1]:
        raise ConfigError(
            f"{path}: init_pos: expected metres, the first two within {FARTHEST[0]:g}, the third from 0 to "
            f"{FARTHEST[1]:g}; got {list(found)}."
        )
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def frozen(values: Any, dtype: Any = np.float32) -> np.ndarray:
    """A read-only copy."""
    array = np.array(values, dtype)
    array.setflags(write=False)
    return array
