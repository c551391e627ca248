"""Every format is recognised, and its joint and quaternion order."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import Clip, Skeleton, read, read_all, rotations, write
from holosoma_jax.motion.formats import parse
from holosoma_jax.motion.readings.recognition import recognise
from tests.support import motion_files
from tests.support.joblib_pickle import joblib_bytes
from tests.support.motion_files import FORMATS
from tests.support.shared import shared_path

SAMPLES = {"kimodo_output_dance.csv": "wxyz", "kimodo_output_walk.csv": "wxyz", "twist2_walk_010.pkl": "xyzw"}


@pytest.mark.parametrize("name", FORMATS)
def test_reads_what_was_written(name: str, tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    how = FORMATS[name]
    clip = read(how.write(tmp_path / name, walk, g1))
    assert clip.provenance.format == how.format
    assert clip.fps == (how.fps or walk.fps)
    assert clip.robot == "g1"
    np.testing.assert_allclose(clip.root_pos, walk.root_pos, atol=2e-6)
    assert rotations.distance(clip.root_quat, walk.root_quat).max() < 1e-5
    np.testing.assert_allclose(clip.joint_pos, walk.joint_pos, atol=2e-6)


@pytest.mark.parametrize("name", FORMATS)
def test_every_other_reading_is_refused_or_outscored(
    name: str, tmp_path: Path, walk: Clip, g1: Skeleton
) -> None:
    how = FORMATS[name]
    found = recognise(parse(how.write(tmp_path / name, walk, g1))[0], g1)
    labels = found.reading.labels
    assert (labels.joint_order, labels.quaternion) == (how.joint_order, how.quaternion)
    assert found.figures.fits
    wrong = [figures for tried, figures in found.measured if tried != labels]
    assert all(not figures.fits or figures.cost > found.figures.cost for figures in wrong)


@pytest.mark.parametrize("order", ["robot", "isaac"])
@pytest.mark.parametrize("quaternion", ["wxyz", "xyzw"])
@pytest.mark.parametrize("clip", ["g1_dance", "g1_turn_in_place", "g1_squat", "t1_dance", "k1_dance"])
def test_a_bare_table_in_each_of_four_orders(clip: str, order: str, quaternion: str, tmp_path: Path) -> None:
    from holosoma_jax import robots

    skeleton = Skeleton(robots.load(clip[:2]))
    ours = read(clip, skeleton)
    joints = ours.joint_pos if order == "robot" else motion_files.breadth_first(skeleton, ours.joint_pos)
    quat = ours.root_quat if quaternion == "wxyz" else ours.root_quat[:, motion_files.XYZW]
    path = tmp_path / "table.npy"
    np.save(path, np.concatenate([ours.root_pos, quat, joints], 1))
    back = read(path, skeleton)
    np.testing.assert_allclose(back.qpos[:, 7:], ours.qpos[:, 7:], atol=1e-9)
    assert f"joint order {order}, quaternion {quaternion}" in back.provenance.reading


def test_joints_and_bodies_may_be_in_different_orders(tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    path = tmp_path / "mixed.npz"
    bodies = motion_files.bodies(walk, g1.breadth_first_links)
    np.savez(path, fps=50, joint_pos=walk.joint_pos, joint_vel=walk.joint_vel, **bodies)
    found = recognise(parse(path)[0], g1)
    assert (found.reading.labels.joint_order, found.reading.labels.body_order) == ("robot", "isaac")


def test_a_standing_robot_in_a_bare_table_needs_the_flag(tmp_path: Path, g1: Skeleton) -> None:
    """Unrotated, x y z w read as w x y z is the same robot facing backwards."""
    still = np.concatenate([[0, 0, 0.757], [0, 0, 0, 1], g1.robot.default_joint_pos])
    path = tmp_path / "still.npy"
    np.save(path, np.tile(still, (50, 1)))
    with pytest.raises(ConfigError, match=r"still\.npy.*several.*--quaternion"):
        read(path, g1, joint_order="robot")
    clip = read(path, g1, joint_order="robot", quaternion="xyzw")
    np.testing.assert_allclose(clip.root_quat[0], [1, 0, 0, 0], atol=1e-12)


def test_a_format_with_a_convention_needs_no_flag_for_a_standing_robot(tmp_path: Path, g1: Skeleton) -> None:
    still = np.tile(np.concatenate([[0, 0, 0.757], [0, 0, 0, 1], g1.robot.default_joint_pos]), (50, 1))
    path = tmp_path / "still.pkl"
    import pickle

    value = {"fps": 30, "root_pos": still[:, :3], "root_rot": still[:, 3:7], "dof_pos": still[:, 7:]}
    path.write_bytes(pickle.dumps(value))
    clip = read(path, g1)
    np.testing.assert_allclose(clip.root_quat[0], [1, 0, 0, 0], atol=1e-12)


def test_no_reading_of_noise_fits(tmp_path: Path, g1: Skeleton) -> None:
    rng = np.random.default_rng(0)
    quat = rng.normal(size=(40, 4))
    quat /= np.linalg.norm(quat, axis=1, keepdims=True)
    path = tmp_path / "noise.npy"
    np.save(path, np.concatenate([rng.uniform(0, 2, (40, 3)), quat, rng.uniform(-1, 1, (40, 29))], 1))
    with pytest.raises(ConfigError, match=r"noise\.npy.*no reading.*--joint-order"):
        read(path, g1)


def test_a_reading_that_was_asked_for_is_taken_with_a_note(tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    path = motion_files.kimodo(tmp_path / "kimodo.csv", walk, g1)
    clip = read(path, g1, joint_order="robot", quaternion="xyzw")
    assert any("does not fit" in note for note in clip.provenance.notes)


def test_bodies_that_disagree_with_every_reading_are_refused(
    tmp_path: Path, walk: Clip, g1: Skeleton
) -> None:
    path = motion_files.mjlab(tmp_path / "mjlab.npz", walk, g1)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["body_pos_w"] = arrays["body_pos_w"].copy()
    arrays["body_pos_w"][:, 1:] += 0.2
    np.savez(path, **arrays)
    with pytest.raises(ConfigError, match=r"mjlab\.npz.*no reading fits.*bodies 0\.\d+ m off"):
        read(path, g1)


def test_missing_wrists_stay_at_the_default_pose(tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    clip = read(motion_files.twist(tmp_path / "twist.pkl", walk, g1), g1)
    wrists = [i for i, n in enumerate(clip.joint_names) if "wrist" in n]
    np.testing.assert_array_equal(
        clip.joint_pos[:, wrists], np.tile(g1.robot.default_joint_pos[wrists], (200, 1))
    )
    assert any("left_wrist_roll_joint" in note for note in clip.provenance.notes)


def test_several_clips_in_one_file(tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    path = tmp_path / "library.pkl"
    one = motion_files.phc_clip(walk)
    path.write_bytes(joblib_bytes({"first": one, "second": one}))
    assert [clip.name for clip in read_all(path, g1)] == ["first", "second"]
    assert read(path, g1, clip="second").name == "second"
    with pytest.raises(ConfigError, match=r"first, second.*--clip"):
        read(path, g1)


def test_a_phc_pose_without_a_joint_is_one_line(walk: Clip, tmp_path: Path) -> None:
    clip = motion_files.phc_clip(walk)
    clip["pose_aa"] = np.zeros((walk.num_frames, 0, 3))
    path = tmp_path / "phc.pkl"
    path.write_bytes(joblib_bytes({"walk": clip}))
    with pytest.raises(ConfigError, match=r"pose_aa has shape \[\d+, 0, 3\]"):
        read(path, "g1")


def test_units_of_bones_are_found(tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    """The same file in metres and radians."""
    path = motion_files.bones(tmp_path / "bones.csv", walk, g1)
    header, *rows = path.read_text().splitlines()
    table = np.array([[float(c) for c in row.split(",")] for row in rows])
    table[:, 1:4] /= 100.0
    table[:, 4:] = np.radians(table[:, 4:])
    path.write_text("\n".join([header, *(",".join(map(repr, map(float, row))) for row in table)]))
    clip = read(path)
    np.testing.assert_allclose(clip.joint_pos, walk.joint_pos, atol=1e-6)
    assert "units m rad" not in clip.provenance.reading and clip.provenance.format == "BONES csv"


def test_centimetres_with_radians(tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    path = motion_files.bones(tmp_path / "bones.csv", walk, g1)
    header, *rows = path.read_text().splitlines()
    table = np.array([[float(c) for c in row.split(",")] for row in rows])
    table[:, 4:] = np.radians(table[:, 4:])
    path.write_text("\n".join([header, *(",".join(map(repr, map(float, row))) for row in table)]))
    clip = read(path)
    np.testing.assert_allclose(clip.joint_pos, walk.joint_pos, atol=1e-6)
    assert "units cm rad" in clip.provenance.reading


def gmr_dict(walk: Clip) -> dict[str, object]:
    xyzw = walk.root_quat[:, motion_files.XYZW]
    return {"fps": 30, "root_pos": walk.root_pos, "root_rot": xyzw, "dof_pos": walk.joint_pos}


def test_several_clips_in_a_pickle_of_any_kind(tmp_path: Path, walk: Clip) -> None:
    """By name in a dict, or one behind the other in a list."""
    for value, names in (
        ({"a": gmr_dict(walk), "b": motion_files.phc_clip(walk), "note": "x"}, ["a", "b"]),
        ([gmr_dict(walk), gmr_dict(walk)], ["many_0", "many_1"]),
    ):
        (tmp_path / "many.pkl").write_bytes(pickle.dumps(value))
        clips = read_all(tmp_path / "many.pkl", "g1")
        assert [clip.name for clip in clips] == names
        np.testing.assert_allclose(read(tmp_path / "many.pkl", "g1", clip=names[0]).joint_pos, walk.joint_pos)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol(tmp_path: Path, walk: Clip, protocol: int) -> None:
    (tmp_path / "clip.pkl").write_bytes(pickle.dumps(gmr_dict(walk), protocol))
    np.testing.assert_allclose(read(tmp_path / "clip.pkl").joint_pos, walk.joint_pos)


@pytest.mark.parametrize("separator", [",", ", ", ";", "\t", " ", "  "])
@pytest.mark.parametrize(
    ("header", "end"), [("", ""), ("# root, quaternion, joints\n", ""), ("", "SEPARATOR")]
)
def test_tables_of_other_separators(
    tmp_path: Path, walk: Clip, separator: str, header: str, end: str
) -> None:
    """np.savetxt writes spaces; some writers end each line with a separator."""
    path, end = tmp_path / "table.csv", end.replace("SEPARATOR", separator)
    rows = (separator.join(f"{v:.7f}" for v in row) + end for row in walk.qpos)
    path.write_text(header + "\n".join(rows) + "\n")
    clip = read(path)
    np.testing.assert_allclose(clip.joint_pos, walk.joint_pos, atol=1e-6)
    assert clip.provenance.format == "Kimodo csv"


def test_names_below_a_robot_are_known(tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    """MuJoCo names what is attached 'robot/left_knee_joint'."""
    with np.load(write(tmp_path / "clip.npz", walk, g1)) as file:
        arrays = dict(file)
    for key in ("joint_names", "body_names"):
        arrays[key] = np.array([f"robot/{name}" for name in arrays[key]])
    np.savez(tmp_path / "named.npz", allow_pickle=False, **arrays)
    np.testing.assert_allclose(read(tmp_path / "named.npz").joint_pos, walk.joint_pos, atol=1e-6)


def test_degrees_where_radians_are_meant_are_said(tmp_path: Path, walk: Clip) -> None:
    (tmp_path / "clip.pkl").write_bytes(
        pickle.dumps({**gmr_dict(walk), "dof_pos": np.degrees(walk.joint_pos)})
    )
    with pytest.raises(ConfigError, match=r"clip\.pkl.*degrees"):
        read(tmp_path / "clip.pkl")


@pytest.mark.parametrize("name", SAMPLES)
def test_files_of_other_tools(name: str) -> None:
    clip = read(shared_path(f"motions/{name}"))
    assert f"joint order robot, quaternion {SAMPLES[name]}" in clip.provenance.reading
    assert clip.root_pos[:, 2].min() > 0.5
    if clip.provenance.stored:
        assert clip.provenance.stored["position (greatest, m)"] < 1e-5


def test_joints_that_the_robot_lacks_are_named(tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    path = tmp_path / "hands.npz"
    qpos = np.concatenate([walk.qpos, np.zeros((walk.num_frames, 1))], 1)
    np.savez(path, fps=50, joint_names=np.array([*walk.joint_names, "left_thumb_joint"]), joint_pos=qpos)
    clip = read(path)
    np.testing.assert_allclose(clip.joint_pos, walk.joint_pos, atol=1e-12)
    assert any("left_thumb_joint" in note for note in clip.provenance.notes)
