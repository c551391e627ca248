"""The calls as values: masks, repetition, ownership of arrays, saved states, divergence."""

from __future__ import annotations

import jax
import numpy as np

from bridges import exchange, specs
from bridges.conformance.result import Result, Subject, numpy
from bridges.protocol import Physics, PhysicsParams, SimState

STEPS = 4
SLACK = 0.05
"""m, rad, m/s, rad/s, and shares of the weight that two equal runs with contacts may be apart on a simulator that
rounds anew every time"""


def check_masked_reset(subject: Subject) -> list[Result]:
    """Others continue as if there had been no reset; what was reset starts as in a new bridge."""
    again = subject.random_pose(8)
    physics, targets, before = _underway(subject)
    physics, reset = subject.bridge.reset(physics, subject.only(1), again)
    reset = numpy(reset)
    _, after = subject.hold(physics, targets, STEPS)
    physics, targets, _ = _underway(subject)
    _, undisturbed = subject.hold(physics, targets, STEPS)
    fresh, _ = subject.begin(again)
    _, new = subject.hold(fresh, targets, STEPS)
    others = ~subject.only(1)
    moved = float(np.abs(reset.root_pos[1] - again.root_pos[1]).max())
    return [
        Result("masked reset", "change in the others at once", subject.gap(reset, before, others), 0.0, 0.0),
        Result(
            "masked reset",
            "change in the others later",
            subject.gap(after[-1], undisturbed[-1], others),
            0.0,
            subject.slack(SLACK),
        ),
        Result("masked reset", "root of the environment that was reset", moved, 0.0, 1e-4, "m"),
        Result(
            "masked reset",
            "difference from a new environment",
            subject.gap(after[-1], new[-1], subject.only(1)),
            0.0,
            max(1e-5, subject.slack(SLACK)),
        ),
    ]


def check_push(subject: Subject) -> list[Result]:
    """Replaces the root's velocity where the mask says, moves nothing."""
    physics, _, before = _underway(subject)
    rng, e = np.random.default_rng(9), subject.num_envs
    lin, ang = rng.standard_normal((2, e, 3)).astype(np.float32)
    mask = subject.only(0, e - 1)
    _, sim = subject.bridge.set_root_velocity(physics, mask, lin, ang)
    state = numpy(sim)
    gap = max(np.abs(state.root_lin_vel - lin)[mask].max(), np.abs(state.root_ang_vel - ang)[mask].max())
    still = SimState(
        *(x if "vel" not in n else y for n, x, y in zip(SimState._fields, state, before, strict=True))
    )
    return [
        Result("push", "root velocity, largest error", float(gap), 0.0, 1e-4, "m/s, rad/s"),
        Result("push", "change in the others", subject.gap(state, before, ~mask), 0.0, 0.0),
        Result("push", "change of positions and forces", subject.gap(still, before), 0.0, 1e-6),
    ]


def check_determinism(subject: Subject) -> list[Result]:
    """The same calls give the same bits, or nearly (`BridgeSpec.repeatable`)."""
    runs = []
    for _ in range(2):
        physics, targets, _ = _underway(subject)
        runs.append(subject.hold(physics, targets, STEPS)[1][-1])
    return [
        Result("determinism", "difference of two equal runs", subject.gap(*runs), 0.0, subject.slack(SLACK))
    ]


def check_ownership(subject: Subject) -> list[Result]:
    """Kept copies of what is handed out stay; what is handed in may be overwritten at once."""
    physics, targets, _ = _underway(subject)
    wanted = subject.hold(physics, targets, 2)[1][-1]
    physics, targets, _ = _underway(subject)
    physics, sim = subject.bridge.step(physics, targets)
    kept = jax.tree.map(exchange.keep, sim)
    before = numpy(kept)
    lent = np.array(targets)
    physics, sim = subject.bridge.step(physics, lent)
    lent[:] = np.nan
    state = numpy(sim)
    again = subject.random_pose(8)
    lent_pose = jax.tree.map(np.array, again)
    mask = subject.everyone
    _, reset = subject.bridge.reset(physics, mask, lent_pose)
    mask[:] = False
    for array in jax.tree.leaves(lent_pose):
        array[:] = np.nan
    reset = numpy(reset)
    return [
        Result("ownership", "change of a kept state", subject.gap(numpy(kept), before), 0.0, 0.0),
        Result(
            "ownership",
            "effect of overwriting targets",
            subject.gap(state, wanted),
            0.0,
            subject.slack(SLACK),
        ),
        Result(
            "ownership",
            "effect of overwriting a pose",
            subject.gap(reset, numpy(subject.begin(again)[1])),
            0.0,
            0.0,
        ),
    ]


