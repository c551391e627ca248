"""Clips made of clips: laws and worked examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import Clip, Skeleton, edit, read, rotations, write
from holosoma_jax.motion.clip import from_trajectory
from holosoma_jax.motion.selection import Transitions, select


def test_mirrored_twice_is_the_clip(g1: Skeleton, walk: Clip) -> None:
    twice = edit.mirror(g1, edit.mirror(g1, walk))
    np.testing.assert_allclose(twice.qpos, walk.qpos, atol=1e-12)
    np.testing.assert_allclose(twice.body_lin_vel[2:-2], walk.body_lin_vel[2:-2], atol=1e-9)


def test_the_mirrored_left_foot_is_where_the_right_one_was(g1: Skeleton, walk: Clip) -> None:
    mirrored = edit.mirror(g1, walk)
    left, right = (walk.body_names.index(n) for n in g1.robot.feet_bodies)
    np.testing.assert_allclose(mirrored.body_pos[:, left], walk.body_pos[:, right] * [1, -1, 1], atol=1e-4)
    assert mirrored.contact is not None and walk.contact is not None
    np.testing.assert_array_equal(mirrored.contact[:, 0], walk.contact[:, 1])


def test_grounded_feet_touch_zero(g1: Skeleton, walk: Clip) -> None:
    qpos = walk.qpos
    qpos[:, 2] += 0.3
    lifted = from_trajectory(g1, "lifted", walk.fps, qpos)
    grounded = edit.ground(g1, lifted)
    assert abs(g1.clearance(grounded.body_pos, grounded.body_quat).min()) < 1e-9
    np.testing.assert_allclose(grounded.joint_pos, lifted.joint_pos)


def test_resampling_follows_lines_and_great_circles(g1: Skeleton) -> None:
    """30 to 50 fps: 31 frames last 1 s, so there are 50 frames at k / 50 s < 1 s."""
    t = np.arange(31) / 30
    qpos = np.concatenate([np.stack([t, 0 * t, 0 * t + 0.7], 1), rotations.about(2, 1.5 * t),
                           np.outer(t, np.full(29, 0.2))], 1)  # fmt: skip
    out = edit.resample(g1, from_trajectory(g1, "line", 30.0, qpos), 50.0)
    time = np.arange(50) / 50
    assert out.num_frames == 50 and out.fps == 50.0
    np.testing.assert_allclose(out.root_pos[:, 0], time, atol=1e-12)
    assert rotations.distance(out.root_quat, rotations.about(2, 1.5 * time)).max() < 1e-9
    np.testing.assert_allclose(out.joint_vel, 0.2, atol=1e-9)
    np.testing.assert_allclose(out.body_ang_vel[:, 0], np.tile([0, 0, 1.5], (50, 1)), atol=1e-9)


def test_the_same_rate_changes_nothing(g1: Skeleton, walk: Clip) -> None:
    assert edit.resample(g1, walk, 50.0) is walk


def test_down_and_up_again_stays_close(g1: Skeleton, walk: Clip) -> None:
    back = edit.resample(g1, edit.resample(g1, walk, 100.0), 50.0)
    assert back.num_frames >= walk.num_frames - 2
    np.testing.assert_allclose(back.qpos, walk.qpos[: back.num_frames], atol=1e-9)


def test_cut(g1: Skeleton, walk: Clip) -> None:
    np.testing.assert_array_equal(edit.cut(g1, walk, 10, 20).joint_pos, walk.joint_pos[10:20])
    for first, last in ((10, 10), (-1, 5), (0, 201), (5, 3)):
        with pytest.raises(ConfigError, match=f"{first}:{last}.*200"):
            edit.cut(g1, walk, first, last)


def test_default_pose_before_and_after(g1: Skeleton, walk: Clip) -> None:
    """Frame 1 of 100 is 1 % of the way from the default state to the clip's first frame."""
    out = edit.with_default_pose(g1, walk, before=2.0, after=1.0)
    assert out.num_frames == 100 + 200 + 50
    default = g1.robot.default_joint_pos.astype(np.float64)
    np.testing.assert_allclose(out.joint_pos[0], default)
    np.testing.assert_allclose(out.joint_pos[1], default + 0.01 * (walk.joint_pos[0] - default))
    np.testing.assert_allclose(out.joint_pos[-1], default)
    np.testing.assert_allclose(out.root_pos[0], [*walk.root_pos[0, :2], g1.robot.init_pos[2]], atol=1e-6)
    np.testing.assert_allclose(rotations.yaw(out.root_quat[0]), rotations.yaw(walk.root_quat[0]), atol=1e-9)
    np.testing.assert_allclose(out.qpos[100:300], walk.qpos, atol=1e-12)


