"""Faulty files: one line that names the file, the key and the frame."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import Clip, Skeleton, read
from holosoma_jax.motion.formats import raw, tables
from holosoma_jax.viewer import robot_recording
from tests.support import motion_files

Arrays = dict[str, np.ndarray]


def put(key: str, value: object) -> Callable[[Arrays], object]:
    return lambda arrays: arrays.__setitem__(key, value)  # type: ignore[arg-type]


def at(key: str, index: tuple[int, ...], value: float) -> Callable[[Arrays], object]:
    return lambda arrays: arrays[key].__setitem__(index, value)


def drop(key: str) -> Callable[[Arrays], object]:
    return lambda arrays: arrays.pop(key)


FAULTS: list[tuple[Callable[[Arrays], object], str]] = [
    (put("fps", np.array([0])), r"fps.* 0"),
    (put("fps", np.array([-50.0])), r"fps.* -50"),
    (put("fps", np.array([np.nan])), r"fps.*nan"),
    (put("fps", np.array("fifty")), r"fps.*fifty"),
    (put("fps", np.array([1e-5])), r"fps.*1e-05"),
    (put("fps", np.array(["50" * 9999])), r"fps.*5050"),
    (put("fps", np.array([50, 50])), r"fps.*\[2\]"),
    (drop("fps"), r"'fps'"),
    (drop("joint_pos"), r"joint_names"),
    (at("joint_pos", (7, 12), np.nan), r"joint_pos.*frame 7.*12.*nan"),
    (at("body_pos_w", (5, 3, 1), np.inf), r"body_pos_w.*frame 5.*\[3, 1\].*inf"),
    (at("joint_pos", (3, 3), 9.0), r"joint_pos\[:, 3:7\].*frame 3"),
    (at("body_quat_w", (4, 2, 0), 9.0), r"body_quat_w.*frame 4.*body 2"),
    (put("joint_names", np.array(["a", "b"])), r"joint_pos.*36.*joint_names.*2"),
    (put("joint_names", np.arange(29)), r"joint_names.*names"),
    (put("joint_names", np.array(["left_knee_joint"] * 29)), r"joint_names.*left_knee_joint.*twice"),
    (put("joint_names", np.array([], "U1")), r"joint_names.*empty"),
    (put("body_names", np.array([], "U1")), r"body_names.*empty"),
    (put("contact", np.full((200, 2), 7.0)), r"contact.*frame 0.*7"),
    (put("joint_pos", np.full((200, 36), 1.0 + 0j)), r"joint_pos.*numbers.*complex"),
    (at("joint_vel", (199, slice(None)), np.nan), r"joint_vel.*frame 199.*nan"),  # type: ignore[arg-type]
    (put("body_names", np.array(["pelvis"])), r"body_pos_w.*31.*\[T, 1, 3\]"),
    (put("joint_pos", np.zeros((0, 36))), r"joint_pos.*empty"),
    (put("joint_pos", np.zeros(36)), r"joint_pos.*\[36\]"),
    (put("joint_pos", np.full((200, 36), "x")), r"joint_pos.*numbers.*text"),
    (put("joint_vel", np.zeros((10, 35))), r"joint_vel.*\[10, 35\].*\[200, 35\]"),
    (at("joint_pos", (slice(None), 10), 4.0), r"left_knee_joint|no reading fits"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("spoil", "said"), FAULTS, ids=[said for _, said in FAULTS])
def test_faults_of_a_holosoma_clip(
    spoil: Callable[[Arrays], object], said: str, tmp_path: Path, walk: Clip, g1: Skeleton
) -> None:
    path = motion_files.holosoma(tmp_path / "clip.npz", walk, g1)
    with np.load(path) as file:
        arrays = {key: np.array(file[key]) for key in file.files}
    spoil(arrays)
    np.savez(path, **arrays)
    message = refusal(path)
    assert re.search(rf"clip\.npz: .*({said})", message), message


def test_a_quaternion_that_disagrees_with_the_bodies(tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    path = motion_files.holosoma(tmp_path / "clip.npz", walk, g1)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["joint_pos"][:, 3:7] = [1.0, 0.0, 0.0, 0.0]
    np.savez(path, **arrays)
    assert re.search(r"no reading fits.*stored bodies 0\.\d+ m off", refusal(path))


def test_joints_far_outside_their_range(tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    table = walk.qpos
    table[50, 7 + g1.robot.joint_names.index("left_elbow_joint")] = 3.5
    np.save(tmp_path / "clip.npy", table)
    assert re.search(r"clip\.npy: frame 50: .*left_elbow_joint\b.*\b3\.50", refusal(tmp_path / "clip.npy"))


BONES_HEADER = ",".join(tables.BONES).encode()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.npz", b"", "empty"),
        ("empty.csv", b"", "empty"),
        ("a.csv", b"1,2,3\n4,5\n", r"frame 1 \(line 2\).*2 columns"),
        ("a.csv", b"1,2,3\n4,x,6\n", r"frame 1 \(line 2\).*'x'"),
        ("a.csv", b"1,2,3\n4,5,6\n", "3 columns"),
        ("a.csv", b"time,left_knee\n0.0,1.0\n", "header"),
        ("a.csv", b"Frame,root_translateX\n", "no row"),
        ("a.csv", b"root_translateX,a_dof,a_dof\n1,2,3\n", "'a_dof' twice"),
        ("a.csv", BONES_HEADER + b",a_dof,a_pos\n1,2,3,4,5,6,7,8\n", "'a' twice"),
        ("a.txt", b"hello", "neither npz, npy, pickle nor a table"),
        ("a.bvh", b"\x00\x01\x02\xff\xfe", "neither npz, npy, pickle nor a table"),
        ("a.pkl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("a.npy", b"\x93NUMPY\x01\x00", "damaged"),
        ("a.npz", b"PK\x05\x06" + bytes(18), "without arrays"),
    ],
)
def test_files_that_are_no_clip(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert re.search(rf"{name}: .*({said})", refusal(path))


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_a_cut_short_npz(share: float, tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    path = motion_files.mjlab(tmp_path / "clip.npz", walk, g1)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert re.search(r"clip\.npz: .*(damaged|cut)", refusal(path))


def test_a_damaged_npz_names_the_key(tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    path = motion_files.mjlab(tmp_path / "clip.npz", walk, g1)
    data = bytearray(path.read_bytes())
    data[200:260] = bytes(60)
    path.write_bytes(bytes(data))
    assert "clip.npz" in refusal(path)


def test_torch_files_are_refused_with_the_way_out(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "clip.motion"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clip/data.pkl", b"\x80\x02}.")
    assert re.search(r"clip\.motion: .*PyTorch.*csv", refusal(path))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.npz")
    assert "joint_pos.csv" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["a\0b.npz", 5000 * "a"])
def test_names_that_no_file_has(name: str) -> None:
    assert "cannot be read" in refusal(Path(name))


@pytest.mark.parametrize("content", [b"\xff\xfe,1\n", b"1," + 200_000 * b"2" + b"\n", b"1,\0\n", b"\n"])
def test_sonic_tables_that_are_no_numbers(content: bytes, tmp_path: Path) -> None:
    for name in ("body_pos", "body_quat", "joint_pos"):
        (tmp_path / f"{name}.csv").write_bytes(content if name == "joint_pos" else b"1,0,0\n")
    assert "joint_pos.csv" in refusal(tmp_path)


@pytest.mark.parametrize("rate", [0.0, -1.0, np.nan, np.inf, 1e-320, 1e300])
def test_frame_rates_that_the_caller_may_not_give(rate: float, tmp_path: Path, walk: Clip) -> None:
    np.save(tmp_path / "clip.npy", walk.qpos)
    with pytest.raises(ConfigError, match="--input-fps is"):
        read(tmp_path / "clip.npy", input_fps=rate)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dt": 1e-300}, "dt is 1e-300"),
        ({"dt": float("nan")}, "dt is nan"),
        ({"dt": True}, "dt is True"),
        ({"dt": "0.02"}, "dt is '0.02'"),
        ({"joint_names": []}, "joint_names is empty"),
        ({"joint_names": "ab"}, "joint_names: .*'ab'"),
        ({"body_names": 3}, "body_names"),
        ({"body_names": ["pelvis", "pelvis"]}, "'pelvis' twice"),
        (50_000 * "[", "_metadata_json"),
        ("[]", "_metadata_json"),
    ],
)
def test_recordings_with_other_metadata(
    change: dict[str, object] | str, said: str, tmp_path: Path, walk: Clip
) -> None:
    stated = {"joint_names": walk.joint_names, "body_names": walk.body_names, "dt": 0.02}
    text = change if isinstance(change, str) else json.dumps(stated | change)
    arrays = {"joint_pos": walk.joint_pos, "root_pos": walk.root_pos, "root_quat": walk.root_quat}
    np.savez(tmp_path / "clip.npz", _metadata_json=np.array(text), **arrays)
    assert re.search(rf"clip\.npz: .*{said}", refusal(tmp_path / "clip.npz"))


def test_split_points_are_whole_numbers(tmp_path: Path, walk: Clip) -> None:
    np.savez(tmp_path / "clip.npz", qpos=walk.qpos, split_points=np.array([0, 3.7, 200]), frequency=50.0)
    assert "split_points is [0.0, 3.7, 200.0]" in refusal(tmp_path / "clip.npz")


@pytest.mark.parametrize(
    "form", [np.asfortranarray, np.float16, ">f4", np.longdouble, "flipped"], ids=lambda form: str(form)
)
def test_arrays_in_other_forms(form: object, tmp_path: Path, walk: Clip) -> None:
    qpos = walk.qpos
    if form == "flipped":
        qpos[1::2, 3:7] *= -1.0  # the same rotations
    else:
        qpos = form(qpos) if callable(form) else qpos.astype(form)  # type: ignore[call-overload]
    np.savez(tmp_path / "clip.npz", joint_names=np.array(walk.joint_names), joint_pos=qpos, fps=50)
    found = read(tmp_path / "clip.npz")
    np.testing.assert_allclose(found.qpos, walk.qpos, atol=3e-3)
    assert np.abs(found.joint_vel).max() < 20.0 and np.abs(found.body_ang_vel).max() < 20.0


def test_a_leg_joint_that_is_missing(tmp_path: Path, walk: Clip) -> None:
    names = np.array([n for n in walk.joint_names if n != "left_knee_joint"])
    keep = [i for i, n in enumerate(walk.joint_names) if n != "left_knee_joint"]
    path = tmp_path / "clip.npz"
    np.savez(path, fps=50, joint_names=names, joint_pos=np.delete(walk.qpos, 7 + 3, axis=1))
    assert keep and re.search(r"clip\.npz", refusal(path))
    with pytest.raises(ConfigError, match=r"left_knee_joint"):
        read(path, "g1")


def test_joints_of_no_known_robot(tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"
    np.savez(
        path,
        fps=50,
        joint_names=np.array(["a", "b"]),
        joint_pos=np.tile([0.0, 0, 1, 1, 0, 0, 0, 0, 0], (5, 1)),
    )
    assert re.search(r"2 joints \(a, .*--robot", refusal(path))


def test_two_layouts_of_qpos_that_cannot_be_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"
    np.savez(path, fps=50, qpos=np.tile([0.0, 0, 0, 1.0, 0, 0, 0] + [0.0] * 29, (5, 1)))
    assert re.search(r"both of.*0:4.*3:7", refusal(path))


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_file_that_unpacks_to_many_times_its_size(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", joint_pos=np.zeros((1_000_000, 36)))
    assert re.search(r"bomb\.npz: would unpack to 288 MB", refusal(tmp_path / "bomb.npz"))
    (tmp_path / "bomb.pkl").write_bytes(gzip.compress(bytes(100_000_000), 1))
    assert re.search(r"bomb\.pkl: .*\b52428800\b", refusal(tmp_path / "bomb.pkl"))


@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
def test_a_pipe_or_a_device_is_no_clip(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "pipe":
        os.mkfifo(path)
    for load in (read, robot_recording.load):
        with pytest.raises(ConfigError, match="regular file"):
            load(str(path))


@pytest.mark.parametrize(
    ("write", "spoil", "said"),
    [
        ("isaac_amp", drop("body_names"), "lacks 'body_names'"),
        (
            "loco_mujoco_old",
            put("q_pelvis_tilt", np.zeros(7)),
            r"q_pelvis_tilt .*\[7\].*\[200\]",
        ),
        (
            "loco_mujoco_new",
            put("joint_names", np.array(["root", "left_knee_joint"])),
            "names 2 joints, but has 29",
        ),
        (
            "omni_retarget",
            put("joint_names", np.array([f"j{i}" for i in range(30)])),
            "30 joints|no robot",
        ),
        ("isaac_amp", put("dof_names", np.array([b"\xff", b"a"])), r"dof_positions"),
    ],
)
def test_names_and_columns_of_other_formats(
    write: str, spoil: Callable[[Arrays], object], said: str, tmp_path: Path, walk: Clip, g1: Skeleton
) -> None:
    path = getattr(motion_files, write)(tmp_path / "clip.npz", walk, g1)
    with np.load(path) as file:
        arrays = {key: np.array(file[key]) for key in file.files}
    spoil(arrays)
    np.savez(path, **arrays)
    with pytest.raises(ConfigError, match=said):
        read(path, g1)


def test_a_rate_of_ragged_rows_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"clip\.pkl: fps: .*length"):
        raw.frame_rate("clip.pkl", "fps", [[1.0], [1.0, 2.0]])
