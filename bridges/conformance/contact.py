"""Contact forces: weight, direction, friction."""

from __future__ import annotations

import numpy as np

from bridges.conformance.result import GRAVITY, Result, Subject
from bridges.protocol import PhysicsParams

SETTLING = 0.5
"""s until a robot that is put on its feet has stopped sinking into them"""
FRICTIONS = (0.05, 0.1, 0.15, 0.2)


def check_weight(subject: Subject) -> list[Result]:
    """The ground carries a standing robot, by its feet, upwards; in the air nothing touches it."""
    robot, spec = subject.robot, subject.bridge.spec
    pose = subject.pose(height=robot.init_pos[2])
    physics, _ = subject.begin(pose)
    physics, states = subject.hold(physics, pose.joint_pos, round(SETTLING / spec.control_dt))
    recent = np.stack([s.contact_force[0] for s in states[-5:]]).mean(0)
    weight = float(robot.body_mass.sum()) * GRAVITY
    feet = [robot.body_names.index(name) for name in robot.feet_bodies]
    _, sim = subject.begin(subject.pose())
    _, (flying,) = subject.hold(subject.begin(subject.pose())[0], pose.joint_pos, 1)
    return [
        Result(
            "weight",
            "upward force on the standing robot",
            float(recent[:, 2].sum()),
            weight,
            0.05 * weight,
            "N",
        ),
        Result(
            "weight", "upward force on its feet", float(recent[feet, 2].sum()), weight, 0.05 * weight, "N"
        ),
        Result("weight", "force on a flying robot", float(np.abs(flying.contact_force).max()), 0.0, 0.0, "N"),
        Result(
            "weight", "force after a reset", float(np.abs(np.asarray(sim.contact_force)).max()), 0.0, 0.0, "N"
        ),
    ]


def check_friction(subject: Subject) -> list[Result]:
    """Where a pushed robot slides, tangential over normal force is the coefficient that was set last, and where.

    Where it does not, the ratio is less: of the control steps the one with the highest counts, in which it carries at
    least half of its weight. A robot may stop sliding soon, as its feet stay behind while it begins to tip over.
    """
    if "friction" not in subject.bridge.spec.randomizes:
        return []
    bridge, spec, e = subject.bridge, subject.bridge.spec, subject.num_envs
    friction = np.resize(np.array(FRICTIONS, np.float32), e)
    pose = subject.pose(height=subject.robot.init_pos[2])
    physics = bridge.randomize(bridge.init(), PhysicsParams(friction=friction), subject.everyone)
    again = friction[::-1].copy()
    physics = bridge.randomize(physics, PhysicsParams(friction=again), subject.only(0))
    friction[0] = again[0]
    physics, _ = bridge.reset(physics, subject.everyone, pose)
    physics, _ = subject.hold(physics, pose.joint_pos, round(SETTLING / spec.control_dt))
    push = np.tile(np.array([0.0, 1.0, 0.0], np.float32), (e, 1))
    physics, _ = bridge.set_root_velocity(physics, subject.everyone, push, np.zeros_like(push))
    _, states = subject.hold(physics, pose.joint_pos, 4)
    force = np.stack([s.contact_force for s in states]).sum(2)
    across, down = np.linalg.norm(force[..., :2], axis=-1), force[..., 2]
    loaded = down > 0.5 * float(subject.robot.body_mass.sum()) * GRAVITY
    ratio = np.where(loaded, across, 0.0) / np.where(loaded, down, 1.0)
    return [
        Result(
            "friction",
            f"coefficient in force in environment {i}",
            float(ratio[:, i].max()),
            float(friction[i]),
            0.01,
        )
        for i in range(min(e, len(FRICTIONS)))
    ]


CHECKS = (check_weight, check_friction)
