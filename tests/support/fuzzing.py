"""What a reader of files may do with any input, and strategies that damage bytes and nested values.

The law: an input is accepted, or refused by the reader's one class of error with one printable line. Nothing
that it names is run, and it costs no more memory than its size justifies.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import random
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from holosoma_jax.config.errors import LONGEST, ConfigError

T = TypeVar("T")

SEEDED = "HOLOSOMA_FUZZ_SEED" not in os.environ
"""The same inputs every time. With that variable set, Hypothesis draws others (`--hypothesis-seed`)."""
MEMORY = 400_000_000
"""Bytes that the process may grow by while it reads small files"""
_RUNS_CODE = {
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "subprocess.Popen",
}
_RUNS_CODE |= {"pickle.find_class", "socket.connect", "socket.bind", "webbrowser.open"}
_watched: list[list[str]] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _watched and (event in _RUNS_CODE or (event == "import" and "fuzz_payload" in str(args[0]))):
        _watched[-1].append(f"{event} {args!r:.200}")


sys.addaudithook(_audit)  # cannot be removed; without a watcher it does nothing


def fuzz(examples: int) -> Callable[[T], T]:
    """Settings of one test: that many inputs, the same ones every time, no clock."""
    return settings(
        max_examples=examples,
        derandomize=SEEDED,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def read_or_refused(read: Callable[[], T], error: type[ConfigError] = ConfigError) -> T | None:
    """What `read` returns, None where it refuses; fails where it breaks the law."""
    _watched.append([])
    try:
        found = read()
    except error as refusal:
        text = str(refusal)
        assert text.strip() and text.isprintable() and len(text) <= LONGEST, repr(text)
        found = None
    finally:
        events = _watched.pop()
    assert not events, events
    return found


@contextlib.contextmanager
def bounded_memory(limit: int = MEMORY) -> Iterator[None]:
    """The peak of this process's memory grows by less than `limit`; unchecked where Linux's /proc is missing."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def peak() -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    try:
        reset.write_text("5")  # the peak starts again from what is in use
        before = peak()
    except (OSError, StopIteration):
        yield
        return
    yield
    assert peak() - before < limit, f"{(peak() - before) / 1e6:.0f} MB"


TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "\0", "\x1b[2J", "\u202e", "²", "../..", "/dev/zero", "os:system", "fuzz_payload:run"]
    ),
    st.sampled_from([".x:y", "a" * 3000, "~", "null", "true", ".nan", ".inf", "-.inf", "1e400", "0x10"]),
    st.sampled_from(["!!bool maybe", "!!python/name:os.system", "*a", "&a"]),
)
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from([1e308, -1e39, 1e-60, 2**31, 2**63, 10**30, float("nan"), float("inf"), -0.0]),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if depth % 2 else {"a": value}
    return value


VALUES = st.one_of(
    SCALARS,
    SCALARS,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from([2, 3, 90, 91]).map(_nested),
)
"""Anything that JSON or YAML may hold"""


@st.composite
def mutated(draw: st.DrawFn, tree: Any, changes: int = 3) -> Any:
    """A copy of `tree`, nested mappings and lists, with a few entries replaced, removed, added or swapped."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    for _ in range(draw(st.integers(1, changes))):
        parent, key = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(["value", "value", "remove", "add", "rename", "swap", "number"]))
        try:
            if kind == "value":
                parent[key] = draw(VALUES)
            elif kind == "number":
                parent[key] = draw(NUMBERS)
            elif kind == "remove":
                del parent[key]
            elif kind == "add" and isinstance(parent, dict):
                parent[draw(TEXTS)] = draw(VALUES)
            elif kind == "add":
                parent.append(draw(VALUES))
            elif kind == "rename" and isinstance(parent, dict):
                parent[str(key)[:-1] + draw(st.sampled_from(["", "x", "-", "."]))] = parent.pop(key)
            else:
                other, there = draw(st.sampled_from(places))
                parent[key], other[there] = other[there], parent[key]
        except (KeyError, IndexError):  # removed by an earlier change
            continue
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield tree, key
        yield from _places(value)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, reach: int | None = None) -> bytes:
    """`whole` with some bytes flipped, cut out, doubled or put in, or without its end."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        if not data:
            break
        at = draw(st.integers(0, min(len(data), reach or len(data)) - 1))
        kind = draw(st.sampled_from(["flip", "flip", "byte", "cut", "double", "insert", "end"]))
        if kind == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "byte":
            data[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 60))]
        elif kind == "double":
            data[at:at] = data[at : at + draw(st.integers(1, 60))]
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=9))
        else:
            del data[at:]
    return bytes(data)


