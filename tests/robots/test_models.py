"""The compiled models against the figures, with kinematics and dynamics computed independently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import yaml

from docs.scripts import build_robot
from holosoma_jax.robots import Robot, load
from tests.support import dynamics

NAMES = ("g1", "t1", "k1")
FIGURES = Path(build_robot.__file__).parent / "figures"
SOURCES = {"g1": "g1_29dof", "t1": "t1_29dof", "k1": "k1_22dof"}


class Case:
    """A robot, its compiled model, and its figures."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.robot: Robot = load(name)
        self.model: Any = mujoco.MjModel.from_xml_path(str(self.robot.mjcf))
        self.data: Any = mujoco.MjData(self.model)
        self.figures = dynamics.figures(name)
        self.bodies: list[dict[str, Any]] = self.figures["bodies"]
        self.joints = [body["joint"] for body in self.bodies if "joint" in body]

    def place(self, pos: Any, quat: Any, q: Any) -> Any:
        """The model's data with kinematics at this pose."""
        self.data.qpos[:] = np.concatenate([pos, quat, q])
        mujoco.mj_forward(self.model, self.data)
        return self.data


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def poses(case: Case, count: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Random root poses and joint angles inside the ranges."""
    rng = np.random.default_rng(7)
    low, high = case.model.jnt_range[1:].T
    quats = rng.normal(size=(count, 4))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    return [(rng.normal(size=3), quat, rng.uniform(low, high)) for quat in quats]


def test_total_mass(case: Case) -> None:
    want = {"g1": 33.343142, "t1": 34.514469, "k1": 19.666}[case.name]
    assert sum(case.model.body_mass) == pytest.approx(want, abs=1e-9)
    assert case.figures["total_mass"] == pytest.approx(want, abs=1e-9)
    np.testing.assert_allclose(case.robot.body_mass, case.model.body_mass[1:], rtol=1e-6)


def test_body_inertias(case: Case) -> None:
    for body in case.bodies:
        compiled = case.model.body(body["name"])
        assert compiled.mass[0] == pytest.approx(body["mass"], abs=1e-12)
        np.testing.assert_allclose(compiled.ipos, body["com"], atol=1e-12)
        principal = dynamics.rotation(compiled.iquat)
        inertia = principal @ np.diag(compiled.inertia) @ principal.T
        want = dynamics.tensor(body["inertia"])
        np.testing.assert_allclose(inertia, want, atol=1e-8 * np.abs(want).max(), err_msg=body["name"])


def test_joint_ranges_damping_friction(case: Case) -> None:
    for joint in case.joints:
        compiled = case.model.joint(joint["name"])
        np.testing.assert_allclose(compiled.range, joint["range"], atol=1e-12)
        assert compiled.damping[0] == pytest.approx(joint["damping"])
        assert compiled.frictionloss[0] == pytest.approx(joint["frictionloss"])


def test_kinematics(case: Case) -> None:
    for pos, quat, q in poses(case, 20):
        data = case.place(pos, quat, q)
        for name, frame in dynamics.kinematics(case.bodies, pos, quat, q).items():
            np.testing.assert_allclose(data.body(name).xpos, frame.pos, atol=1e-8, err_msg=name)
            np.testing.assert_allclose(data.body(name).xmat.reshape(3, 3), frame.rot, atol=1e-7)


def test_mass_matrix(case: Case) -> None:
    full = np.zeros((case.model.nv, case.model.nv))
    for pos, quat, q in poses(case, 20):
        data = case.place(pos, quat, q)
        mujoco.mj_fullM(case.model, data, full)
        frames = dynamics.kinematics(case.bodies, pos, quat, q)
        want = dynamics.mass_matrix(case.bodies, frames, case.model.dof_armature[6:])
        scale = np.sqrt(np.outer(np.diag(want), np.diag(want)))
        assert np.max(np.abs(full - want) / scale) < 1e-8


def test_coupled_limits() -> None:
    """The G1's ankles: `range` bounds coefs . q, at a pose beyond the limit and within every joint's own."""
    case = Case("g1")
    limits = case.figures["coupled_limits"]
    assert case.model.ntendon == len(limits) == 8
    for pos, quat, q in poses(case, 5):
        data = case.place(pos, quat, q)
        angles = dict(zip(case.robot.joint_names, q, strict=True))
        for i, limit in enumerate(limits):
            want = sum(c * angles[j] for c, j in zip(limit["coefs"], limit["joints"], strict=True))
            assert data.ten_length[i] == pytest.approx(want, abs=1e-12)
            np.testing.assert_allclose(case.model.tendon_range[i], limit["range"])
    q = case.robot.default_joint_pos.astype(float)
    index = [case.robot.joint_names.index(f"left_ankle_{axis}_joint") for axis in ("roll", "pitch")]
    q[index] = 0.25, -0.84  # 0.14967 * 0.25 + 0.2618 * 0.84 = 0.2573 > 0.22846
    data = case.place([0, 0, 2], [1, 0, 0, 0], q)
    kinds = [data.efc_type[i] for i in range(data.nefc)]
    assert kinds.count(mujoco.mjtConstraint.mjCNSTR_LIMIT_TENDON) == 1
    assert mujoco.mjtConstraint.mjCNSTR_LIMIT_JOINT not in kinds


def test_standing_height(case: Case) -> None:
    """The root's height when the lowest point of the feet is at 0, root level, default pose."""
    spec = mujoco.MjSpec.from_file(str(case.robot.mjcf))
    spec.worldbody.add_geom(name="ground", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1, 1, 1])
    model = spec.compile()
    data = mujoco.MjData(model)
    data.qpos[:] = np.concatenate([[0, 0, 1], [1, 0, 0, 0], case.robot.default_joint_pos])
    mujoco.mj_kinematics(model, data)
    ground = model.geom("ground").id
    feet = [model.body(name).id for name in case.robot.feet_bodies]
    gaps = [
        mujoco.mj_geomDistance(model, data, g, ground, 2.0, None)
        for g in range(model.ngeom)
        if model.geom_contype[g] == 1 and model.geom_bodyid[g] in feet
    ]
    assert 1 - min(gaps) == pytest.approx(case.figures["standing_height"], abs=1e-6)


