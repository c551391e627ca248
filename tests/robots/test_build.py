"""A robot of one's own: figures and a record in, an MJCF out that loads."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import yaml

from docs.scripts import build_robot
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.robots import load

UNIT = [1.0, 0.0, 0.0, 0.0]


def leg(side: str, y: float) -> dict[str, Any]:
    joint = {"type": "hinge", "name": f"{side}_hip", "axis": [0, 1, 0], "pos": [0, 0, 0]}
    return {
        "name": f"{side}_leg", "parent": "trunk", "pos": [0, y, 0], "quat": UNIT,
        "mass": 1.0, "com": [0, 0, -0.2], "inertia": [0.01, 0.01, 0.002, 0, 0, 0],
        "joint": joint | {"range": [-1.0, 0.5], "damping": 0.1, "frictionloss": 0.2},
        "collision": [{"name": f"{side}_sole", "type": "sphere", "pos": [0, 0, -0.4], "quat": UNIT,
                       "size": [0.05]}],
        "visual": [{"type": "box", "pos": [0, 0, -0.2], "quat": UNIT, "size": [0.03, 0.03, 0.2],
                    "rgba": [0.5, 0.5, 0.5, 1]}],
    }  # fmt: skip


FIGURES: dict[str, Any] = {
    "feet": ["left_leg", "right_leg"],
    "joint_order": ["left_hip", "right_hip"],
    "contact": {"geoms_default": {"friction": [1, 0.005, 0.0001], "condim": 3, "solref": [0.02, 1],
                                  "solimp": [0.9, 0.95, 0.001, 0.5, 2]}},
    "joint_limit_solver": {"solref": [0.02, 1], "solimp": [0.9, 0.95, 0.001, 0.5, 2]},
    "coupled_limits": [{"joints": ["left_hip", "right_hip"], "coefs": [1, -0.5], "range": [-0.3, 0.4],
                        "solref": [0.003, 1], "solimp": [0.99, 0.999, 0.0005, 0, 2]}],
    "bodies": [
        {"name": "trunk", "parent": "world", "pos": [0, 0, 0], "quat": UNIT, "mass": 5.0, "com": [0, 0, 0.1],
         "inertia": [0.1, 0.1, 0.05, 0, 0, 0], "joint": {"type": "free", "name": "root"},
         "sites": [{"name": "imu", "pos": [0, 0, 0.1], "quat": UNIT}], "collision": [], "visual": []},
        leg("left", 0.1),
        leg("right", -0.1),
    ],
}  # fmt: skip


def hip(other: str) -> dict[str, Any]:
    numbers = {"default": -0.2, "kp": 30.0, "kd": 1.5, "torque_limit": 20.0, "velocity_limit": 10.0}
    return numbers | {"armature": 0.02, "mirror": [other, 1]}


RECORD: dict[str, Any] = {
    "name": "biped",
    "mjcf": "biped.xml",
    "init_pos": [0.0, 0.0, 0.5],
    "init_quat": UNIT,
    "action_scale": 0.3,
    "soft_limit_factor": 0.9,
    "root_body": "trunk",
    "torso_body": "trunk",
    "feet_bodies": ["left_leg", "right_leg"],
    "foot_height_bodies": ["left_mark", "right_mark"],
    "termination_bodies": ["trunk"],
    "randomized_mass_bodies": ["trunk"],
    "joints": {"left_hip": hip("right_hip"), "right_hip": hip("left_hip")},
    "model": {
        "foot_contact": {"friction": [0.6, 0.005, 0.0001]},
        "geoms": {"left_sole": {"size": [0.04]}},
        "markers": {f"{s}_mark": {"parent": f"{s}_leg", "pos": [0, 0, -0.45]} for s in ("left", "right")},
        "paint": {"left_leg": [0, 0, 1, 1], "0.5 0.5 0.5 1": [0, 1, 0, 1]},
    },
}


def test_command_writes_a_model_that_loads(tmp_path: Path) -> None:
    (tmp_path / "figures.yaml").write_text(yaml.safe_dump(FIGURES))
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(RECORD, sort_keys=False))
    build_robot.main([str(tmp_path / "figures.yaml"), str(tmp_path / "biped.xml")])
    robot = load(str(tmp_path))
    assert robot.body_names == ("trunk", "left_leg", "left_mark", "right_leg", "right_mark")
    assert robot.joint_names == ("left_hip", "right_hip")
    np.testing.assert_array_equal(robot.body_mass, [5, 1, 0, 1, 0])
    model: Any = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    assert model.opt.timestep == 0.005
    assert model.site("imu").pos[2] == 0.1
    assert model.geom("left_sole").size[0] == 0.04
    assert model.geom("right_sole").size[0] == 0.05
    assert model.geom("left_sole").friction[0] == 0.6
    assert model.joint("left_hip").armature[0] == 0.02
    np.testing.assert_array_equal(model.tendon_range[0], [-0.3, 0.4])
    np.testing.assert_array_equal(model.key("spawn").qpos, [0, 0, 0.5, 1, 0, 0, 0, -0.2, -0.2])
    colours = model.mat_rgba[model.geom_matid[model.geom_group == 2]]
    np.testing.assert_array_equal(colours, [[0, 0, 1, 1], [0, 1, 0, 1]])


@pytest.mark.parametrize(
    ("keys", "value", "fragments"),
    [
        (("joints", "left_hop"), {}, ("joints", "'left_hop'", "'left_hip'")),
        (("model", "geoms", "left_soul"), {}, ("model.geoms", "'left_soul'", "'left_sole'")),
        (("model", "markers", "left_mark", "parent"), "left_lag", ("model.markers", "'left_leg'")),
        (("model", "paint", "left_lag"), [], ("model.paint", "'left_leg'")),
    ],
)
def test_unknown_names_are_named(keys: tuple[str, ...], value: Any, fragments: tuple[str, ...]) -> None:
    record = copy.deepcopy(RECORD)
    node = record
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    with pytest.raises(ConfigError) as info:
        build_robot.mjcf(FIGURES, record)
    for fragment in fragments:
        assert fragment in str(info.value)


def test_a_shape_of_the_figures_can_be_left_out() -> None:
    record = copy.deepcopy(RECORD)
    record["model"]["geoms"] = {"left_sole": None}
    model: Any = mujoco.MjModel.from_xml_string(build_robot.mjcf(FIGURES, record))
    names = {model.geom(g).name for g in range(model.ngeom)}
    assert "left_sole" not in names and "right_sole" in names


def test_missing_joint_is_named() -> None:
    record = copy.deepcopy(RECORD)
    del record["joints"]["right_hip"]
    with pytest.raises(ConfigError, match="lacks 'right_hip'"):
        build_robot.mjcf(FIGURES, record)


def test_missing_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as info:
        build_robot.main([str(tmp_path / "figures.yaml"), str(tmp_path / "biped.xml")])
    assert info.value.code == 2
    assert "there is no file" in capsys.readouterr().err.splitlines()[-1]
