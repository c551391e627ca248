"""Which format a file has: told by its first bytes, its keys and its shapes, never by its name."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion.formats import compression, npz, pickles, policy_graph, tables, unpickle
from holosoma_jax.motion.formats.raw import Fields, Raw, regular_file

NPY = b"\x93NUMPY"
ZIP = b"PK\x03\x04"
EMPTY_ZIP = b"PK\x05\x06"
ONNX = b"\x08"
"""the first field of a model, its version; no text starts with it"""


def parse(path: Path) -> list[Raw]:
    """The trajectories in `path`: one, or several where the format holds several.

    Raises:
      ConfigError: it is not there, of no known format, or its arrays are faulty; one line.
    """
    file = str(path)
    try:
        is_folder = path.is_dir()
    except (OSError, ValueError):  # a name that is too long, or holds NUL
        is_folder = False
    if is_folder:
        return tables.sonic(path)
    data = regular_file(path)
    if not data:
        raise ConfigError(f"{file}: is empty.")
    if data.startswith((ZIP, EMPTY_ZIP)):
        return npz.parse(Fields(file, _with_names(path, _npz(file, data))), path.stem)
    if data.startswith(NPY):
        return _npy(file, data, path.stem)
    if data.startswith(compression.LZ4):
        raise ConfigError(
            f"{file}: is compressed with lz4; write it without: joblib.dump(joblib.load(FILE), NEW)."
        )
    if data.startswith((b"\x80", *compression.MAGIC)) or _is_text_pickle(data):
        return pickles.parse(file, _unpickled(file, data), path.stem)
    if data.startswith(ONNX):
        return policy_graph.parse(path)
    if data.startswith(b"version https://git-lfs"):
        raise ConfigError(f"{file}: is a Git LFS pointer, not the file itself. Fetch it with: git lfs pull.")
    return tables.parse(file, data, path.stem)


def _is_text_pickle(data: bytes) -> bool:
    """Whether it may be a pickle of protocol 0 or 1, which have no head: a dict or a list, up to the full stop."""
    return data.startswith((b"(", b"}", b"]", b"ccollections")) and data.endswith(b".")


def _npz(file: str, data: bytes) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.namelist()
            size, limit = (
                sum(item.file_size for item in archive.infolist()),
                compression.unpacked_limit(len(data)),
            )
            if size > limit:
                raise ConfigError(
                    f"{file}: would unpack to {size / 1e6:.0f} MB, at most {limit / 1e6:.0f} are read."
                )
            if any(name.endswith("data.pkl") for name in members):
                raise ConfigError(
                    f"{file}: is a PyTorch file (ProtoMotions .motion or .pt), whose pickle may run code. "
                    "Export the clip as csv from ProtoMotions and give that."
                )
            arrays = {}
            for name in members:
                if name.endswith(".npy"):
                    arrays[name.removesuffix(".npy")] = _member(file, name, archive.read(name))
    except ConfigError:
        raise
    except Exception as error:  # damaged bytes lead to a dozen kinds
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{file}: is a damaged or cut-short npz ({cause}).") from None
    if not arrays:
        raise ConfigError(f"{file}: is a zip archive without arrays; expected an npz.")
    return arrays


def _with_names(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """`arrays`, and names and frame rate out of the ``meta.json`` that HDMI writes beside an npz without them."""
    beside = path.with_name("meta.json")
    if {"joint_names", "fps"} & set(arrays) or "body_pos_w" not in arrays or not beside.is_file():
        return dict(arrays)
    try:
        stated = json.loads(regular_file(beside))
    except (ValueError, RecursionError):
        raise ConfigError(f"{beside}: is no JSON; expected what HDMI writes beside its clips.") from None
    keys = ("joint_names", "body_names", "fps")
    return arrays | {key: stated[key] for key in keys if isinstance(stated, dict) and key in stated}


def _member(file: str, name: str, data: bytes) -> np.ndarray:
    try:
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # of numpy's, or of what it parses the header with
        key = name.removesuffix(".npy")
        if "Object arrays" in str(error):
            raise ConfigError(
                f"{file}: {key} is an array of Python objects, which would have to be unpickled; "
                "save it as an array of numbers or text."
            ) from None
        raise ConfigError(f"{file}: {key} is damaged ({error}).") from None


def _npy(file: str, data: bytes, name: str) -> list[Raw]:
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(stream)
    except Exception as error:
        raise ConfigError(f"{file}: is a damaged npy ({error}).") from None
    if not dtype.hasobject:
        return tables.columns(file, "AMASS-for-G1 npy", _member(file, "the array", data), name)
    if shape != ():
        raise ConfigError(f"{file}: is an array of Python objects, of shape {list(shape)}; expected numbers.")
    return pickles.parse(file, _unpickled(file, data[stream.tell() :]), name)


def _unpickled(file: str, data: bytes) -> Any:
    try:
        return unpickle.loads(data)
    except unpickle.Refused as error:
        raise ConfigError(f"{file}: this pickle is not read: {error}.") from None
