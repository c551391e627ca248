"""Per-environment parameters: each acts, only where the mask says, and like a model edited by hand."""

from __future__ import annotations

import copy

import jax
import mujoco
import numpy as np
import pytest

from bridges.mujoco import engine
from bridges.protocol import ROBOT_PARAMS, PhysicsParams
from tests.support.biped import BIPED, everyone, numpy, only, pose, random_pose, start
from tests.support.recorded import recorded

NUM = 4
JOINTS, BODIES = 5, 8


def tilted_pose(height=5.0):
    return random_pose(NUM, height=height)


def run(params: PhysicsParams | None, mask=None, *, height=5.0, steps=3, **settings):
    """States after `steps` from the same random poses, with the parameters given."""
    bridge, physics = start(NUM, **settings)
    if params is not None:
        physics = bridge.randomize(physics, params, everyone(NUM) if mask is None else mask)
    physics, _ = bridge.reset(physics, everyone(NUM), tilted_pose(height))
    for _ in range(steps):
        physics, sim = bridge.step(physics, np.full((NUM, JOINTS), 0.2, np.float32))
    return bridge, numpy(sim)


def edited_by_hand(model, env, ratio, offset, armature):
    """A model of its own with the same changes, constants derived by MuJoCo."""
    model = copy.copy(model)
    for b, name in enumerate(BIPED.body_names):
        body = model.body(name)
        body.mass *= ratio[env, b]
        body.inertia *= ratio[env, b]
        body.ipos += offset[env, b]
    for j, name in enumerate(BIPED.joint_names):
        model.joint(name).armature *= armature[env, j]
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


@pytest.mark.parametrize("height", [5.0, 0.6], ids=["air", "contact"])
def test_inertial_parameters_equal_a_model_edited_by_hand(height):
    """Torso: nominal centre of mass in the body's origin, which MuJoCo treats specially."""
    rng = np.random.default_rng(0)
    ratio = rng.uniform(0.6, 1.8, (NUM, BODIES)).astype(np.float32)
    offset = rng.uniform(-0.05, 0.05, (NUM, BODIES, 3)).astype(np.float32)
    armature = rng.uniform(0.5, 3.0, (NUM, JOINTS)).astype(np.float32)
    params = PhysicsParams(mass_ratio=ratio, com_offset=offset, armature_ratio=armature)
    bridge, sim = run(params, height=height)
    begin = tilted_pose(height)
    for env in range(NUM):
        model = edited_by_hand(bridge.model, env, ratio, offset, armature)
        data = mujoco.MjData(model)
        data.qpos[:3], data.qpos[3:7] = begin.root_pos[env], begin.root_quat[env]
        data.qvel[:3] = begin.root_lin_vel[env]
        mujoco.mju_rotVecQuat(
            data.qvel[3:6], begin.root_ang_vel[env].astype(float), data.qpos[3:7] * [1, -1, -1, -1]
        )
        for j, name in enumerate(BIPED.joint_names):
            data.joint(name).qpos, data.joint(name).qvel = begin.joint_pos[env, j], begin.joint_vel[env, j]
        data.ctrl[:] = 0.2
        mujoco.mj_step(model, data, 12)
        np.testing.assert_allclose(sim.root_pos[env], data.qpos[:3], atol=3e-6)
        wanted = [data.joint(name).qpos[0] for name in BIPED.joint_names]
        np.testing.assert_allclose(sim.joint_pos[env], wanted, atol=3e-6)
    _, nominal = run(None, height=height)
    assert np.abs(nominal.joint_pos - sim.joint_pos).max() > 1e-3  # so the changes did matter


def test_heavier_falls_alike_but_weighs_more():
    ratio = np.ones((2, BODIES), np.float32)
    ratio[1] = 1.5
    forces = []
    for height, steps in ((30.0, 5), (BIPED.init_pos[2], 150)):
        bridge, physics = start(2)
        physics = bridge.randomize(physics, PhysicsParams(mass_ratio=ratio), everyone(2))
        physics, _ = bridge.reset(physics, everyone(2), pose(2, root_pos=[0, 0, height]))
        for _ in range(steps):
            physics, sim = bridge.step(physics, np.zeros((2, JOINTS), np.float32))
        forces.append(np.asarray(sim.contact_force)[:, :, 2].sum(1))
        if height == 30.0:
            np.testing.assert_allclose(sim.root_pos[0], sim.root_pos[1], atol=1e-6)
    np.testing.assert_allclose(forces[0], 0.0)
    np.testing.assert_allclose(forces[1][1] / forces[1][0], 1.5, rtol=1e-3)


