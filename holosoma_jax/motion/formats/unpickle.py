"""Pickles read as data: numbers, text, lists, dicts and NumPy arrays; nothing that a file names is called.

A pickle is a program that may call any function of any installed package. This reader resolves a dozen
names, all of NumPy's array pickles and joblib's array wrapper, to functions of its own, and refuses the
rest before anything is called. joblib need not be installed.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import zlib
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ": "xz", b"]\x00\x00": "lzma", b"x": "zlib"}
"""First bytes -> how joblib has compressed the file."""
MAX_BYTES = 4 << 30
"""limit of what a compressed file may grow to"""


_NDARRAY = "numpy.ndarray"
"""stands for the class, which no pickle needs to call"""


class Refused(ValueError):
    """The pickle names something that this reader does not know, or is damaged."""


def loads(data: bytes) -> Any:
    """The object in a pickle, joblib's included, compressed or not.

    Raises:
      Refused: it holds anything but plain data, or is cut short.
    """
    stream = io.BytesIO(_decompressed(data))
    try:
        return _Reader(stream).load()
    except Refused:
        raise
    except RecursionError:
        raise Refused("it is nested too deeply") from None
    except Exception as error:  # whatever damaged bytes lead to
        raise Refused(f"it is damaged or cut short ({type(error).__name__})") from None


def _decompressed(data: bytes) -> bytes:
    kind = next((name for magic, name in MAGIC.items() if data.startswith(magic)), None)
    try:
        if kind == "gzip":
            return gzip.GzipFile(fileobj=io.BytesIO(data)).read(MAX_BYTES)
        if kind == "bz2":
            return bz2.BZ2File(io.BytesIO(data)).read(MAX_BYTES)
        if kind in ("xz", "lzma"):
            return lzma.LZMAFile(io.BytesIO(data)).read(MAX_BYTES)
        if kind == "zlib":
            stream = zlib.decompressobj()
            out = stream.decompress(data, MAX_BYTES)
            if not stream.eof:
                raise Refused("its zlib compression is cut short")
            return out
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise Refused(f"its {kind} compression is damaged ({error})") from None
    return data


class _ArrayWrapper:
    """joblib's NumpyArrayWrapper: describes the array whose bytes follow it in the stream."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def read(self, stream: Any) -> np.ndarray:
        shape, dtype = tuple(map(int, self.state["shape"])), np.dtype(self.state["dtype"])
        if dtype.hasobject:
            raise Refused("it holds an array of Python objects")
        if self.state.get("numpy_array_alignment_bytes") is not None:
            stream.read(int.from_bytes(stream.read(1), "little"))
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if size < 0 or size > MAX_BYTES:
            raise Refused(f"it claims an array of {size} bytes")
        data = stream.read(size)
        if len(data) != size:
            raise Refused("it is cut short")
        order = "F" if self.state.get("order") == "F" else "C"
        return np.frombuffer(data, dtype).reshape(shape, order=order)


def _reconstruct(subtype: Any, shape: Any, kind: Any) -> np.ndarray:
    """An empty array, which the pickle's state then fills."""
    if subtype != _NDARRAY:
        raise Refused("it holds an unknown kind of array")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _scalar(dtype: np.dtype, data: Any = None) -> Any:
    if dtype.hasobject:
        raise Refused("it holds a scalar of a Python object")
    data = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(data, dtype, count=1)[0]


def _from_buffer(data: Any, dtype: np.dtype, shape: Any, order: str) -> np.ndarray:
    if dtype.hasobject:
        raise Refused("it holds an array of Python objects")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"it encodes text as {encoding}")
    return text.encode("latin1")


def _bytes(*nothing: Any) -> bytes:
    if nothing:
        raise Refused("it builds bytes from an object")
    return b""


def _known() -> dict[tuple[str, str], Any]:
    names: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): _NDARRAY,
        ("numpy", "dtype"): np.dtype,
        ("joblib.numpy_pickle", "NumpyArrayWrapper"): _ArrayWrapper,
        ("collections", "OrderedDict"): dict,
        ("_codecs", "encode"): _encode,
        ("builtins", "bytes"): _bytes,
        ("__builtin__", "bytes"): _bytes,
    }
    for core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
        names[f"{core}.multiarray", "_reconstruct"] = _reconstruct
        names[f"{core}.multiarray", "scalar"] = _scalar
        names[f"{core}.numeric", "_frombuffer"] = _from_buffer
    return names


_KNOWN = _known()


class _Reader(pickle._Unpickler):  # type: ignore[name-defined]  # the Python one: joblib's bytes lie in between
    """Knows the names of `_KNOWN` only."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]

    def __init__(self, stream: io.BytesIO):
        super().__init__(stream, encoding="latin1")
        self._stream = stream

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise Refused(
                f"it names {module}.{name}, which would run code or build an unknown object"
            ) from None

    def load_build(self) -> None:
        """Set the state of an array, a dtype or joblib's wrapper; of nothing else, functions least of all."""
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        state, target = stack.pop(), stack[-1]
        if isinstance(target, _ArrayWrapper):
            if not isinstance(state, dict):
                raise Refused("its array header is damaged")
            target.state = state
            stack[-1] = target.read(self._stream)
        elif isinstance(target, np.dtype):
            target.__setstate__(state)  # type: ignore[attr-defined]
        elif type(target) is np.ndarray:
            _, shape, dtype, _, content = state
            if not dtype.hasobject:
                target.__setstate__(state)
            elif shape == () and isinstance(content, list):  # what np.save makes of a dict
                stack[-1] = content[0]
            else:
                raise Refused("it holds an array of Python objects")
        else:
            raise Refused(f"it sets the state of a {type(target).__name__}")

    dispatch[pickle.BUILD[0]] = load_build
