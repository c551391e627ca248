"""Pickles read as data: numbers, text, lists, dicts and NumPy arrays; nothing that a file names is called.

A pickle is a program that may call any function of any installed package. This reader resolves a dozen
names, all of NumPy's array pickles and joblib's array wrapper, to functions of its own, and refuses the
rest before anything is called. joblib need not be installed.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from holosoma_jax.motion.formats.compression import MAX_BYTES, Damaged, decompressed

MAX_ENTRIES = 20_000_000
"""limit of the entries of nested lists and dicts, which hold 100,000 frames as lists of numbers"""
_SCALARS = (str, bytes, int, float, np.generic, type(None))
"""kinds of keys: hashing a tuple of tuples of tuples may take for ever"""

_NDARRAY = "numpy.ndarray"
"""stands for the class, which no pickle needs to call"""


class Refused(ValueError):
    """The pickle names something that this reader does not know, or is damaged."""


def loads(data: bytes) -> Any:
    """The object in a pickle, joblib's included, compressed or not.

    Raises:
      Refused: it holds anything but plain data, or is cut short.
    """
    try:
        stream = io.BytesIO(decompressed(data))
    except Damaged as error:
        raise Refused(str(error)) from None
    try:
        return _plain(_Reader(stream).load(), {})[0]
    except Refused:
        raise
    except RecursionError:
        raise Refused("it is nested too deeply") from None
    except Exception as error:  # whatever damaged bytes lead to
        raise Refused(f"it is damaged or cut short ({type(error).__name__})") from None


def _plain(value: Any, seen: dict[int, tuple[Any, int]]) -> tuple[Any, int]:
    """`value` with arrays in place of what stands for them, and how many entries its lists and dicts have.

    A list that holds one list many times, which holds another many times, and so on, is small in a file; whoever
    walks through it does not come to an end.

    Args:
      value: as the reader returned it.
      seen: id -> result of what was met before.
    """
    if id(value) in seen:
        return seen[id(value)]
    count = 1
    if isinstance(value, _Array) and not isinstance(value.value, np.ndarray):
        result, count = _plain(value.value, seen)
    elif isinstance(value, _Array):
        result = value.value
    elif isinstance(value, dict):
        parts = {k: _plain(v, seen) for k, v in value.items()}
        result, count = {k: part for k, (part, _) in parts.items()}, 1 + sum(n for _, n in parts.values())
    elif isinstance(value, list | tuple):
        items = [_plain(v, seen) for v in value]
        result, count = type(value)(part for part, _ in items), 1 + sum(n for _, n in items)
    elif isinstance(value, _Dtype) or callable(value):
        raise Refused("it holds something other than data")
    else:
        return value, 1
    if count > MAX_ENTRIES:
        raise Refused(f"its lists have more than {MAX_ENTRIES} entries")
    seen[id(value)] = result, count
    return result, count


class _Dtype:
    """A plain numeric or text type by its description; NumPy's own would trust a damaged state."""

    def __init__(self, text: Any, *_: Any):
        self._text, self._order = text, "|"

    def set_state(self, state: Any) -> None:
        _, order, *rest = state
        if any(part is not None for part in rest[:3]):  # a subarray, names, fields
            raise Refused("it holds an array of records")
        self._order = order

    def dtype(self) -> np.dtype:
        text = self._text
        if not isinstance(text, str) or not re.fullmatch(r"[biufSU]\d{1,6}", text):
            kind = "Python objects" if isinstance(text, str) and text.startswith("O") else f"type {text!r}"
            raise Refused(f"it holds an array of {kind}")
        return np.dtype(f"{self._order if self._order in ('<', '>') else '='}{text}")


class _Array:
    """Stands for an array from when the pickle names it until its state comes."""

    def __init__(self) -> None:
        self.value: Any = None

    def set_state(self, state: Any) -> None:
        _, shape, dtype, is_fortran, content = state
        if isinstance(content, list):
            if shape != () or len(content) != 1:  # () is what np.save makes of a dict
                raise Refused("it holds an array of Python objects")
            self.value = content[0]
            return
        content = content.encode("latin1") if isinstance(content, str) else content
        self.value = _filled(content, dtype, shape, "F" if is_fortran else "C")


