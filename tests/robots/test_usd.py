"""The robots as USD text, against MuJoCo's reading of their MJCF."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from docs.scripts import robot_usd
from holosoma_jax import robots
from holosoma_jax.robots.model import markers, read
from holosoma_jax.robots.robot import Robot
from holosoma_jax.robots.usd import COUPLED_LIMITS, JOINTS, SELF_COLLISION, prim_name, usda
from tests.support import usda as reader
from tests.support.biped import BIPED
from tests.support.usda import Prim

ROBOTS = [*robot_usd.NAMES, "biped"]


@pytest.fixture(scope="module", params=ROBOTS)
def robot(request: pytest.FixtureRequest) -> Robot:
    return BIPED if request.param == "biped" else robots.load(request.param)


@pytest.fixture(scope="module")
def model(robot: Robot) -> mujoco.MjModel:
    return read(robot.mjcf, robot.root_body).spec.compile()


@pytest.fixture(scope="module")
def root(robot: Robot) -> Prim:
    return reader.read(usda(robot))


@pytest.mark.parametrize("name", robot_usd.NAMES)
def test_the_file_that_is_shipped_is_of_the_model_that_is_shipped(name: str):
    robot = robots.load(name)
    assert robot.mjcf.with_suffix(".usda").read_text() == usda(robot), "run python -m docs.scripts.robot_usd"


def test_links_are_the_bodies_in_order_but_for_markers(robot: Robot, model: mujoco.MjModel, root: Prim):
    wanted = [name for name in robot.body_names if name not in markers(model)]
    assert list(root.with_schema("PhysicsRigidBodyAPI")) == wanted
    assert set(robot.foot_height_bodies) == markers(model)
    hinges = [name for name, prim in root.children[JOINTS].children.items() if "physics:axis" in prim.values]
    assert sorted(hinges) == sorted(robot.joint_names)


def test_masses_and_inertias_are_the_models(model: mujoco.MjModel, root: Prim):
    for name, link in root.with_schema("PhysicsRigidBodyAPI").items():
        body, values = model.body(name), link.values
        np.testing.assert_allclose(values["physics:mass"], body.mass[0], rtol=1e-8)
        np.testing.assert_allclose(values["physics:centerOfMass"], body.ipos, atol=1e-9)
        axes = [matrix(values["physics:principalAxes"]), matrix(body.iquat)]
        diagonals = [values["physics:diagonalInertia"], body.inertia]
        tensors = [a @ np.diag(d) @ a.T for a, d in zip(axes, diagonals, strict=True)]
        np.testing.assert_allclose(*tensors, atol=1e-9)


def test_links_are_where_the_joints_put_them(robot: Robot, model: mujoco.MjModel, root: Prim):
    """Forward kinematics of the joint prims and MuJoCo's agree, at any angles."""
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    for j in range(1, model.njnt):
        data.qpos[model.jnt_qposadr[j]] = rng.uniform(-1, 1)
    mujoco.mj_kinematics(model, data)
    base = data.body(robot.root_body)
    places = {robot.root_body: frame(base.xpos, base.xquat)}
    axes = {"X": [1.0, 0.0, 0.0], "Y": [0.0, 1.0, 0.0], "Z": [0.0, 0.0, 1.0]}
    for name, joint in root.children[JOINTS].children.items():
        parent, child = (joint.values[f"physics:body{i}"].split("/")[-1] for i in (0, 1))
        ends = [
            frame(joint.values[f"physics:localPos{i}"], joint.values[f"physics:localRot{i}"]) for i in (0, 1)
        ]
        turn = np.array([1.0, 0.0, 0.0, 0.0])
        if "physics:axis" in joint.values:
            angle = float(data.qpos[model.joint(name).qposadr[0]])
            mujoco.mju_axisAngle2Quat(turn, np.array(axes[joint.values["physics:axis"]]), angle)
        places[child] = places[parent] @ ends[0] @ frame(np.zeros(3), turn) @ np.linalg.inv(ends[1])
    for name, place in places.items():
        np.testing.assert_allclose(place, frame(data.body(name).xpos, data.body(name).xquat), atol=1e-6)


def test_links_start_where_the_joints_are_zero(model: mujoco.MjModel, root: Prim):
    """An importer takes the joints' coordinates from the links' places."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    for name, link in root.with_schema("PhysicsRigidBodyAPI").items():
        np.testing.assert_allclose(link.values["xformOp:translate"], data.body(name).xpos, atol=1e-8)
        np.testing.assert_allclose(
            matrix(link.values["xformOp:orient"]), matrix(data.body(name).xquat), atol=1e-7
        )


def test_limits_are_in_degrees(model: mujoco.MjModel, root: Prim):
    for name, joint in root.children[JOINTS].children.items():
        if "physics:axis" in joint.values:
            limits = [joint.values["physics:lowerLimit"], joint.values["physics:upperLimit"]]
            np.testing.assert_allclose(np.radians(limits), model.joint(name).range, atol=1e-7)


def test_limits_on_sums_of_angles_are_the_models(robot: Robot, model: mujoco.MjModel, root: Prim):
    """The G1's eight ankle limits: the same sums of the same joints, ranges and solver settings."""
    written = root.children.get(COUPLED_LIMITS, Prim("")).children
    assert len(written) == model.ntendon == (8 if robot.name == "g1" else 0)
    angles = np.random.default_rng(0).uniform(-1, 1, model.nv)
    data = mujoco.MjData(model)
    data.qpos[[model.jnt_qposadr[j] for j in range(1, model.njnt)]] = angles[6:]
    mujoco.mj_forward(model, data)
    for name, limit in written.items():
        values, tendon = limit.values, model.tendon(name).id
        assert (limit.kind, values["mjc:type"], values["mjc:limited"]) == ("MjcTendon", "fixed", "true")
        joints = [path.split("/")[-1] for path in values["mjc:path"]]
        assert {path.rpartition("/")[0] for path in values["mjc:path"]} == {f"/{robot.name}/{JOINTS}"}
        length = sum(
            coef * data.joint(joint).qpos[0]
            for joint, coef in zip(joints, values["mjc:path:coef"], strict=True)
        )
        assert length == pytest.approx(data.ten_length[tendon], abs=1e-8)
        assert [values["mjc:range:min"], values["mjc:range:max"]] == pytest.approx(
            list(model.tendon_range[tendon])
        )
        for key, ours in (("solref", model.tendon_solref_lim), ("solimp", model.tendon_solimp_lim)):
            assert values[f"mjc:{key}limit"] == pytest.approx(list(ours[tendon]))


