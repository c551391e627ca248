"""Layout, units and frames: what is written comes back, and means what the protocol says."""

from __future__ import annotations

import math

import mujoco
import numpy as np

from bridges import specs
from bridges.conformance.reference import Reference
from bridges.conformance.result import GRAVITY, Result, Subject, numpy
from bridges.protocol import Pose


def check_layout(subject: Subject) -> list[Result]:
    """Names, shapes, types; distinct numbers written into every environment are read back."""
    spec, robot = subject.bridge.spec, subject.robot
    same = spec.joint_names == robot.joint_names and spec.body_names == robot.body_names
    e, j, b = subject.num_envs, robot.num_joints, robot.num_bodies
    shapes = specs.state_shapes(e, j, b) | (specs.object_shapes(e) if spec.has_object else {})
    pose = subject.random_pose(1)
    _, sim = subject.begin(pose)
    present = {name: x for name, x in sim._asdict().items() if x is not None}
    wrong = [n for n, x in present.items() if x.shape != shapes.get(n) or x.dtype != np.float32]
    wrong += [n for n in shapes if n not in present]
    state = numpy(sim)
    results = [
        Result("layout", "joints and bodies in the robot's order", float(same), 1.0, 0.0),
        Result("layout", f"arrays of another shape or type {wrong or ''}".strip(), len(wrong), 0, 0),
    ]
    for name, wanted in pose._asdict().items():
        if wanted is None:
            continue
        gap = float(np.abs(getattr(state, name) - wanted).max())
        results.append(Result("layout", f"{name} read back, largest error", gap, 0.0, 1e-4))
    return results


def check_kinematics(subject: Subject) -> list[Result]:
    """Joint order, body order, quaternion order and sign: poses of all bodies against MuJoCo's own."""
    reference, pose = Reference(subject.robot, subject.bridge.spec), subject.random_pose(2)
    state = numpy(subject.begin(pose)[1])
    position = angle = velocity = 0.0
    for env in range(subject.num_envs):
        data = reference.placed(pose, env)
        position = max(position, float(np.abs(state.body_pos[env] - data.xpos[reference.bodies]).max()))
        dots = np.abs((state.body_quat[env] * data.xquat[reference.bodies]).sum(-1))
        angle = max(angle, float(2 * np.arccos(np.clip(dots, 0, 1)).max()))
        for b, body in enumerate(reference.bodies):
            found = np.zeros(6)  # angular, then linear velocity of the link's origin, axes of the world
            mujoco.mj_objectVelocity(reference.model, data, mujoco.mjtObj.mjOBJ_XBODY, body, found, 0)
            ours = np.concatenate([state.body_ang_vel[env, b], state.body_lin_vel[env, b]])
            velocity = max(velocity, float(np.abs(ours - found).max()))
    return [
        Result("kinematics", "body positions, largest error", position, 0.0, 1e-4, "m"),
        Result("kinematics", "body attitudes, largest error", angle, 0.0, 2e-3, "rad"),
        Result(
            "kinematics", "velocities of the links' origins, largest error", velocity, 0.0, 1e-3, "m/s, rad/s"
        ),
    ]


def check_quaternion_order(subject: Subject) -> list[Result]:
    """A root turned left by a right angle, written w x y z, has what was ahead of it on its left."""
    half = math.sqrt(0.5)
    straight = numpy(subject.begin(subject.pose(root_quat=(1.0, 0.0, 0.0, 0.0)))[1])
    turned = numpy(subject.begin(subject.pose(root_quat=(half, 0.0, 0.0, half)))[1])
    before = straight.body_pos[0] - straight.root_pos[0]
    after = turned.body_pos[0] - turned.root_pos[0]
    wanted = np.stack([-before[:, 1], before[:, 0], before[:, 2]], -1)
    return [
        Result(
            "quaternion order",
            "bodies after a left turn",
            float(np.abs(after - wanted).max()),
            0.0,
            1e-4,
            "m",
        )
    ]


def check_free_fall(subject: Subject) -> list[Result]:
    """Z = z0 + v0 t - g t^2 / 2, in the semi-implicit form that the physics step implies."""
    spec, steps, speed = subject.bridge.spec, 10, np.array([0.3, -0.2, 1.0])
    pose = subject.pose(root_lin_vel=speed)
    physics, _ = subject.begin(pose)
    _, states = subject.hold(physics, pose.joint_pos, steps)
    n, dt = steps * spec.decimation, spec.physics_dt
    masses = Reference(subject.robot, spec)
    begin = masses.placed(pose, 0).subtree_com[masses.bodies[0]]
    ended = pose._replace(**{name: getattr(states[-1], name) for name in Pose._fields})
    moved = masses.placed(ended, 0).subtree_com[masses.bodies[0]] - begin
    wanted = speed * n * dt - [0, 0, GRAVITY * dt**2 * n * (n + 1) / 2]
    return [
        Result(
            "free fall", f"centre of mass along {axis} after {n * dt:.2f} s", float(m), float(w), 2e-3, "m"
        )
        for axis, m, w in zip("xyz", moved, wanted, strict=True)
    ]


def check_spin(subject: Subject) -> list[Result]:
    """A root that turns at w about an axis of the world is turned by w t after a control step."""
    results, rate, time = [], 1.0, subject.bridge.spec.control_dt
    begin = subject.random_pose(3, moving=False)._replace(joint_pos=subject.pose().joint_pos)
    for axis, name in enumerate("xyz"):
        spin = np.zeros((subject.num_envs, 3), np.float32)
        spin[:, axis] = rate
        physics, before = subject.begin(begin)
        before = numpy(before)
        physics, pushed = subject.bridge.set_root_velocity(
            physics, subject.everyone, np.zeros_like(spin), spin
        )
        read = float(np.abs(numpy(pushed).root_ang_vel - spin).max())
        _, (after,) = subject.hold(physics, begin.joint_pos, 1)
        turned = np.array([_turn(before.root_quat[e], after.root_quat[e]) for e in range(subject.num_envs)])
        off = float(np.abs(turned / time - spin).max())
        results += [
            Result("spin", f"rate about {name} read back, largest error", read, 0.0, 1e-4, "rad/s"),
            Result(
                "spin",
                f"rate about {name} seen in the attitude, largest error",
                off,
                0.0,
                0.1 * rate,
                "rad/s",
            ),
        ]
    return results


def _turn(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Rotation vector [3] in the world from one attitude to another."""
    back, change, vector = np.asarray(before, float) * [1, -1, -1, -1], np.zeros(4), np.zeros(3)
    mujoco.mju_mulQuat(change, np.asarray(after, float), back)
    mujoco.mju_quat2Vel(vector, change, 1.0)
    return vector


CHECKS = (check_layout, check_kinematics, check_quaternion_order, check_free_fall, check_spin)
