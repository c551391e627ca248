"""The object of a clip: kept by whatever is done to the clip, and between the hands of the robot that carries it."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import ObjectConfig
from holosoma_jax.motion import Clip, Skeleton, concatenate, edit, read, rotations, write
from holosoma_jax.motion.__main__ import main
from holosoma_jax.viewer import robot_recording

CLIP = "g1_carry_box"


@pytest.fixture(scope="module")
def clip(g1: Skeleton) -> Clip:
    return read(CLIP, g1)


def same(a: Clip, b: Clip, rows: slice = slice(None)) -> None:
    assert a.object_pos is not None and b.object_pos is not None
    assert a.object_quat is not None and b.object_quat is not None
    np.testing.assert_allclose(a.object_pos, b.object_pos[rows], atol=1e-6)
    np.testing.assert_allclose(a.object_quat, b.object_quat[rows], atol=1e-6)


@pytest.mark.parametrize("layout", ["holosoma", "compact", "mjlab"])
def test_a_written_clip_is_read_with_its_object(
    tmp_path: Path, g1: Skeleton, clip: Clip, layout: str
) -> None:
    again = read(write(tmp_path / "clip.npz", clip, g1, layout), g1)
    same(again, clip)
    if layout != "compact":
        with np.load(tmp_path / "clip.npz") as file:
            np.testing.assert_allclose(file["object_lin_vel_w"], clip.object_lin_vel, atol=1e-4)


def test_convert_keeps_it(tmp_path: Path, g1: Skeleton, clip: Clip) -> None:
    assert main(["convert", CLIP, "--range", "100:300", "--output", str(tmp_path / "part.npz")]) == 0
    same(read(tmp_path / "part.npz", g1), clip, slice(100, 300))


def test_edits_keep_it(g1: Skeleton, clip: Clip) -> None:
    half = edit.resample(g1, clip, 25.0)
    same(half, clip, slice(0, 2 * half.num_frames, 2))
    mirrored = edit.mirror(g1, clip)
    assert mirrored.object_pos is not None and clip.object_pos is not None
    np.testing.assert_allclose(mirrored.object_pos[:, 1], -clip.object_pos[:, 1])
    waited = edit.with_default_pose(g1, clip, before=1.0)
    assert waited.object_pos is not None
    np.testing.assert_array_equal(waited.object_pos[:50], np.tile(clip.object_pos[0], (50, 1)))


def test_a_batch_has_it_if_every_clip_has(g1: Skeleton, clip: Clip, caplog: pytest.LogCaptureFixture) -> None:
    both = concatenate([clip, clip], g1, ["pelvis"])
    assert both.frames.object_pos.shape == (2 * clip.num_frames, 3)
    np.testing.assert_allclose(both.at(np.array([460])).object_pos[0], clip.object_pos[10], atol=1e-6)  # type: ignore[index]
    with caplog.at_level(logging.WARNING):
        mixed = concatenate([clip, read("g1_squat", g1)], g1, ["pelvis"])
    assert mixed.frames.object_pos is None and mixed.at(np.array([0])).object_quat is None
    assert "g1_squat" in caplog.text
    assert concatenate([read("g1_squat", g1)], g1, ["pelvis"]).frames.object_pos is None


def test_half_an_object_is_refused(tmp_path: Path, g1: Skeleton, clip: Clip) -> None:
    path = write(tmp_path / "clip.npz", clip, g1)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "object_quat_w"}
    np.savez(tmp_path / "half.npz", **arrays)
    with pytest.raises(ConfigError, match="object_quat_w"):
        read(tmp_path / "half.npz", g1)


def test_the_box_is_between_the_hands_and_in_nothing_else(g1: Skeleton, clip: Clip) -> None:
    """Both hands press it a little; no other link is in it, and it never touches the ground."""
    half = np.array(ObjectConfig().size) / 2
    assert clip.object_pos is not None and clip.object_quat is not None
    back = rotations.conjugate(clip.object_quat)
    nearest = {}
    for row, points, radii in g1.surface:
        for point, radius in zip(points, radii, strict=True):
            world = clip.body_pos[:, row] + rotations.rotate(
                clip.body_quat[:, row], np.tile(point, (clip.num_frames, 1))
            )
            over = np.abs(rotations.rotate(back, world - clip.object_pos)) - half
            gap = np.linalg.norm(np.maximum(over, 0), axis=-1) + np.minimum(over.max(-1), 0) - radius
            name = clip.body_names[row]
            nearest[name] = np.minimum(gap, nearest.get(name, np.inf))
    for side in ("left", "right"):
        hand = nearest.pop(f"{side}_wrist_yaw_link")
        assert hand.min() > -0.01 and hand.max() < 0.0
    assert min(gap.min() for gap in nearest.values()) > 0.003
    assert clip.object_pos[:, 2].min() - half[2] > 0.5
    assert np.ptp(clip.object_pos[:, 2]) > 0.2  # it is lifted


def test_a_replay_shows_it() -> None:
    replay = robot_recording.load(CLIP)
    assert replay.robot.object is not None and replay.robot.object.size == ObjectConfig().size
    sim = replay.recording.frame(3)
    assert sim.object_pos is not None and sim.object_pos.shape == (1, 3)
    assert replay.recording.trajectory().object_quat is not None


def test_matrices_and_quaternions_agree() -> None:
    quat = np.random.default_rng(0).standard_normal((50, 4))
    quat /= np.linalg.norm(quat, axis=1, keepdims=True)
    quat[:4] = np.eye(4)
    matrix = np.stack([rotations.rotate(quat, np.tile(axis, (50, 1))) for axis in np.eye(3)], -1)
    found = rotations.from_matrix(matrix)
    np.testing.assert_allclose(np.abs((found * quat).sum(-1)), 1.0, atol=1e-12)


def test_what_is_carried_is_part_of_the_clip(clip: Clip) -> None:
    assert clip.has_object and not dataclasses.replace(clip, object_quat=None).has_object