def test_geoms_touch_only_the_ground(case: Case) -> None:
    """Contact shapes are in group 3 and meet contype 2 only; looks are in group 2 and meet nothing."""
    looks = case.model.geom_group == 2
    assert np.all(case.model.geom_group[~looks] == 3)
    assert np.all(case.model.geom_contype == np.where(looks, 0, 1))
    assert np.all(case.model.geom_conaffinity == np.where(looks, 0, 2))
    assert np.all(case.model.geom_type != mujoco.mjtGeom.mjGEOM_MESH)
    rng = np.random.default_rng(0)
    low, high = case.model.jnt_range[1:].T
    for _ in range(20):
        assert case.place([0, 0, 3], [1, 0, 0, 0], rng.uniform(low, high)).ncon == 0


def _floor_contacts(spec: Any) -> dict[str, tuple[np.ndarray, ...]]:
    """Contact parameters of each foot geom that touches holosoma's floor."""
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    data.qpos[2] = 0.75
    mujoco.mj_forward(model, data)
    assert data.ncon > 0
    names = {c.geom2 if model.geom(c.geom1).name == "floor" else c.geom1: c for c in data.contact}
    return {
        model.geom(g).name: (c.friction.copy(), c.solref.copy(), c.solimp.copy(), np.array([c.dim]))
        for g, c in names.items()
    }