def check_saved_state(subject: Subject) -> list[Result]:
    """A state that was saved continues bit for bit, parameters included, whatever happened in between."""
    physics, targets, _ = _underway(subject)
    physics = subject.bridge.randomize(physics, _parameters(subject), subject.everyone)
    physics, _ = subject.hold(physics, targets, 1)
    saved = {name: np.array(x) for name, x in subject.bridge.get_state(physics).items()}
    wanted = subject.hold(physics, targets, STEPS)[1][-1]
    physics, _ = subject.begin(subject.random_pose(8))
    physics, _ = subject.hold(physics, targets, 2)
    physics = subject.bridge.set_state(physics, saved)
    return [
        Result(
            "saved state",
            "difference after a restart",
            subject.gap(subject.hold(physics, targets, STEPS)[1][-1], wanted),
            0.0,
            subject.slack(SLACK),
        )
    ]


def check_divergence(subject: Subject) -> list[Result]:
    """An environment that blows up is NaN, alone, and well again after its reset."""
    bridge, e = subject.bridge, subject.num_envs
    physics, targets, _ = _underway(subject)
    wanted = subject.hold(physics, targets, 2)[1][-1]
    physics, targets, _ = _underway(subject)
    spin = np.zeros((e, 3), np.float32)
    spin[1] = 1e30
    physics, _ = bridge.set_root_velocity(physics, subject.only(1), np.zeros_like(spin), spin)
    physics, states = subject.hold(physics, targets, 2)
    lost = states[-1].root_pos[1]
    again = subject.random_pose(8)
    physics, _ = bridge.reset(physics, subject.only(1), again)
    _, after = subject.hold(physics, targets, STEPS)
    fresh, _ = subject.begin(again)
    _, new = subject.hold(fresh, targets, STEPS)
    return [
        Result("divergence", "NaN in the environment that blew up", float(np.isnan(lost).sum()), 3, 0),
        Result(
            "divergence",
            "change in the others",
            subject.gap(states[-1], wanted, ~subject.only(1)),
            0.0,
            subject.slack(SLACK),
        ),
        Result(
            "divergence",
            "difference from a new environment",
            subject.gap(after[-1], new[-1], subject.only(1)),
            0.0,
            max(1e-5, subject.slack(SLACK)),
        ),
    ]


def _underway(subject: Subject) -> tuple[Physics, np.ndarray, SimState]:
    """The robot on the ground and in motion; targets to continue with, and the state now."""
    lift = subject.robot.init_pos[2] + np.linspace(0.0, 0.05, subject.num_envs)
    root = np.stack([0.0 * lift, 0.0 * lift, lift], -1)
    pose = subject.pose(root_pos=root, root_lin_vel=(0.3, 0.1, -0.2))
    targets = np.asarray(pose.joint_pos + np.float32(0.05))
    physics, _ = subject.begin(pose)
    physics, states = subject.hold(physics, targets, 5)
    return physics, targets, states[-1]


def _parameters(subject: Subject) -> PhysicsParams:
    """Values of all parameters that the simulator can change, other ones in every environment."""
    rng, e, robot = np.random.default_rng(10), subject.num_envs, subject.robot
    shapes = specs.param_shapes(e, robot.num_joints, robot.num_bodies) | specs.object_param_shapes(e)
    given = {}
    for name in sorted(subject.bridge.spec.randomizes):  # a set's order differs by process
        low, high = (-0.02, 0.02) if name == "com_offset" else (0.5, 1.5)
        given[name] = rng.uniform(low, high, shapes[name]).astype(np.float32)
    return PhysicsParams(**given)


CHECKS = (
    check_masked_reset,
    check_push,
    check_determinism,
    check_ownership,
    check_saved_state,
    check_divergence,
)
