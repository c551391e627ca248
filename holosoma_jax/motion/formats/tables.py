"""Tables of numbers: LAFAN, Kimodo and BONES csv, AMASS-for-G1 npy, SONIC's folder of csv files."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion.formats.raw import (
    FASTEST,
    SLOWEST,
    UNIT_TOLERANCE,
    Fields,
    Raw,
    checked,
    regular_file,
    unit,
)

BONES = (
    "root_translateX",
    "root_translateY",
    "root_translateZ",
    "root_rotateX",
    "root_rotateY",
    "root_rotateZ",
)
JOINT_SUFFIXES = ("_dof", "_pos")


def parse(file: str, data: bytes, name: str) -> list[Raw]:
    """The clip in a csv file.

    Raises:
      ConfigError: no csv of numbers, or of no known layout; one line with the row at fault.
    """
    rows = _rows(data)
    if not rows or len(rows[0]) < 2:
        raise ConfigError(f"{file}: is neither npz, npy, pickle nor a table of numbers.")
    header, body, first = ([], rows, 1) if _is_number(rows[0][0]) else (rows[0], rows[1:], 2)
    header = [column.strip() for column in header]
    table = _numbers(file, body, len(rows[0]), first)
    if not header:
        return columns(file, "csv of 7 + J columns", table, name)
    fields = Fields(file, {column: table[:, i] for i, column in enumerate(header)})
    if BONES[0] in fields:
        if twice := next((column for column in header if header.count(column) > 1), None):
            raise ConfigError(f"{file}: its header names the column '{twice}' twice.")
        return [_bones(fields, header, name)]
    raise ConfigError(
        f"{file}: its header ({', '.join(header[:4])}, ...) is of no known format; expected BONES's "
        f"({BONES[0]}, ...), or no header and 7 + J columns."
    )


def columns(file: str, kind: str, table: np.ndarray, name: str) -> list[Raw]:
    """A bare table [T, 7 + J]: root position, quaternion in an order to be found, joints.

    Unitree's LAFAN csv has x y z w, Kimodo's (and any dump of MuJoCo's qpos) w x y z.
    """
    table = checked(file, "the table", table, (None, None))
    table, fps, notes = _without_clock(table)
    if table.shape[1] < 8:
        raise ConfigError(
            f"{file}: has {table.shape[1]} columns; expected 7 of the root and one for each joint."
        )
    unit(file, "columns 3:7", table[:, 3:7])
    return [
        Raw(
            file=file,
            format=kind,
            name=name,
            fps=fps,
            root_pos=table[:, :3],
            root_rot=table[:, 3:7],
            joint_pos=table[:, 7:],
            conventional=False,
            notes=notes,
        )
    ]


def _without_clock(table: np.ndarray) -> tuple[np.ndarray, float | None, tuple[str, ...]]:
    """`table` without a first column of frame numbers or seconds, the frame rate that these give, and a note.

    It is one where it rises evenly, and the four columns that hold a quaternion lie one further to the right.
    """

    def has_quaternions(first: int) -> bool:
        length = np.linalg.norm(table[:, first : first + 4], axis=1)
        return bool((np.abs(length - 1.0) < UNIT_TOLERANCE).all())

    steps = np.diff(table[:, 0])
    if table.shape[1] < 9 or not steps.size or has_quaternions(3) or not has_quaternions(4):
        return table, None, ()
    step = float(np.median(steps))
    if step <= 0.0 or np.abs(steps - step).max() > 0.1 * step:
        return table, None, ()
    if step == 1.0:
        return table[:, 1:], None, ("the first column, which numbers the frames, is left out",)
    fps = round(1.0 / step, 2) if SLOWEST <= 1.0 / step <= FASTEST else None
    return table[:, 1:], fps, ("the first column, which is taken for seconds, is left out",)


def sonic(folder: Path) -> list[Raw]:
    """SONIC's deployment folder: joint_pos.csv, body_pos.csv, body_quat.csv, each with a header.

    Raises:
      ConfigError: it holds none of these.
    """
    missing = next(
        (n for n in ("joint_pos", "body_pos", "body_quat") if not (folder / f"{n}.csv").is_file()), None
    )
    if missing:
        raise ConfigError(
            f"{folder}: is a folder without {missing}.csv; expected a file, or SONIC's folder of csv."
        )
    tables = {}
    for key in ("joint_pos", "joint_vel", "body_pos", "body_quat"):
        path = folder / f"{key}.csv"
        if path.is_file():
            rows = _rows(regular_file(path))
            if rows is None:
                raise ConfigError(f"{path}: is no table of comma-separated numbers.")
            skip = bool(rows) and not _is_number(rows[0][0])
            if len(rows) <= skip:
                raise ConfigError(f"{path}: is empty.")
            tables[key] = checked(
                str(path), "the table", _numbers(str(path), rows[skip:], len(rows[0]), 1 + skip), (None, None)
            )
    frames = len(tables["joint_pos"])
    for key, table in tables.items():
        if len(table) != frames:
            raise ConfigError(f"{folder}: {key}.csv has {len(table)} rows, but joint_pos.csv has {frames}.")
    pos, quat = tables["body_pos"], tables["body_quat"]
    if pos.shape[1] % 3 or quat.shape[1] % 4:
        raise ConfigError(f"{folder}: body_pos.csv has {pos.shape[1]} columns and body_quat.csv {quat.shape[1]}; "
                          "expected 3 and 4 for each body.")  # fmt: skip
    quat = quat.reshape(frames, -1, 4)
    unit(str(folder / "body_quat.csv"), "the table", quat)
    return [
        Raw(
            file=str(folder),
            format="SONIC folder",
            name=folder.name,
            fps=50.0,
            root_pos=pos[:, :3],
            root_rot=quat[:, 0],
            joint_pos=tables["joint_pos"],
            joint_vel=tables.get("joint_vel"),
            joint_orders=("isaac", "robot"),
            quaternion=("wxyz", "xyzw"),
            notes=("fps is not in the folder; 50 as SONIC plays it",),
        )
    ]


def _bones(fields: Fields, header: list[str], name: str) -> Raw:
    """BONES and SOMA: centimetres and degrees, Euler angles about the fixed axes x, y, z."""
    known = {*BONES, "Frame", "frame", "time", "Time"}
    joints = [column for column in header if column not in known]
    if not joints:
        raise ConfigError(f"{fields.file}: has a root, but no column for a joint.")
    frames = len(fields.array(BONES[0], None))
    root = np.stack([fields.array(column, frames) for column in BONES], 1)

    def joint(column: str) -> str:
        return next((column.removesuffix(s) for s in JOINT_SUFFIXES if column.endswith(s)), column)

    names = tuple(map(joint, joints))
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{fields.file}: its header names the joint '{twice}' twice.")
    return Raw(
        file=fields.file,
        format="BONES csv",
        name=name,
        fps=None,
        root_pos=root[:, :3],
        root_rot=root[:, 3:],
        joint_pos=np.stack([fields.array(column, frames) for column in joints], 1),
        joint_names=names,
        quaternion=("euler xyz",),
        units=("cm deg", "m deg", "m rad", "cm rad"),
    )


def _rows(data: bytes) -> list[list[str]] | None:
    """The rows of a table that are not empty, at commas, semicolons, tabs or spaces, without lines of '#'.

    None: it is no text, or no table.
    """
    try:
        lines = [line for line in io.StringIO(data.decode("utf-8-sig")) if not line.startswith("#")]
        first = next((line.strip() for line in lines if line.strip()), "")
        separator = next((mark for mark in ";\t," if mark in first), None)
        if separator is None:  # as np.savetxt writes
            rows = [line.split() for line in lines]
        else:
            rows = list(csv.reader(lines, delimiter=separator))
    except (UnicodeDecodeError, csv.Error):
        return None
    rows = [row for row in rows if row]
    if all(len(row) > 1 and not row[-1].strip() for row in rows):  # each line ends with a separator
        rows = [row[:-1] for row in rows]
    return rows


def _numbers(file: str, rows: list[list[str]], width: int, first: int) -> np.ndarray:
    """Rows as float64 [T, width]; `first` is the first one's line, for messages."""
    if not rows:
        raise ConfigError(f"{file}: is empty: it has a header and no row.")
    table = np.empty((len(rows), width))
    for i, row in enumerate(rows):
        if len(row) != width:
            raise ConfigError(
                f"{file}: frame {i} (line {first + i}) has {len(row)} columns, the first {width}. "
                "Is the file cut short?"
            )
        try:
            table[i] = [float(cell) for cell in row]
        except ValueError:
            cell = next(c for c in row if not _is_number(c))
            raise ConfigError(
                f"{file}: frame {i} (line {first + i}) has {cell!r}; expected a number."
            ) from None
    return table


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
