"""The box beside the robot, where there is one: its place, its fall, its friction, and that it is saved."""

from __future__ import annotations

import jax
import numpy as np

from bridges.conformance.result import GRAVITY, Result, Subject, numpy
from bridges.protocol import OBJECT_STATE, PhysicsParams, Pose, SimState

FAR = 3.0
"""m from the robot, so that the two do not touch"""


def check_object_state(subject: Subject) -> list[Result]:
    """What a pose says of the object is read back; a simulator without one says nothing."""
    if not subject.bridge.spec.has_object:
        _, sim = subject.begin(subject.pose())
        found = sum(getattr(sim, name) is not None for name in OBJECT_STATE)
        return [Result("object state", "fields of an object, without one", found, 0, 0)]
    pose = _placed(subject, 11)
    physics, sim = subject.begin(pose)
    results = [
        Result("object state", f"{name} read back, largest error", _apart(sim, pose, name), 0.0, 1e-4)
        for name in OBJECT_STATE
    ]
    other, mask = _placed(subject, 12), subject.only(1)
    _, again = subject.bridge.reset(physics, mask, other)
    before, after = numpy(sim), numpy(again)
    moved = _largest(_field(after, "object_pos")[1] - _field(other, "object_pos")[1])
    results += [
        Result("object state", "object of the environment that was reset", moved, 0.0, 1e-4, "m"),
        Result("object state", "change in the others", subject.gap(after, before, ~mask), 0.0, 0.0),
    ]
    _, rest = subject.begin(subject.pose())
    box = subject.robot.object
    assert box is not None
    gap = float(np.abs(_field(rest, "object_pos") - np.asarray(box.init_pos, np.float32)).max())
    return [
        *results,
        Result("object state", "a pose without an object: its initial place", gap, 0.0, 1e-5, "m"),
    ]


def check_object_falls(subject: Subject) -> list[Result]:
    """Z = z0 + v0 t - g t^2 / 2 in the semi-implicit form, while the robot falls beside it."""
    if not subject.bridge.spec.has_object:
        return check_object_state(subject)
    steps, pose = 8, _placed(subject, 13)
    physics, _ = subject.begin(pose)
    _, states = subject.hold(physics, pose.joint_pos, steps)
    n, dt = steps * subject.bridge.spec.decimation, subject.bridge.spec.physics_dt
    moved = _field(states[-1], "object_pos") - _field(pose, "object_pos")
    wanted = _field(pose, "object_lin_vel") * n * dt - np.array([0, 0, GRAVITY * dt**2 * n * (n + 1) / 2])
    norm = np.abs(np.linalg.norm(_field(states[-1], "object_quat"), axis=-1) - 1.0).max()
    return [
        Result(
            "object falls",
            f"place after {n * dt:.2f} s, largest error",
            _largest(moved - wanted),
            0.0,
            2e-3,
            "m",
        ),
        Result("object falls", "norm of its quaternion, largest error", float(norm), 0.0, 1e-5),
    ]


def check_object_slides(subject: Subject) -> list[Result]:
    """On the ground it stops at the rate that its friction says, whatever its mass; then it rests on its face."""
    if not subject.bridge.spec.has_object:
        return check_object_state(subject)
    box, e, speed = subject.robot.object, subject.num_envs, 1.0
    assert box is not None
    friction = np.linspace(0.2, 0.6, e, dtype=np.float32)
    params = PhysicsParams(object_friction=friction, object_mass_ratio=np.linspace(1, 8, e, dtype=np.float32))
    physics = subject.bridge.randomize(subject.bridge.init(), params, subject.everyone)
    half = np.float32(box.size[2] / 2)
    pose = _with_object(subject.pose(height=FAR), pos=(FAR, 0.0, half), lin_vel=(speed, 0.0, 0.0))
    physics, _ = subject.bridge.reset(physics, subject.everyone, pose)
    steps = 5
    _, states = subject.hold(physics, pose.joint_pos, steps)
    time = steps * subject.bridge.spec.control_dt
    wanted = np.maximum(speed - friction * GRAVITY * time, 0.0)
    apart = _largest(_field(states[-1], "object_lin_vel")[:, 0] - wanted)
    sunk = _largest(_field(states[-1], "object_pos")[:, 2] - half)
    return [
        Result("object slides", f"speed after {time:.2f} s, largest error", apart, 0.0, 0.08, "m/s"),
        Result("object slides", "height, largest error", sunk, 0.0, 0.01, "m"),
    ]


def check_object_saved(subject: Subject) -> list[Result]:
    """A saved state holds the object, and its parameters."""
    if not subject.bridge.spec.has_object:
        return check_object_state(subject)
    bridge, e = subject.bridge, subject.num_envs
    inertia = np.random.default_rng(14).uniform(0.7, 1.3, (e, 3)).astype(np.float32)
    params = PhysicsParams(object_mass_ratio=np.full(e, 3.0, np.float32), object_inertia_ratio=inertia)
    physics = bridge.randomize(bridge.init(), params, subject.everyone)
    pose = _placed(subject, 15)
    physics, _ = bridge.reset(physics, subject.everyone, pose)
    physics, _ = subject.hold(physics, pose.joint_pos, 3)
    saved = {name: np.array(value) for name, value in bridge.get_state(physics).items()}
    _, wanted = subject.hold(physics, pose.joint_pos, 3)
    physics = bridge.set_state(bridge.init(), saved)
    _, found = subject.hold(physics, pose.joint_pos, 3)
    gap = subject.gap(found[-1], wanted[-1])
    return [Result("object saved", "difference of what continues", gap, 0.0, subject.slack(0.05))]


def _placed(subject: Subject, seed: int) -> Pose:
    """Robots and objects in the air, well apart, with any attitude and velocity."""
    rng, e = np.random.default_rng(seed), subject.num_envs
    quat = rng.standard_normal((e, 4))
    return _with_object(
        subject.random_pose(seed),
        pos=rng.uniform(-0.5, 0.5, (e, 3)) + np.array([FAR, 0.0, FAR]),
        quat=quat / np.linalg.norm(quat, axis=1, keepdims=True),
        lin_vel=rng.standard_normal((e, 3)),
        ang_vel=rng.standard_normal((e, 3)),
    )


def _with_object(pose: Pose, **fields: object) -> Pose:
    """`pose` and an object, upright and at rest but for `fields`."""
    e = len(pose.root_pos)
    rows = {
        "pos": (0.0,) * 3,
        "quat": (1.0, 0.0, 0.0, 0.0),
        "lin_vel": (0.0,) * 3,
        "ang_vel": (0.0,) * 3,
    } | fields
    arrays = {f"object_{name}": np.asarray(value, np.float32) for name, value in rows.items()}
    return pose._replace(
        **{n: np.ascontiguousarray(np.broadcast_to(x, (e, x.shape[-1]))) for n, x in arrays.items()}
    )


def _apart(sim: SimState, pose: Pose, name: str) -> float:
    return _largest(_field(sim, name) - _field(pose, name))


def _field(state: SimState | Pose, name: str) -> np.ndarray:
    """A copy, finished before the simulator's next call."""
    return np.array(jax.device_get(getattr(state, name)))


def _largest(x: np.ndarray) -> float:
    return float(np.abs(x).max())


CHECKS = (check_object_state, check_object_falls, check_object_slides, check_object_saved)