def test_stiffness_scale_acts_per_environment_and_joint():
    """At q = 0 and at rest the torque is kp * target: half the stiffness is half the target."""
    scale = np.ones((NUM, JOINTS), np.float32)
    scale[1], scale[2, 0] = 1.5, 0.5
    targets = np.full((NUM, JOINTS), 0.01, np.float32)
    bridge, physics = start(NUM, decimation=1)
    physics = bridge.randomize(physics, PhysicsParams(kp_scale=scale), everyone(NUM))
    physics, _ = bridge.reset(physics, everyone(NUM), pose(NUM, root_pos=[0, 0, 5.0]))
    _, scaled = bridge.step(physics, targets)
    physics, _ = bridge.reset(bridge.init(), everyone(NUM), pose(NUM, root_pos=[0, 0, 5.0]))
    _, wanted = bridge.step(physics, targets * scale)
    np.testing.assert_allclose(scaled.joint_vel, wanted.joint_vel, rtol=1e-5)
    assert np.abs(np.asarray(scaled.joint_vel)[1:3] - np.asarray(scaled.joint_vel)[0]).max() > 0.01


def test_damping_scale_acts_on_the_joint_speed():
    scale = np.ones((2, JOINTS), np.float32)
    scale[1] = 2.0
    bridge, physics = start(2, decimation=1)
    physics = bridge.randomize(physics, PhysicsParams(kd_scale=scale), everyone(2))
    spin = pose(2, root_pos=[0, 0, 5.0], joint_vel=[0, 0, 0, 0, 1e-3])
    physics, _ = bridge.reset(physics, everyone(2), spin)
    _, sim = bridge.step(physics, np.zeros((2, JOINTS), np.float32))
    lost = 1e-3 - np.asarray(sim.joint_vel)[:, 4]
    np.testing.assert_allclose(lost[1] / lost[0], 2.0, rtol=0.01)


def sliding(friction, steps=10, **settings):
    """Contact forces [steps, E, 3] on the standing robot while it slides along x."""
    num = len(friction)
    bridge, physics = start(num, **settings)
    params, targets = PhysicsParams(friction=np.asarray(friction, np.float32)), np.zeros((num, JOINTS))
    physics = bridge.randomize(physics, params, everyone(num))
    for _ in range(40):
        physics, sim = bridge.step(physics, targets)
    push, zero = np.tile([1.0, 0.0, 0.0], (num, 1)), np.zeros((num, 3))
    physics, _ = bridge.set_root_velocity(physics, everyone(num), push, zero)
    forces = []
    for _ in range(steps):
        physics, sim = bridge.step(physics, targets)
        forces.append(np.asarray(sim.contact_force).sum(1))
    assert (np.asarray(sim.root_lin_vel)[:, 0] > 0.1).all()  # still sliding
    return np.array(forces)


def test_friction_in_force_is_the_one_asked_for():
    """Tangential over normal force, while every contact slides."""
    wanted = [0.0, 0.03, 0.06, 0.12]
    forces = sliding(wanted).sum(0)
    np.testing.assert_allclose(-forces[:, 0] / forces[:, 2], wanted, atol=1e-3)


def test_feet_can_keep_their_own_friction():
    """`foot_friction` fixed: the soles' nominal 0.8, whatever is drawn."""
    kept = sliding([0.1, 0.5], steps=1, foot_friction="fixed")
    np.testing.assert_allclose(kept, sliding([0.8, 0.8], steps=1), rtol=1e-6)


