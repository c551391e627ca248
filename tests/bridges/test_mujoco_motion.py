"""Physics through the bridge against closed forms and against plain MuJoCo driven by hand."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from bridges import specs
from bridges.protocol import Pose, SimState
from tests.support.biped import BIPED, GRAVITY, everyone, numpy, pose, random_pose, start, with_gains

SIDES = ("left_foot", "right_foot")
WEIGHT = float(BIPED.body_mass.sum()) * GRAVITY


def rotate(quat: np.ndarray, vector: np.ndarray) -> np.ndarray:
    out = np.zeros(3)
    mujoco.mju_rotVecQuat(out, np.asarray(vector, float), np.asarray(quat, float))
    return out


def hold(bridge, physics, targets, steps):
    """Steps with constant targets; every state on the way."""
    states = []
    for _ in range(steps):
        physics, sim = bridge.step(physics, targets)
        states.append(numpy(sim))
    return physics, states


def by_hand(model: mujoco.MjModel, start: Pose, env: int) -> mujoco.MjData:
    """An MjData at row `env` of a pose, written without the bridge."""
    data = mujoco.MjData(model)
    data.qpos[:3], data.qpos[3:7] = start.root_pos[env], start.root_quat[env]
    data.qpos[3:7] /= np.linalg.norm(data.qpos[3:7])
    conjugate = data.qpos[3:7] * [1, -1, -1, -1]
    data.qvel[:3], data.qvel[3:6] = start.root_lin_vel[env], rotate(conjugate, start.root_ang_vel[env])
    for j, name in enumerate(BIPED.joint_names):
        data.joint(name).qpos, data.joint(name).qvel = start.joint_pos[env, j], start.joint_vel[env, j]
    return data


def test_names_and_rates():
    bridge, _ = start(3, fps=200, decimation=4)
    assert bridge.spec.joint_names == BIPED.joint_names
    assert bridge.spec.body_names == BIPED.body_names
    assert (bridge.spec.num_envs, bridge.spec.physics_dt, bridge.spec.control_dt) == (3, 0.005, 0.02)
    assert not bridge.spec.traceable


def test_reset_returns_the_pose_that_was_asked_for():
    bridge, physics = start(4)
    wanted = random_pose(4)
    _, sim = bridge.reset(physics, everyone(4), wanted)
    for name in specs.pose_shapes(4, 5):
        np.testing.assert_allclose(getattr(sim, name), getattr(wanted, name), atol=2e-6, err_msg=name)


def test_free_fall_is_the_closed_form():
    # Semi-implicit Euler: v_n = v_0 - n g dt, z_n = z_0 + n v_0 dt - g dt^2 n (n + 1) / 2.
    bridge, physics = start(1, decimation=4)
    drop = pose(1, root_pos=[0.5, -1.0, 30.0], root_lin_vel=[0.3, 0.0, 2.0])
    physics, _ = bridge.reset(physics, everyone(1), drop)
    _, states = hold(bridge, physics, drop.joint_pos, 10)
    dt = 0.005
    for k, sim in enumerate(states, 1):
        n = 4 * k
        np.testing.assert_allclose(sim.root_lin_vel[0], [0.3, 0.0, 2.0 - GRAVITY * n * dt], atol=1e-5)
        z = 30.0 + n * 2.0 * dt - GRAVITY * dt**2 * n * (n + 1) / 2
        np.testing.assert_allclose(sim.root_pos[0], [0.5 + 0.3 * n * dt, -1.0, z], atol=1e-5)
        np.testing.assert_allclose(sim.body_lin_vel[0], np.tile(sim.root_lin_vel[0], (8, 1)), atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_spin_is_about_the_worlds_axis(axis):
    """R(t) = exp(w t) R(0) for a world angular velocity w, from any attitude."""
    rate = np.zeros(3)
    rate[axis] = 2.0
    bridge, physics = start(4, fps=10_000, decimation=1)
    begin = random_pose(4, seed=axis)._replace(joint_vel=np.zeros((4, 5), np.float32))
    physics, before = bridge.reset(physics, everyone(4), begin)
    lin = np.zeros((4, 3), np.float32)
    physics, pushed = bridge.set_root_velocity(
        physics, everyone(4), lin, np.tile(rate, (4, 1)).astype(np.float32)
    )
    np.testing.assert_allclose(pushed.root_ang_vel, np.tile(rate, (4, 1)), atol=1e-6)
    np.testing.assert_allclose(
        pushed.body_ang_vel, np.tile(rate, (4, 8, 1)), atol=1e-6
    )  # joints at rest: one rigid body
    steps = 50
    _, states = hold(bridge, physics, begin.joint_pos, steps)
    turn = np.zeros(4)
    mujoco.mju_axisAngle2Quat(turn, rate / 2.0, 2.0 * steps * 1e-4)
    for env in range(4):
        wanted = np.zeros(4)
        mujoco.mju_mulQuat(wanted, turn, np.asarray(before.root_quat[env], float))
        assert abs(np.dot(wanted, states[-1].root_quat[env])) > 1 - 2e-6


def test_body_velocities_are_the_derivatives_of_body_poses():
    """Central differences of MuJoCo's own kinematics along qvel, at link origins and in the world."""
    bridge, physics = start(5)
    begin = random_pose(5, speed=3.0)
    _, sim = bridge.reset(physics, everyone(5), begin)
    model, h = bridge.model, 1e-6
    for env in range(5):
        data = by_hand(model, begin, env)
        poses = []
        for sign in (-1, 1):
            ahead = mujoco.MjData(model)
            ahead.qpos[:] = data.qpos
            mujoco.mj_integratePos(model, ahead.qpos, data.qvel, sign * h)
            mujoco.mj_kinematics(model, ahead)
            poses.append((ahead.xpos.copy(), ahead.xquat.copy()))
        for b, name in enumerate(BIPED.body_names):
            body = model.body(name).id
            lin = (poses[1][0][body] - poses[0][0][body]) / (2 * h)
            local = np.zeros(3)  # rotation from one to the other, in the axes of the first
            mujoco.mju_subQuat(local, poses[1][1][body], poses[0][1][body])
            ang = rotate(poses[0][1][body], local / (2 * h))
            np.testing.assert_allclose(sim.body_lin_vel[env, b], lin, atol=2e-5, err_msg=name)
            np.testing.assert_allclose(sim.body_ang_vel[env, b], ang, atol=2e-5, err_msg=name)


