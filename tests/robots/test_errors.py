"""A robot that cannot be used is refused in one line that names the file, the field and the fix."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.robots import load

Edit = Callable[[dict[str, Any]], Any]


def refusal(asset: Path | str) -> str:
    with pytest.raises(ConfigError) as info:
        load(str(asset))
    message = str(info.value)
    assert "\n" not in message
    return message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the G1 that a test may spoil."""
    shutil.copytree(load("g1").mjcf.parent, tmp_path / "mine")
    return tmp_path / "mine"


def knee(record: dict[str, Any]) -> dict[str, Any]:
    return record["joints"]["left_knee_joint"]


def swap_order(record: dict[str, Any]) -> None:
    names = list(record["joints"])
    names[0], names[1] = names[1], names[0]
    record["joints"] = {name: record["joints"][name] for name in names}


BAD_RECORDS: list[tuple[str, Edit, tuple[str, ...]]] = [
    ("missing field", lambda r: r.pop("torso_body"), ("'torso_body' is missing",)),
    ("unknown field", lambda r: r.update(torso="x"), ("unknown field 'torso'", "mean 'torso_body'")),
    ("missing model", lambda r: r.update(mjcf="g2.xml"), ("g2.xml", "not in")),
    ("model not text", lambda r: r.update(mjcf=3), ("mjcf", "expected text, got 3")),
    (
        "unknown joint",
        lambda r: r["joints"].update(left_kne_joint={}),
        ("'left_kne_joint'", "'left_knee_joint'"),
    ),
    ("missing joint", lambda r: r["joints"].pop("left_knee_joint"), ("'left_knee_joint' is missing",)),
    ("joint order", swap_order, ("'left_hip_roll_joint'", "'left_hip_pitch_joint'", "Reorder")),
    ("missing gain", lambda r: knee(r).pop("kd"), ("joints.left_knee_joint", "kd")),
    ("text for a number", lambda r: knee(r).update(kp="stiff"), ("left_knee_joint.kp", "'stiff'")),
    ("negative gain", lambda r: knee(r).update(kp=-1.0), ("left_knee_joint.kp", "-1.0")),
    ("not finite", lambda r: knee(r).update(default=float("nan")), ("left_knee_joint.default", "nan")),
    ("other gain", lambda r: knee(r).update(kp=50), ("left_knee_joint.kp is 50", "99.0984")),
    ("other damping", lambda r: knee(r).update(kd=1), ("left_knee_joint.kd is 1", "6.3088")),
    ("other limit", lambda r: knee(r).update(torque_limit=88), ("left_knee_joint.torque_limit", "139")),
    ("other armature", lambda r: knee(r).update(armature=0), ("left_knee_joint.armature", "0.0251")),
    ("pose out of range", lambda r: knee(r).update(default=-1), ("left_knee_joint.default is -1", "2.8798")),
    (
        "one-way mirror",
        lambda r: knee(r).update(mirror=["left_hip_yaw_joint", 1]),
        ("left_hip_yaw_joint", "must"),
    ),
    ("mirror sign", lambda r: knee(r).update(mirror=["right_knee_joint", 2]), ("mirror", "[joint, -1]", "2")),
    (
        "mirror name",
        lambda r: knee(r).update(mirror=["right_knee", 1]),
        ("'right_knee'", "'right_knee_joint'"),
    ),
    ("unknown body", lambda r: r.update(torso_body="torso"), ("torso_body", "'torso'", "'torso_link'")),
    ("three feet", lambda r: r["feet_bodies"].append("pelvis"), ("feet_bodies", "2 body names")),
    ("unknown foot", lambda r: r.update(feet_bodies=["left_foot", "pelvis"]), ("feet_bodies", "'left_foot'")),
    ("one hand", lambda r: r["hand_bodies"].pop(), ("hand_bodies", "2 body names")),
    ("unknown tracked", lambda r: r["tracked_bodies"].append("head"), ("tracked_bodies", "'head'")),
    ("other root", lambda r: r.update(root_body="torso_link"), ("root_body", "'torso_link'", "'pelvis'")),
    ("short position", lambda r: r.update(init_pos=[0, 0]), ("init_pos", "3 numbers", "[0, 0]")),
    (
        "not a rotation",
        lambda r: r.update(init_quat=[0, 0, 0, 0]),
        ("init_quat", "length 1", "[0.0, 0.0, 0.0, 0.0]"),
    ),
    ("beyond float32", lambda r: knee(r).update(kp=10**400), ("left_knee_joint.kp", "number")),
    ("beyond float32 by little", lambda r: r.update(action_scale=1e39), ("action_scale", "above 0")),
    ("huge scale", lambda r: r.update(action_scale=1e30), ("action_scale", "at most 1000", "1e+30")),
    ("huge gain", lambda r: knee(r).update(kp=1e30), ("left_knee_joint.kp", "1e+30")),
    ("huge armature", lambda r: knee(r).update(armature=1e30), ("left_knee_joint.armature", "1e+30")),
    ("no torque", lambda r: knee(r).update(torque_limit=0), ("left_knee_joint.torque_limit", "got 0")),
    ("soft limits outside", lambda r: r.update(soft_limit_factor=5), ("soft_limit_factor", "at most 1", "5")),
    ("start far away", lambda r: r.update(init_pos=[0, 0, 1e30]), ("init_pos", "1e+30")),
    ("name with a path", lambda r: r.update(name="../x"), ("name", "'../x'")),
    ("name with an escape", lambda r: r.update(name="a\x1b[31m"), ("name", "slashes")),
    ("one foot twice", lambda r: r.update(feet_bodies=2 * r["feet_bodies"][:1]), ("feet_bodies", "twice")),
    ("no scale", lambda r: r.update(action_scale=0), ("action_scale", "above 0")),
    ("joints as list", lambda r: r.update(joints=[1]), ("joints", "mapping")),
]


