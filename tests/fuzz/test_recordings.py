"""Recordings of ``eval --record``: read by the replay and by `motion.read`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holosoma_jax.motion import read
from holosoma_jax.render.recording import METADATA
from holosoma_jax.viewer import robot_recording
from holosoma_jax.viewer.robot_recording import RobotRecording
from tests.fuzz.test_motion_files import valid as valid_clip
from tests.support.fuzzing import arrays_mutated, damaged, fuzz, mutated, npz_bytes, read_or_refused
from tests.support.replay_files import straight_walk

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The arrays of a recording of the G1, cut to a few frames."""
    with np.load(straight_walk(tmp_path_factory.mktemp("recording") / "walk.npz")) as file:
        return {name: file[name] if name == METADATA else file[name][:6] for name in file.files}


def valid(found: RobotRecording | None) -> None:
    """Finite arrays of one length, which can be summed up and shown."""
    if found is None:
        return
    recording = found.recording
    assert recording.num_frames > 0 and math.isfinite(recording.dt) and recording.dt > 0
    for name, array in recording.arrays.items():
        assert len(array) == recording.num_frames, name
        assert np.isfinite(array).all(), name
    assert recording.frame(0).body_pos.shape == (1, len(recording.body_names), 3)
    for _, text in robot_recording.summary(found):
        assert text.isprintable() and "nan" not in text and "inf" not in text


def check(data: bytes, folder: Path) -> None:
    path = folder / "recording.npz"
    path.write_bytes(data)
    valid(read_or_refused(lambda: robot_recording.load(str(path))))
    valid_clip(read_or_refused(lambda: read(path, "g1")))


def test_what_is_recorded_is_accepted(whole: dict[str, np.ndarray], folder: Path) -> None:
    (folder / "recording.npz").write_bytes(npz_bytes(whole))
    valid(robot_recording.load(str(folder / "recording.npz")))


@fuzz(300)
@given(data=st.data())
def test_arrays(data: st.DataObject, whole: dict[str, np.ndarray], folder: Path) -> None:
    check(npz_bytes(data.draw(arrays_mutated(whole))), folder)


@fuzz(200)
@given(data=st.data())
def test_metadata(data: st.DataObject, whole: dict[str, np.ndarray], folder: Path) -> None:
    document: Any = data.draw(mutated(json.loads(str(whole[METADATA]))))
    text = json.dumps(document)
    check(npz_bytes(whole | {METADATA: np.array(text)}), folder)


@fuzz(300)
@given(data=st.data())
def test_bytes(data: st.DataObject, whole: dict[str, np.ndarray], folder: Path) -> None:
    check(data.draw(damaged(npz_bytes(whole))), folder)