def test_friction_reaches_all_geoms_but_those():
    for mode, kept in (("randomized", 0), ("fixed", 8)):
        with pytest.MonkeyPatch.context() as patch:
            batches = recorded(patch, engine, "Batch")
            bridge, physics = start(1, foot_friction=mode)
        bridge.randomize(physics, PhysicsParams(friction=np.array([0.3], np.float32)), everyone(1))
        values = batches[-1].expanded("geom_friction")[0, :, 0]
        robot = bridge.model.geom_bodyid > 0
        assert (values[robot] != np.float32(0.3)).sum() == kept
        assert values[~robot] == bridge.model.geom_friction[~robot, 0]


@pytest.mark.parametrize("name", ROBOT_PARAMS)
def test_a_mask_keeps_the_others_bit_for_bit(name):
    shape = {"com_offset": (NUM, BODIES, 3), "friction": (NUM,), "mass_ratio": (NUM, BODIES)}
    value = np.full(shape.get(name, (NUM, JOINTS)), 0.04 if name == "com_offset" else 0.6, np.float32)
    _, nominal = run(None, height=0.6, steps=12)
    _, changed = run(PhysicsParams(**{name: value}), only(NUM, 1, 2), height=0.6, steps=12)
    for before, after in zip(jax.tree.leaves(nominal), jax.tree.leaves(changed), strict=True):
        np.testing.assert_array_equal(before[[0, 3]], after[[0, 3]])
    assert np.abs(nominal.joint_pos - changed.joint_pos)[1:3].max() > 1e-5


def test_parameters_are_relative_to_the_nominal_model():
    """Written twice they are the same; ones and zeros are the robot's own model again."""
    rng = np.random.default_rng(0)
    ratio = rng.uniform(0.8, 1.2, (NUM, BODIES)).astype(np.float32)
    offset = rng.uniform(-0.05, 0.05, (NUM, BODIES, 3)).astype(np.float32)
    drawn = PhysicsParams(
        mass_ratio=ratio, com_offset=offset, kp_scale=np.full((NUM, JOINTS), 1.1, np.float32)
    )
    back = PhysicsParams(
        mass_ratio=np.ones_like(ratio),
        com_offset=np.zeros_like(offset),
        kp_scale=np.ones((NUM, JOINTS), np.float32),
    )

    def after(*writes):
        bridge, physics = start(NUM)
        for params in writes:
            physics = bridge.randomize(physics, params, everyone(NUM))
        physics, _ = bridge.reset(physics, everyone(NUM), tilted_pose(0.6))
        for _ in range(5):
            physics, sim = bridge.step(physics, np.zeros((NUM, JOINTS), np.float32))
        return numpy(sim)

    once, twice, undone, nominal = after(drawn), after(drawn, drawn), after(drawn, back), after()
    for a, b, c, d in zip(once, twice, undone, nominal, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(c, d)
    assert np.abs(once.joint_pos - nominal.joint_pos).max() > 1e-4


def test_parameters_do_not_move_the_robot():
    bridge, physics = start(NUM)
    physics, before = bridge.reset(physics, everyone(NUM), tilted_pose())
    ratio = np.full((NUM, BODIES), 1.3, np.float32)
    physics = bridge.randomize(physics, PhysicsParams(mass_ratio=ratio), everyone(NUM))
    _, after = bridge.reset(physics, only(NUM), tilted_pose())
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("params", "line"),
    [
        (PhysicsParams(mass_ratio=np.zeros((NUM, BODIES))), r"^params.mass_ratio: got 0 in .*above 0"),
        (PhysicsParams(friction=np.full(NUM, -0.1)), r"^params.friction: got -0.1 .*0 or more"),
        (PhysicsParams(com_offset=np.full((NUM, BODIES, 3), np.nan)), r"^params.com_offset: got nan in"),
        (PhysicsParams(kp_scale=np.ones((NUM, BODIES))), r"^params.kp_scale: .*\(4, 8\)"),
        (PhysicsParams(friction=np.ones(NUM, int)), r"^params.friction: .*int64.*float"),
    ],
)
def test_senseless_parameters_are_refused_and_change_nothing(params, line):
    bridge, physics = start(NUM)
    with pytest.raises(ValueError, match=line):
        bridge.randomize(physics, params, everyone(NUM))
    bridge.step(physics, np.zeros((NUM, JOINTS), np.float32))  # the token is still the newest