@pytest.mark.parametrize(
    ("edit", "fragments"), [(e, f) for _, e, f in BAD_RECORDS], ids=[n for n, _, _ in BAD_RECORDS]
)
def test_bad_record(folder: Path, edit: Edit, fragments: tuple[str, ...]) -> None:
    path = folder / "robot.yaml"
    record = yaml.safe_load(path.read_text())
    edit(record)
    path.write_text(yaml.safe_dump(record, sort_keys=False))
    message = refusal(folder)
    assert str(path) in message
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: other\n", "'name' is given twice"),
        ("model: &a [*a]\n", "references"),
        ("5: 3\n", "not text"),
        ("# \udce9\n", "robot.yaml"),
    ],
)
def test_bad_yaml(folder: Path, text: str, said: str) -> None:
    path = folder / "robot.yaml"
    kept = path.read_text().replace("\nmodel:", "\nunused:") if "model" in text else path.read_text()
    path.write_bytes((text + kept).encode("utf-8", "surrogateescape"))
    assert said in refusal(folder)


@pytest.mark.parametrize("asset", ["a\0b", 5000 * "a", "~nobody_of_this_name/x", "", "/"])
def test_names_that_no_folder_has(asset: str) -> None:
    assert "robot.asset" in refusal(asset)


@pytest.mark.parametrize(
    ("old", "new", "fragments"),
    [
        ("<mujoco", "<mujoko", ("MuJoCo rejects it",)),
        ('name="left_knee_joint" pos', 'type="slide" name="left_knee_joint" pos', ("then hinges only",)),
    ],
)  # fmt: skip
def test_bad_model(folder: Path, old: str, new: str, fragments: tuple[str, ...]) -> None:
    path = folder / "g1.xml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    message = refusal(folder)
    assert str(path) in message
    for fragment in fragments:
        assert fragment in message


def test_unknown_asset_lists_the_known_ones() -> None:
    message = refusal("g2")
    assert "'g2'" in message
    assert "g1, k1, t1" in message
    assert "robot.asset" in message


def test_unreadable_record(folder: Path) -> None:
    (folder / "robot.yaml").write_text("name: [")
    assert "not valid YAML" in refusal(folder)
    (folder / "robot.yaml").write_text("- a\n")
    assert "got list" in refusal(folder)


def test_a_copied_folder_loads_like_the_original(folder: Path) -> None:
    mine, original = load(str(folder)), load("g1")
    assert mine.mjcf != original.mjcf
    for key, value in vars(original).items():
        if key != "mjcf":
            assert np.array_equal(getattr(mine, key), value), key