def test_a_transition_of_less_than_two_frames_is_none_and_said(
    g1: Skeleton, caplog: pytest.LogCaptureFixture
) -> None:
    (clip,) = select(["g1_squat"], g1, 50.0, several=False, transitions=Transitions(0.02, 0.0))
    assert clip.num_frames == read("g1_squat", g1).num_frames
    (said,) = caplog.messages
    assert "0.02 s" in said


def test_the_ground_of_a_clip_stays_while_the_clip_stays_on_it(tmp_path: Path, g1: Skeleton) -> None:
    slope = read("g1_walk_slope", g1)
    assert slope.terrain == "slope"
    for kept in (edit.resample(g1, slope, 25.0), edit.cut(g1, slope, 10, 99), edit.ground(g1, slope)):
        assert kept.terrain == "slope"
    raised = edit.ground(g1, edit.cut(g1, slope, 400, 500))  # on top, 0.16 m up: lowered to 0
    assert raised.terrain is None and edit.mirror(g1, slope).terrain is None
    for layout in ("holosoma", "compact"):
        assert read(write(tmp_path / "clip.npz", slope, g1, layout), g1).terrain == "slope"


@pytest.mark.parametrize("to", ["holosoma", "mjlab", "compact"])
def test_what_is_written_is_read(to: str, tmp_path: Path, g1: Skeleton, walk: Clip) -> None:
    back = read(write(tmp_path / "clip.npz", walk, g1, to), g1)
    np.testing.assert_allclose(back.qpos, walk.qpos, atol=1e-6)
    np.testing.assert_allclose(back.body_lin_vel[2:-2], walk.body_lin_vel[2:-2], atol=1e-4)
    if to != "compact":
        assert max(back.provenance.stored.values()) < 0.02


def test_holosoma_layout(tmp_path: Path, g1: Skeleton, walk: Clip) -> None:
    """Names, the root in front, both root velocities in the world frame."""
    with np.load(write(tmp_path / "clip.npz", walk, g1)) as file:
        arrays = dict(file)
    assert arrays["fps"].shape == (1,) and arrays["fps"].dtype.kind == "i"
    assert arrays["joint_pos"].shape == (200, 36) and arrays["joint_vel"].shape == (200, 35)
    assert arrays["body_quat_w"].shape == (200, 32, 4)
    np.testing.assert_allclose(arrays["joint_vel"][:, 3:6], arrays["body_ang_vel_w"][:, 0], atol=1e-6)
    assert all(array.dtype.kind in "fiU" for array in arrays.values())


def test_mjlab_layout(tmp_path: Path, g1: Skeleton, walk: Clip) -> None:
    with np.load(write(tmp_path / "clip.npz", walk, g1, "mjlab")) as file:
        arrays = dict(file)
    assert set(arrays) == {"fps", "joint_pos", "joint_vel"} | {
        f"body_{k}_w" for k in ("pos", "quat", "lin_vel", "ang_vel")
    }
    assert arrays["joint_pos"].shape == (200, 29) and arrays["body_pos_w"].shape == (200, 30, 3)