def test_a_rope_is_no_limit_on_a_sum_of_angles(tmp_path: Path):
    text = BIPED.mjcf.read_text()
    head = '<body name="head"'
    assert text.count(head) == 1
    site = '<site name="{}" pos="0 0 0.1"/>'
    ends = "".join(f'<site site="{name}"/>' for name in "ab")
    rope = f'<tendon><spatial name="rope" range="0 1">{ends}</spatial></tendon></mujoco>'
    path = tmp_path / "rope.xml"
    first, _, rest = text.partition(head)
    tag, _, rest = rest.partition(">")
    path.write_text(
        f"{first}{site.format('a')}{head}{tag}>{site.format('b')}{rest}".replace("</mujoco>", rope)
    )
    robot = replace(BIPED, mjcf=path)
    assert read(path, BIPED.root_body).spec.compile().ntendon == 1
    assert COUPLED_LIMITS not in reader.read(usda(robot)).children


def test_each_colliding_geom_is_one_shape_with_its_size_and_friction(model: mujoco.MjModel, root: Prim):
    checked = 0
    for name, link in root.with_schema("PhysicsRigidBodyAPI").items():
        body = model.body(name)
        ours = range(int(body.geomadr[0]), int(body.geomadr[0]) + int(body.geomnum[0]))
        geoms = [model.geom(g) for g in ours if model.geom_contype[g] or model.geom_conaffinity[g]]
        assert len(link.children) == len(geoms)
        for geom, shape in zip(geoms, link.children.values(), strict=True):
            values, size = shape.values, geom.size
            np.testing.assert_allclose(values["xformOp:translate"], geom.pos, atol=1e-9)
            if shape.kind == "Cube":
                np.testing.assert_allclose(np.array(values["xformOp:scale"]) * values["size"] / 2, size)
            else:
                assert values["radius"] == pytest.approx(size[0])
            if "height" in values:
                assert values["height"] == pytest.approx(2 * size[1])
            material = root.children[values["material:binding:physics"].split("/")[-1]]
            assert material.values["physics:staticFriction"] == pytest.approx(geom.friction[0])
            assert values["mjc:solref"] == pytest.approx(list(geom.solref))
            assert values["mjc:priority"] == geom.priority[0]
            checked += 1
    assert checked > 8


def test_self_collisions_are_off_unless_asked_for(robot: Robot):
    for wanted in (False, True):
        root = reader.read(usda(robot, self_collisions=wanted))
        assert [root.values[name] for name in SELF_COLLISION] == [wanted] * len(SELF_COLLISION)


def test_an_axis_in_any_direction(tmp_path: Path):
    text = BIPED.mjcf.read_text()
    for axis in itertools.product((-1, 0, 1), repeat=3):
        if not any(axis):
            continue
        path = tmp_path / "tilted.xml"
        path.write_text(
            text.replace(
                'name="left_hip" axis="0 1 0"', f'name="left_hip" axis="{axis[0]} {axis[1]} {axis[2]}"'
            )
        )
        robot = replace(BIPED, mjcf=path)
        model = read(path, robot.root_body).spec.compile()
        test_links_are_where_the_joints_put_them(robot, model, reader.read(usda(robot)))


def test_what_usd_cannot_say_is_refused_by_name(tmp_path: Path):
    text = BIPED.mjcf.read_text()
    path = tmp_path / "odd.xml"
    path.write_text(
        text.replace('<geom name="skull" type="sphere"', '<geom name="skull" type="ellipsoid"').replace(
            'size="0.07"', 'size="0.07 0.06 0.05"'
        )
    )
    with pytest.raises(ValueError, match="skull"):
        usda(replace(BIPED, mjcf=path))
    path.write_text(text.replace('<joint name="neck"', '<joint name="nod" axis="0 1 0"/><joint name="neck"'))
    with pytest.raises(ValueError, match="head"):
        usda(replace(BIPED, mjcf=path))


@pytest.mark.parametrize(("name", "wanted"), [("left-foot", "left_foot"), ("2nd.arm", "_2nd_arm"), ("", "_")])
def test_names_become_such_as_usd_allows(name: str, wanted: str):
    assert prim_name(name) == wanted


def matrix(quat: object) -> np.ndarray:
    out = np.zeros(9)
    mujoco.mju_quat2Mat(out, np.asarray(quat, float))
    return out.reshape(3, 3)


def frame(pos: object, quat: object) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = matrix(quat), np.asarray(pos, float)
    return out