DTYPES = ("f2", "f4", "f8", "i4", "u1", "b", "c8", "S3", "U4", "M8[s]", "V4", ">f8")
SIZES = (0, 1, 2, 3, 4, 6, 7, 29, 36)
OUT_OF_PLACE = (
    np.nan,
    np.inf,
    -np.inf,
    1e308,
    -1e39,
    1e-320,
    2.0**63,
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    3.2,
    100.0,
    1e6,
    1e7,
)
OBJECTS = (
    None,
    [None],
    {"a": 1},
    [[1], [1, 2]],
    "text",
    b"bytes",
    ["a", "b"],
    ["a", "a"],
    10**30,
    True,
    3,
    1e308,
    [],
    {},
    (),
)


def _any_array(rng: random.Random) -> np.ndarray:
    """A small array of any kind, of Python objects too."""
    if rng.random() < 0.4:
        value = rng.choice(OBJECTS)
        return (
            np.array([value, 1], object)[: rng.randint(0, 2)]
            if rng.random() < 0.5
            else np.array(value, object)
        )
    shape = tuple(rng.choice(SIZES) for _ in range(rng.randint(0, 4)))
    made = np.zeros(shape, rng.choice(DTYPES))
    return made + made.dtype.type(1) if made.dtype.kind in "fiu" and rng.random() < 0.5 else made


def _arrays_mutated(arrays: Mapping[str, np.ndarray], seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    found = {key: np.array(value) for key, value in arrays.items()}
    for _ in range(rng.randint(1, 3)):
        key = rng.choice(sorted(arrays))
        kind = rng.choice(["entry"] * 4 + ["any", "drop", "rename", "type", "crop", "axis", "scale", "roll"])
        array = found.get(key)
        if array is None:
            continue
        number = array.dtype.kind == "f" and array.size > 0
        with np.errstate(all="ignore"):
            if kind == "entry" and number:
                stride = rng.choice([1, 7, array.size])
                array.reshape(-1)[rng.randrange(array.size) :: stride] = array.dtype.type(
                    rng.choice(OUT_OF_PLACE)
                )
            elif kind == "any":
                found[key] = _any_array(rng)
            elif kind == "drop":
                del found[key]
            elif kind == "rename":
                found[rng.choice([*sorted(arrays), "", "..", "x" * 200, "\x1b", "é"])] = found.pop(key)
            elif kind == "type" and number:
                found[key] = array.astype(rng.choice(["f2", "f4", "i4", "U8", "c8", ">f8", "O", "?"]))
            elif kind == "crop" and array.ndim:
                axis = rng.randrange(array.ndim)
                found[key] = np.take(array, np.arange(rng.randint(0, array.shape[axis])), axis)
            elif kind == "axis":
                found[key] = array[None] if rng.random() < 0.5 or not array.ndim else array.swapaxes(0, -1)
            elif kind == "scale" and number:
                found[key] = array * array.dtype.type(rng.choice([-1.0, 0.0, 57.3, 100.0, 1e-3, 1e30]))
            elif kind == "roll" and array.ndim:
                found[key] = np.roll(array, rng.randint(1, 3), rng.randrange(array.ndim))
    return found


def arrays_mutated(arrays: Mapping[str, np.ndarray]) -> st.SearchStrategy[dict[str, Any]]:
    """`arrays` with a few of them missing, renamed, of another type or shape, or with numbers that are out of place."""
    return st.integers(0, 2**32 - 1).map(lambda seed: _arrays_mutated(arrays, seed))


def any_array() -> st.SearchStrategy[np.ndarray]:
    """A small array of any kind, of Python objects too."""
    return st.integers(0, 2**32 - 1).map(lambda seed: _any_array(random.Random(seed)))


def npz_bytes(arrays: Mapping[str, Any]) -> bytes:
    """An npz of `arrays`; those of Python objects are pickled, and whoever unpickles them is caught."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for key, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=True)
            archive.writestr(
                f"{key}.npy".encode("utf-8", "replace").decode().replace("\0", "?"), member.getvalue()
            )
    return stream.getvalue()
