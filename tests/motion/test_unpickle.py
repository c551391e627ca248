"""A pickle is data: whatever it names, nothing in it runs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import subprocess
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import read
from holosoma_jax.motion.formats import unpickle
from tests.support.joblib_pickle import joblib_bytes

CLIP = {"fps": 30, "root_pos": np.zeros((4, 3)), "root_rot": np.tile([0.0, 0, 0, 1], (4, 1))}


class Runs:
    """Calls a function when it is unpickled by a reader that lets it."""

    def __init__(self, function: object, *args: object):
        self._call = (function, args)

    def __reduce__(self) -> object:
        return self._call


def code(marker: Path) -> list[bytes]:
    """Pickles that try to create `marker`."""
    touch = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w')"
    calls = [
        Runs(os.system, touch),
        Runs(eval, python),
        Runs(exec, python),
        Runs(subprocess.getoutput, touch),
    ]
    pickles = [
        pickle.dumps({**CLIP, "dof_pos": call}, protocol) for call in calls for protocol in (0, 2, 4, 5)
    ]
    # the same by INST and OBJ, opcodes of old protocols
    pickles.append(b"\x80\x02(S'" + touch.encode() + b"'\nios\nsystem\n.")
    pickles.append(b"\x80\x02(cos\nsystem\nS'" + touch.encode() + b"'\no.")
    # a known name first, its state set to code afterwards
    pickles.append(b"\x80\x02cnumpy.core.multiarray\nscalar\n}S'__code__'\nNsb.")
    pickles.append(b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93}b.")
    # getattr walks: numpy's own names that run things
    pickles.append(b"\x80\x02cnumpy.testing._private.utils\nruncode\nS'x'\n\x85R.")
    pickles.append(b"\x80\x02cnumpy\nload\nS'x'\n\x85R.")
    pickles.append(b"\x80\x02P1\n.")
    pickles.append(b"\x80\x02\x82\x01.")
    return pickles


@pytest.mark.parametrize("pack", [bytes, zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_code_does_not_run(pack: object, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for data in code(marker):
        with pytest.raises(unpickle.Refused):
            unpickle.loads(pack(data))  # type: ignore[operator]
    assert not marker.exists()


def test_code_in_a_file_is_one_line_that_names_it(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "clip.pkl"
    path.write_bytes(pickle.dumps({**CLIP, "dof_pos": Runs(os.system, f"touch {marker}")}))
    with pytest.raises(ConfigError, match=r"clip\.pkl.*(posix|nt)\.system"):
        read(path)
    assert not marker.exists()


def test_code_in_an_npy_of_objects_and_in_an_npz(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    call = np.array(Runs(os.system, f"touch {marker}"), dtype=object)
    np.save(tmp_path / "a.npy", call, allow_pickle=True)
    np.savez(tmp_path / "a.npz", joint_pos=call, body_pos_w=np.zeros((1, 1, 3)))
    with pytest.raises(ConfigError, match=r"a\.npy"):
        read(tmp_path / "a.npy")
    with pytest.raises(ConfigError, match=r"a\.npz.*joint_pos.*objects"):
        read(tmp_path / "a.npz")
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_plain_data_is_read(protocol: int, core: str) -> None:
    """Files of NumPy 1 and 2 name different modules."""
    value = {
        "fps": np.float64(29.878),
        "zero": np.array(3.0),
        "table": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "big": np.arange(3, dtype=">i4"),
        "names": ["a", "b"],
        "none": None,
        "nested": {"x": (1, 2.5, True, b"raw")},
    }
    data = pickle.dumps(value, protocol)
    if core == "numpy.core":
        data = _with_names(data, b"numpy._core", b"numpy.core")
    back = unpickle.loads(data)
    assert back.keys() == value.keys()
    for key in ("fps", "zero", "table", "fortran", "big"):
        np.testing.assert_array_equal(back[key], value[key])
    assert (
        back["names"] == ["a", "b"] and back["none"] is None and back["nested"]["x"] == (1, 2.5, True, b"raw")
    )


def test_joblib_files_are_read_without_joblib() -> None:
    value = {"clip": {"dof": np.arange(12.0).reshape(3, 4), "fps": 30, "mask": np.array([[True, False]])}}
    for pack in (bytes, zlib.compress, gzip.compress, lzma.compress):
        back = unpickle.loads(pack(joblib_bytes(value)))  # type: ignore[arg-type]
        np.testing.assert_array_equal(back["clip"]["dof"], value["clip"]["dof"])
        np.testing.assert_array_equal(back["clip"]["mask"], value["clip"]["mask"])


def multiplied(kind: type, times: int = 40) -> object:
    """One `kind` of ten times the next, `times` deep: a kilobyte in a file, 10 ** `times` entries for a walk."""
    value: object = kind([0.0])
    for _ in range(times):
        value = kind([value] * 10)
    return value


def as_key(opcode: bytes) -> bytes:
    """A pickle that hashes a tuple of 40 layers, each of ten times the next; memo 40 is the outermost."""
    layers = b"K\x00\x85\x94"
    for n in range(40):
        layers += b"(" + 10 * (b"h" + bytes([n])) + b"t\x94"
    return b"\x80\x04" + layers + opcode + b"."


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps({**CLIP, "dof_pos": multiplied(list)}),
        pickle.dumps({**CLIP, "dof_pos": multiplied(tuple)}),
        pickle.dumps([[multiplied(list)]]),
        as_key(b"}h\x28N" + b"s"),  # a dict of one item
        as_key(b"}(h\x28Nu"),
        as_key(b"(h\x28Nd"),
        as_key(b"\x8f(h\x28\x90"),  # a set
        as_key(b"(h\x28\x91"),
        as_key(b"ccollections\nOrderedDict\n(](h\x28N\x86e" + b"tR"),
    ],
    ids=["list", "tuple", "nested", "item", "items", "dict", "set", "frozenset", "OrderedDict"],
)
def test_what_grows_without_end_is_refused_at_once(data: bytes) -> None:
    assert len(data) < 5_000
    with pytest.raises(unpickle.Refused):
        unpickle.loads(data)


def test_dicts_and_sets_of_plain_keys_are_read() -> None:
    value = {"a": {1: 2, 2.5: None, b"c": {"d", "e"}, (1, "x"): frozenset([3])}}
    for protocol in (4, 5):  # older ones make sets by calling
        assert unpickle.loads(pickle.dumps(value, protocol)) == value
    plain = OrderedDict(a=1, b=[2, 3])
    for protocol in range(6):
        assert unpickle.loads(pickle.dumps(plain, protocol)) == plain


def test_tensors_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "clip.pkl").write_bytes(b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n)Rs.")
    with pytest.raises(ConfigError, match=r"clip\.pkl.*torch\._utils.*numpy\(\)"):
        read(tmp_path / "clip.pkl")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_pickle_that_is_cut_short_is_refused(share: float) -> None:
    for data in (pickle.dumps(CLIP), joblib_bytes({"clip": CLIP}), zlib.compress(pickle.dumps(CLIP))):
        with pytest.raises(unpickle.Refused):
            unpickle.loads(data[: int(share * len(data))])


def test_arrays_of_objects_are_refused() -> None:
    with pytest.raises(unpickle.Refused, match="objects"):
        unpickle.loads(pickle.dumps({"dof_pos": np.array([1, "a", None], dtype=object)}))


def _with_names(data: bytes, old: bytes, new: bytes) -> bytes:
    """`data` with a module's name replaced, lengths in front of short strings corrected."""
    out, reader = io.BytesIO(), data
    while (at := reader.find(old)) >= 0:
        end = at
        while reader[end : end + 1].isalnum() or reader[end : end + 1] in (b".", b"_"):
            end += 1
        name = reader[at:end].replace(old, new)
        head = reader[:at]
        if head.endswith(b"\x8c" + bytes([end - at])):
            head = head[:-1] + bytes([len(name)])
        out.write(head + name)
        reader = reader[end:]
    return _unframed(out.getvalue() + reader)


def _unframed(data: bytes) -> bytes:
    """Without protocol 4's frame, whose length no longer holds."""
    return data[:2] + data[11:] if data[2:3] == b"\x95" else data
