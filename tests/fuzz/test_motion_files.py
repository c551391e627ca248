"""Motion clips of every format: arrays, tables, pickles, and the bytes of all of them."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holosoma_jax import robots
from holosoma_jax.motion import Clip, Skeleton, edit, read, read_all
from holosoma_jax.motion.formats import unpickle
from tests.support.fuzzing import (
    VALUES,
    any_array,
    arrays_mutated,
    damaged,
    fuzz,
    mutated,
    npz_bytes,
    read_or_refused,
)
from tests.support.joblib_pickle import joblib_bytes
from tests.support.motion_files import FORMATS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def g1() -> Skeleton:
    return Skeleton(robots.load("g1"))


@pytest.fixture(scope="module")
def wholes(g1: Skeleton, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Eight frames of a walk, in every format that is one file."""
    clip = edit.cut(g1, read("g1_walk_circle", g1), 200, 208)
    place = tmp_path_factory.mktemp("clips")
    names = [name for name in FORMATS if name != "sonic.csv"]
    return {name: FORMATS[name].write(place / name, clip, g1).read_bytes() for name in names}


def valid(found: Clip | None) -> None:
    """Finite arrays of one length and unit quaternions."""
    if found is None:
        return
    assert found.num_frames > 0 and 0 < found.fps < np.inf and found.duration >= 0
    joints, bodies = len(found.joint_names), len(found.body_names)
    shapes = {"joint_pos": (joints,), "joint_vel": (joints,), "body_quat": (bodies, 4)}
    shapes |= {name: (bodies, 3) for name in ("body_pos", "body_lin_vel", "body_ang_vel")}
    shapes |= {"contact": (2,), "object_pos": (3,), "object_quat": (4,)}
    for name, shape in shapes.items():
        array = getattr(found, name)
        if array is not None:
            assert array.shape == (found.num_frames, *shape), name
            assert np.isfinite(array).all(), name
            if name.endswith("quat"):
                np.testing.assert_allclose(np.linalg.norm(array, axis=-1), 1.0, atol=1e-6)


def check(path: Path, data: bytes, g1: Skeleton) -> None:
    path.write_bytes(data)
    for clip in read_or_refused(lambda: read_all(path, g1)) or ():
        valid(clip)


NPZ = [name for name in FORMATS if name.endswith(".npz")]


@fuzz(700)
@given(data=st.data())
def test_arrays(data: st.DataObject, wholes: dict[str, bytes], g1: Skeleton, folder: Path) -> None:
    name, path = data.draw(st.sampled_from(NPZ)), folder / "arrays.npz"
    path.write_bytes(wholes[name])
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    check(path, npz_bytes(data.draw(arrays_mutated(arrays))), g1)


@fuzz(800)
@given(data=st.data())
def test_bytes(data: st.DataObject, wholes: dict[str, bytes], g1: Skeleton, folder: Path) -> None:
    name = data.draw(st.sampled_from(sorted(wholes)))
    reach = data.draw(st.sampled_from([None, 300]))
    check(folder / name, data.draw(damaged(wholes[name], reach)), g1)


@fuzz(400)
@given(data=st.data())
def test_tables(data: st.DataObject, wholes: dict[str, bytes], g1: Skeleton, folder: Path) -> None:
    name = data.draw(st.sampled_from([name for name in wholes if name.endswith(".csv")]))
    rows = [line.split(",") for line in wholes[name].decode().splitlines()]
    rows = data.draw(mutated(rows))
    lines = (",".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows)
    check(folder / name, "\n".join(lines).encode("utf-8", "surrogatepass"), g1)


@st.composite
def value(draw: st.DrawFn, whole: Any) -> Any:
    """What an unpickled clip holds, with entries replaced."""
    if isinstance(whole, dict) and all(isinstance(v, dict) for v in whole.values()):
        return {key: draw(value(inner)) for key, inner in whole.items()}
    arrays = {key: v for key, v in whole.items() if isinstance(v, np.ndarray)}
    found = dict(whole) | draw(arrays_mutated(arrays))
    for key in draw(st.lists(st.sampled_from(sorted(whole)), max_size=1)):
        found[key] = draw(st.one_of(VALUES, any_array()))
    return found


@fuzz(400)
@given(data=st.data())
def test_pickles(data: st.DataObject, wholes: dict[str, bytes], g1: Skeleton, folder: Path) -> None:
    name = data.draw(st.sampled_from(["gmr.pkl", "twist.pkl", "phc.pkl"]))
    found = data.draw(value(unpickle.loads(wholes[name])))
    if data.draw(st.booleans()):
        made = pickle.dumps(found, protocol=data.draw(st.integers(2, 5)))
    else:
        made = joblib_bytes(found)
    check(folder / "value.pkl", made, g1)


class Payload:
    """Unpickled, it would call a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@fuzz(400)
@given(data=st.data())
def test_programs(data: st.DataObject, wholes: dict[str, bytes], g1: Skeleton, folder: Path) -> None:
    """Opcodes in any order, and calls of functions hidden in a clip."""
    import os

    whole = unpickle.loads(wholes["gmr.pkl"])
    calls = [Payload(os.system, "true"), Payload(eval, "1"), Payload(exec, "1"), Payload(getattr, 1, "real")]
    calls += [Payload(np.ndarray, (10**9,)), Payload(bytearray, 10**9), Payload(open, "/dev/null")]
    if data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(whole)))
        call = data.draw(st.sampled_from(calls))
        made = pickle.dumps(whole | {key: data.draw(st.sampled_from([call, [call], {"a": call}]))})
    else:
        codes = st.sampled_from([op.code.encode("latin1") for op in pickletools.opcodes])
        middle = st.lists(st.one_of(codes, codes, st.binary(max_size=5)), max_size=12)
        made = b"\x80\x04" + b"".join(data.draw(middle)) + b"."
    path = folder / "program.pkl"
    path.write_bytes(made)
    read_or_refused(lambda: read_all(path, g1))