class _ArrayWrapper(_Array):
    """joblib's NumpyArrayWrapper: describes the array whose bytes follow it in the stream."""

    def read(self, state: Any, stream: Any) -> None:
        shape, dtype = tuple(state["shape"]), state["dtype"]
        if state.get("numpy_array_alignment_bytes") is not None:
            stream.read(int.from_bytes(stream.read(1), "little"))
        size = math.prod(shape) * dtype.dtype().itemsize
        if not 0 <= size <= MAX_BYTES:
            raise Refused(f"it claims an array of {size} bytes")
        self.value = _filled(stream.read(size), dtype, shape, state.get("order", "C"))


def _filled(data: bytes, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """An array of a known type; raises where the bytes do not fill the shape."""
    if not isinstance(dtype, _Dtype):
        raise Refused("it holds an array without a type")
    known = dtype.dtype()
    if len(data) != math.prod(shape) * known.itemsize:
        raise Refused("an array in it is cut short")
    return np.frombuffer(data, known).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(subtype: Any, shape: Any, kind: Any) -> _Array:
    """An empty array, which the pickle's state then fills."""
    if subtype != _NDARRAY:
        raise Refused("it holds an unknown kind of array")
    return _Array()


def _scalar(dtype: Any, data: Any) -> Any:
    return _filled(data.encode("latin1") if isinstance(data, str) else data, dtype, (1,), "C")[0]


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    return _filled(bytes(data), dtype, shape, order)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"it encodes text as {encoding}")
    return text.encode("latin1")


def _dict(items: Any = ()) -> dict[Any, Any]:
    pairs = items.items() if isinstance(items, dict) else items
    return {_key(key): value for key, value in pairs}


def _key(key: Any) -> Any:
    """`key`, if it may be one of a dict or an item of a set."""
    scalar = isinstance(key, _SCALARS) or (
        isinstance(key, tuple) and all(isinstance(k, _SCALARS) for k in key)
    )
    if not scalar:
        raise Refused(f"it has a {type(key).__name__} as a key")
    return key


def _bytes(*nothing: Any) -> bytes:
    if nothing:
        raise Refused("it builds bytes from an object")
    return b""


def _known() -> dict[tuple[str, str], Any]:
    names: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): _NDARRAY,
        ("numpy", "dtype"): _Dtype,
        ("joblib.numpy_pickle", "NumpyArrayWrapper"): _ArrayWrapper,
        ("collections", "OrderedDict"): _dict,
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
            how = ""
            if module.partition(".")[0] == "torch":
                how = "; write NumPy arrays instead of tensors: tensor.numpy()"
            raise Refused(
                f"it names {module}.{name}, which would run code or build an unknown object{how}"
            ) from None

    def load_build(self) -> None:
        """Set the state of an array, a type or joblib's wrapper; of nothing else, functions least of all."""
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        state, target = stack.pop(), stack[-1]
        if isinstance(target, _ArrayWrapper):
            target.read(state, self._stream)
        elif isinstance(target, _Array | _Dtype):
            target.set_state(state)
        else:
            raise Refused(f"it sets the state of a {type(target).__name__}")

    def load_dict(self) -> None:
        """Make a dict of keys that can be hashed at once."""
        items = self.pop_mark()  # type: ignore[attr-defined]
        self.append({_key(k): v for k, v in zip(items[::2], items[1::2], strict=True)})  # type: ignore[attr-defined]

    def load_setitem(self) -> None:
        """Set one item of a dict."""
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        value, key = stack.pop(), stack.pop()
        self._fill([key, value])

    def load_setitems(self) -> None:
        """Set the items of a dict."""
        self._fill(self.pop_mark())  # type: ignore[attr-defined]

    def _fill(self, items: list[Any]) -> None:
        target = self.stack[-1]  # type: ignore[attr-defined]
        if not isinstance(target, dict):
            raise Refused(f"it sets an item of a {type(target).__name__}")
        target.update({_key(k): v for k, v in zip(items[::2], items[1::2], strict=True)})

    def load_additems(self) -> None:
        """Add to a set."""
        items = self.pop_mark()  # type: ignore[attr-defined]
        target = self.stack[-1]  # type: ignore[attr-defined]
        if not isinstance(target, set):
            raise Refused(f"it adds to a {type(target).__name__}")
        target.update(map(_key, items))

    def load_frozenset(self) -> None:
        """Make a set that stays."""
        items = self.pop_mark()  # type: ignore[attr-defined]
        self.append(frozenset(map(_key, items)))  # type: ignore[attr-defined]

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.ADDITEMS[0]] = load_additems
    dispatch[pickle.FROZENSET[0]] = load_frozenset
