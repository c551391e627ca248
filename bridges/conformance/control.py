"""Torques and PD control, in the air, against the equations of motion in plain MuJoCo."""

from __future__ import annotations

import numpy as np

from bridges.conformance.reference import Reference
from bridges.conformance.result import Result, Subject
from bridges.protocol import PhysicsParams, Pose

STEPS = 5
"""control steps that a trajectory is followed"""
FOLLOWED = ("mass_ratio", "com_offset", "armature_ratio", "kp_scale", "kd_scale")
"""parameters that show in how the joints move"""


def check_pd_response(subject: Subject) -> list[Result]:
    """Every joint follows a step of its target as M(q) a + c(q, v) = clip(kp (q* - q) - kd v) has it."""
    pose = subject.random_pose(4, moving=False)
    targets = pose.joint_pos + np.float32(0.1)
    physics, _ = subject.begin(pose)
    _, states = subject.hold(physics, targets, STEPS)
    angle = float(np.abs(states[-1].joint_pos - _reference_joints(subject, pose, targets)).max())
    moved = bool((np.abs(states[-1].joint_pos - pose.joint_pos) > 1e-4).all())
    return [
        Result(
            "PD response", f"joint angles after {STEPS} control steps, largest error", angle, 0.0, 5e-3, "rad"
        ),
        Result("PD response", "joints that moved", float(moved), 1.0, 0.0),
    ]


def check_torque(subject: Subject) -> list[Result]:
    """A target far away gives the torque limit, no more; a torque offset is added before the clip."""
    pose, e = subject.random_pose(5, moving=False), subject.num_envs
    reference, joints = Reference(subject.robot, subject.bridge.spec), subject.robot.num_joints
    signs = np.where(np.arange(joints) % 2, 1.0, -1.0).astype(np.float32)
    far = pose.joint_pos + 1e3 * signs
    physics, _ = subject.begin(pose)
    _, (state,) = subject.hold(physics, far, 1)
    data = [reference.controlled(pose, far, env, 1) for env in range(e)]
    speed = np.array([d.qvel[reference.qvel] for d in data])
    scale, free = float(np.abs(speed).max()), reference.free_joints
    limit = float(np.abs(state.joint_vel - speed)[:, free].max()) / scale
    offset = np.random.default_rng(0).uniform(-1, 1, (e, subject.bridge.spec.decimation, joints))
    offset = (offset * 0.5 * subject.robot.torque_limit).astype(np.float32)
    physics, _ = subject.begin(pose)
    _, sim = subject.bridge.step(physics, pose.joint_pos, offset)
    data = [reference.controlled(pose, pose.joint_pos, env, 1, offset=offset) for env in range(e)]
    speed = np.array([d.qvel[reference.qvel] for d in data])
    added = float(np.abs(np.asarray(sim.joint_vel) - speed).max()) / float(np.abs(speed).max())
    return [
        Result("torque", "joint speeds under the torque limit, largest relative error", limit, 0.0, 0.02),
        Result("torque", "joint speeds under torque offsets, largest relative error", added, 0.0, 0.02),
    ]


def check_randomization(subject: Subject) -> list[Result]:
    """Each parameter acts as in a model edited by hand, and leaves environments outside the mask alone."""
    rng, e, robot = np.random.default_rng(6), subject.num_envs, subject.robot
    shapes = {"mass_ratio": (e, robot.num_bodies), "com_offset": (e, robot.num_bodies, 3)}
    pose = subject.random_pose(6, moving=False)
    targets = pose.joint_pos + np.float32(0.1)
    physics, _ = subject.begin(pose)
    _, nominal = subject.hold(physics, targets, STEPS)
    expected = _reference_joints(subject, pose, targets)
    mask, results = subject.only(*range(1, e)), []
    for name in FOLLOWED:
        if name not in subject.bridge.spec.randomizes:
            continue
        shape = shapes.get(name, (e, robot.num_joints))
        low, high = (-0.05, 0.05) if name == "com_offset" else (0.6, 1.6)
        params = PhysicsParams(**{name: rng.uniform(low, high, shape).astype(np.float32)})
        physics = subject.bridge.init()
        for _ in range(2):  # parameters are relative to the nominal model: twice is once
            physics = subject.bridge.randomize(physics, params, mask)
        physics, _ = subject.bridge.reset(physics, subject.everyone, pose)
        _, states = subject.hold(physics, targets, STEPS)
        effect = states[-1].joint_pos - nominal[-1].joint_pos
        wanted = _reference_joints(subject, pose, targets, params) - expected
        error = np.abs(effect - wanted)[1:].max() / np.abs(wanted[1:]).max()
        outside = float(np.abs(effect[0]).max())
        results += [
            Result(
                "randomisation",
                f"{name}: effect on joint angles, largest relative error",
                float(error),
                0.0,
                0.1,
            ),
            Result(
                "randomisation", f"{name}: effect outside the mask", outside, 0.0, subject.slack(1e-4), "rad"
            ),
        ]
    return results


def _reference_joints(
    subject: Subject, pose: Pose, targets: np.ndarray, params: PhysicsParams | None = None
) -> np.ndarray:
    """[E, J] rad, where the joints should be after `STEPS`."""
    reference = Reference(subject.robot, subject.bridge.spec)
    data = [reference.controlled(pose, targets, env, STEPS, params=params) for env in range(subject.num_envs)]
    return np.array([d.qpos[reference.qpos] for d in data])


CHECKS = (check_pd_response, check_torque, check_randomization)