def controlled_by_hand(bridge, begin, targets, offset, kp, kd, steps=1) -> list[mujoco.MjData]:
    """Plain MuJoCo, actuators off, the PD law of the protocol applied as generalised force."""
    model, decimation, out = bridge.model, bridge.spec.decimation, []
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
    qpos = np.array([model.joint(name).qposadr[0] for name in BIPED.joint_names])
    dofs = np.array([model.joint(name).dofadr[0] for name in BIPED.joint_names])
    for env in range(bridge.spec.num_envs):
        data = by_hand(model, begin, env)
        for k in range(steps * decimation):
            torque = kp[env] * (targets[env] - data.qpos[qpos]) - kd[env] * data.qvel[dofs]
            torque = torque + offset[env, k % decimation]
            data.qfrc_applied[dofs] = np.clip(torque, -BIPED.torque_limit, BIPED.torque_limit)
            mujoco.mj_step(model, data)
        out.append(data)
    model.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
    return out


@pytest.mark.parametrize("height", [5.0, 0.6], ids=["air", "contact"])
@pytest.mark.parametrize("noisy", [False, True], ids=["plain", "offset"])
def test_torque_law(height, noisy):
    """clip(kp (target - q) - kd qd + offset), anew at every sub-step; some joints saturate."""
    bridge, physics = start(6)
    rng = np.random.default_rng(1)
    begin = random_pose(6, height=height)
    targets = rng.uniform(-1.0, 1.0, (6, 5)).astype(np.float32)
    offset = 30.0 * rng.standard_normal((6, 4, 5)).astype(np.float32) * noisy
    physics, _ = bridge.reset(physics, everyone(6), begin)
    for _ in range(3):
        physics, sim = bridge.step(physics, targets, offset if noisy else None)
    kp, kd = np.tile(BIPED.kp, (6, 1)), np.tile(BIPED.kd, (6, 1))
    saturated = np.abs(kp * (targets - begin.joint_pos) - kd * begin.joint_vel) > BIPED.torque_limit
    assert saturated.any() and not saturated.all()
    for env, data in enumerate(controlled_by_hand(bridge, begin, targets, offset, kp, kd, steps=3)):
        wanted = [data.joint(name).qpos[0] for name in BIPED.joint_names]
        np.testing.assert_allclose(sim.joint_pos[env], wanted, atol=2e-6)
        np.testing.assert_allclose(sim.root_pos[env], data.qpos[:3], atol=2e-6)
        wanted = [data.joint(name).qvel[0] for name in BIPED.joint_names]
        np.testing.assert_allclose(sim.joint_vel[env], wanted, rtol=1e-4, atol=1e-4)