def test_foot_priority_equals_explicit_pairs() -> None:
    """The G1's feet against the floor: priority 1 compiles to what the source's explicit pairs say."""

    def scene() -> Any:
        spec = mujoco.MjSpec.from_file(str(load("g1").mjcf))
        spec.worldbody.add_geom(
            name="floor",
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[1, 1, 1],
            contype=2,
            conaffinity=1,
            friction=[0.7, 0.005, 0.001],
            solref=[0.001, 1],
            solimp=[0.99, 0.99, 0.01, 0.5, 2],
        )
        return spec

    paired = scene()
    feet = [geom for body in load("g1").feet_bodies for geom in paired.body(body).geoms if geom.name]
    assert len(feet) == 10
    for geom in feet:
        geom.priority, geom.friction, geom.solref = 0, [1, 0.005, 0.0001], [0.02, 1]
        paired.add_pair(
            geomname1="floor",
            geomname2=geom.name,
            condim=3,
            friction=[0.8, 0.8, 0.005, 0.0001, 0.0001],
            solref=[0.01, 1],
            solimp=[0.9, 0.95, 0.001, 0.5, 2],
        )
    got, want = _floor_contacts(scene()), _floor_contacts(paired)
    assert got.keys() == want.keys()
    assert any("foot" in name for name in got)
    for name, values in want.items():
        for a, b in zip(got[name], values, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


def test_torque_law(case: Case) -> None:
    """Actuator force = clip(kp (target - q) - kd qd, +-limit), joint by joint."""
    rng, robot = np.random.default_rng(1), case.robot
    pos, quat, q = poses(case, 1)[0]
    case.place(pos, quat, q)
    qd, target = rng.normal(size=robot.num_joints), q + rng.normal(size=robot.num_joints)
    case.data.qvel[6:], case.data.ctrl[:] = qd, target
    mujoco.mj_forward(case.model, case.data)
    force = robot.kp * (target - q) - robot.kd * qd
    want = np.clip(force, -robot.torque_limit, robot.torque_limit)
    assert 0 < np.sum(want != force) < robot.num_joints
    np.testing.assert_allclose(case.data.qfrc_actuator[6:], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_model_is_what_build_writes(name: str) -> None:
    """The MJCF in the repository comes from the full figures and the record, unedited."""
    source = yaml.safe_load((FIGURES / f"{SOURCES[name]}.yaml").read_text())
    folder = load(name).mjcf.parent
    record = yaml.safe_load((folder / "robot.yaml").read_text())
    assert build_robot.mjcf(source, record) == (folder / f"{name}.xml").read_text()


def _sole(model: Any, body: str) -> np.ndarray:
    """[n, 2] m: where the capsules of a foot end, seen from above in the foot's axes."""
    ends = []
    for g in np.flatnonzero((model.geom_bodyid == model.body(body).id) & (model.geom_group == 3)):
        axis = dynamics.rotation(model.geom_quat[g])[:, 2] * model.geom_size[g, 1]
        ends += [model.geom_pos[g] + axis, model.geom_pos[g] - axis]
    return np.array(ends)[:, :2]


@pytest.mark.parametrize(("name", "closer"), [("g1", 0.0032), ("t1", 0.0)])
def test_fewer_foot_capsules_hold_up_the_same_sole(name: str, closer: float) -> None:
    """In every direction the support polygon reaches as far as with all capsules, less `closer` m at most."""
    source = yaml.safe_load((FIGURES / f"{SOURCES[name]}.yaml").read_text())
    robot = load(name)
    record = yaml.safe_load((robot.mjcf.parent / "robot.yaml").read_text())
    geoms = record["model"]["geoms"]
    record["model"]["geoms"] = {geom: change for geom, change in geoms.items() if change is not None}
    full = mujoco.MjModel.from_xml_string(build_robot.mjcf(source, record))
    ours: Any = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    angle = np.linspace(0.0, 2.0 * np.pi, 3600, endpoint=False)
    directions = np.stack([np.cos(angle), np.sin(angle)])
    for foot in robot.feet_bodies:
        wanted, got = _sole(full, foot), _sole(ours, foot)
        assert len(got) < len(wanted) == 14
        short = (wanted @ directions).max(0) - (got @ directions).max(0)
        assert short.min() > -1e-9 and short.max() < closer + 1e-9