def test_zero_offset_is_no_offset():
    """Two different calls of the engine, the same numbers; contact forces included."""
    states = []
    for offset in (None, np.zeros((3, 4, 5), np.float32)):
        bridge, physics = start(3)
        push = np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0]], np.float32)
        physics, _ = bridge.reset(physics, everyone(3), pose(3)._replace(root_lin_vel=push))
        for _ in range(5):
            physics, sim = bridge.step(physics, np.zeros((3, 5), np.float32), offset)
        states.append(numpy(sim))
    forces = states[0].contact_force.sum(1)
    assert len(set(forces[:, 2])) == 3  # every environment has its own
    for name, a, b in zip(SimState._fields, *states, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_an_offset_needs_stiffness():
    bridge, physics = start(1, robot=with_gains(BIPED, kp=[200, 200, 150, 150, 0]))
    with pytest.raises(ValueError, match=r"^torque_offset: .*'neck'.*kp"):
        bridge.step(physics, np.zeros((1, 5), np.float32), np.zeros((1, 4, 5), np.float32))


def test_standing_robot_is_carried_by_its_feet():
    bridge, physics = start(2)
    _, states = hold(bridge, physics, np.zeros((2, 5), np.float32), 150)
    force = states[-1].contact_force
    feet = [BIPED.body_names.index(name) for name in SIDES]
    np.testing.assert_allclose(force[:, feet, 2].sum(1), WEIGHT, rtol=1e-3)  # upward on the robot
    assert (force[:, feet, 2] > 0.4 * WEIGHT).all()
    assert (np.abs(np.delete(force, feet, axis=1)) == 0.0).all()


def test_contact_forces_are_all_that_changes_momentum():
    """Sum of m (v' - v) = (sum of contact forces - m g) dt over a physics step, as the robot hits."""
    num, dt = 3, 1 / 4000
    bridge, physics = start(num, fps=4000, decimation=1)
    physics, sim = bridge.reset(physics, everyone(num), random_pose(num, height=0.3, speed=0.3))
    bodies = [bridge.model.body(name) for name in BIPED.body_names]

    def momentum(sim):
        total = np.zeros((num, 3))
        for b, body in enumerate(bodies):
            arm = np.array([rotate(quat, body.ipos) for quat in sim.body_quat[:, b]])
            total += body.mass * (sim.body_lin_vel[:, b] + np.cross(sim.body_ang_vel[:, b], arm))
        return total

    hit, gravity = 0.0, BIPED.body_mass.sum() * np.array([0, 0, GRAVITY])
    for _ in range(60):
        before = momentum(numpy(sim))
        physics, sim = bridge.step(physics, np.zeros((num, 5), np.float32))
        force = np.asarray(sim.contact_force).sum(1)
        np.testing.assert_allclose(
            momentum(numpy(sim)) - before, (force - gravity) * dt, rtol=0.01, atol=4e-3
        )
        hit = max(hit, np.abs(force).max())
    assert hit * dt > 0.2  # N s: far above the tolerance


def test_self_collisions_push_the_legs_apart():
    crossed = {"root_pos": [0, 0, 5.0]}
    forces = []
    for collide in (False, True):
        model_pose = pose(1, **crossed)
        bridge, physics = start(1, self_collisions=collide)
        bridge.model.body("right_leg").pos[:] = 0.0, 0.03, -0.15  # the shins now overlap
        physics = bridge.init()
        physics, _ = bridge.reset(physics, everyone(1), model_pose)
        _, sim = bridge.step(physics, model_pose.joint_pos)
        forces.append(np.asarray(sim.contact_force)[0])
    legs = [BIPED.body_names.index(name) for name in ("left_leg", "right_leg")]
    assert np.abs(forces[0]).max() == 0.0
    assert forces[1][legs[0], 1] > 1.0  # the left leg to the left
    np.testing.assert_allclose(forces[1].sum(0), 0.0, atol=1e-3)  # action and reaction
