"""The checks themselves: each of these faults, as seen in real simulators, is found by the right one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from bridges.conformance import CHECKS, NUM_ENVS, Result, Subject, each
from bridges.mujoco import MujocoBridge
from bridges.protocol import Ground, PhysicsParams
from tests.support.biped import BIPED, config


class Faulty:
    """The MuJoCo bridge, with one method changed."""

    def __init__(self, method: str, change: Callable[..., Any]) -> None:
        self._bridge = MujocoBridge(config(), BIPED, Ground(), NUM_ENVS)
        self.spec = self._bridge.spec
        original = getattr(self._bridge, method)
        setattr(self, method, lambda *args: change(original, *args))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bridge, name)


def xyzw(original, physics, mask, pose):
    return original(physics, mask, pose._replace(root_quat=jnp.roll(jnp.asarray(pose.root_quat), 1, -1)))


def swapped_joints(original, physics, mask, pose):
    return original(physics, mask, pose._replace(joint_pos=np.asarray(pose.joint_pos)[:, [1, 0, 2, 3, 4]]))


def spin_in_the_bodys_axes(original, physics, mask, pose):
    physics, sim = original(physics, mask, pose)
    return physics, sim._replace(body_ang_vel=sim.body_ang_vel[..., ::-1])


def resets_everyone(original, physics, mask, pose):
    return original(physics, np.ones_like(mask), pose)


def downward_forces(original, physics, targets, offset=None):
    physics, sim = original(physics, targets, offset)
    return physics, sim._replace(contact_force=-sim.contact_force)


def half_the_torque_offset(original, physics, targets, offset=None):
    return original(physics, targets, None if offset is None else 0.5 * offset)


def late_targets(original, physics, targets, offset=None):
    """A step that reads its targets only when the next one is asked for, as asynchronous ones do."""
    late_targets.waiting.append(targets)
    return original(
        physics, np.nan_to_num(late_targets.waiting[max(0, len(late_targets.waiting) - 2)]), offset
    )


def friction_of_the_ground(original, physics, params, mask):
    return original(physics, params._replace(friction=None), mask)


def friction_without_the_mask(original, physics, params, mask):
    return original(physics, params, np.ones_like(mask) if params.friction is not None else mask)


def masses_without_the_mask(original, physics, params, mask):
    return original(physics, params, np.ones_like(mask))


def one_mass_for_all(original, physics, params, mask):
    ratio = params.mass_ratio
    return original(
        physics, params if ratio is None else PhysicsParams(mass_ratio=0 * ratio + ratio.mean()), mask
    )


def masses_upon_masses(original, physics, params, mask):
    """Ratios to what is there, not to the nominal masses."""
    if params.mass_ratio is not None:
        masses_upon_masses.now = masses_upon_masses.now * params.mass_ratio
        params = params._replace(mass_ratio=masses_upon_masses.now)
    return original(physics, params, mask)


def pushes_everyone(original, physics, mask, lin, ang):
    return original(physics, np.ones_like(mask), lin, ang)


def forgets_parameters(original, physics, state):
    return original(physics, {name: x for name, x in state.items() if not name.startswith("params")})


def forgets_digits(original, physics, state):
    rounded = state["integration"].astype(np.float32).astype(np.float64)
    return original(physics, {**state, "integration": rounded})


def rounds_anew(original, physics, targets, offset=None):
    rounds_anew.calls += 1
    return original(physics, np.asarray(targets) + np.float32(1e-6 * (rounds_anew.calls % 7)), offset)


@pytest.mark.parametrize(
    ("method", "fault", "check"),
    [
        ("reset", xyzw, "quaternion_order"),
        ("reset", swapped_joints, "kinematics"),
        ("reset", spin_in_the_bodys_axes, "kinematics"),
        ("reset", resets_everyone, "masked_reset"),
        ("step", downward_forces, "weight"),
        ("step", half_the_torque_offset, "torque"),
        ("step", late_targets, "pd_response"),
        ("randomize", friction_of_the_ground, "friction"),
        ("randomize", friction_without_the_mask, "friction"),
        ("randomize", masses_without_the_mask, "randomization"),
        ("randomize", one_mass_for_all, "randomization"),
        ("set_root_velocity", pushes_everyone, "push"),
        ("randomize", masses_upon_masses, "randomization"),
        ("set_state", forgets_parameters, "saved_state"),
        ("set_state", forgets_digits, "saved_state"),
        ("step", rounds_anew, "determinism"),
    ],
)
def test_fault_is_found(method, fault, check):
    late_targets.waiting = [np.zeros((NUM_ENVS, BIPED.num_joints))]
    masses_upon_masses.now, rounds_anew.calls = np.float32(1.0), 0
    results = CHECKS[check](Subject(Faulty(method, fault), BIPED))
    assert [result for result in results if not result.passed]


@pytest.mark.parametrize("check", ["masked_reset", "determinism", "ownership", "saved_state", "divergence"])
def test_a_simulator_may_say_that_it_rounds_anew(check):
    """Then equal runs need to be nearly equal only; what is wrong is found all the same."""
    rounds_anew.calls = 0
    rounding = Faulty("step", rounds_anew)
    rounding.spec = replace(rounding.spec, repeatable=False)
    assert [str(result) for result in CHECKS[check](Subject(rounding, BIPED)) if not result.passed] == []
    faults = {"masked_reset": ("reset", resets_everyone), "saved_state": ("set_state", forgets_parameters)}
    if check in faults:
        wrong = Faulty(*faults[check])
        wrong.spec = rounding.spec
        assert [result for result in CHECKS[check](Subject(wrong, BIPED)) if not result.passed]


def test_a_check_that_raises_has_failed():
    def broken(original, physics, state):
        raise NotImplementedError("no states here\nat all")

    (found,) = [r for rs in each(Subject(Faulty("set_state", broken), BIPED)) for r in rs if not r.passed]
    assert re.match(r"FAIL saved_state: .*NotImplementedError: no states here: nan", str(found))


def test_a_result_passes_within_its_tolerance_only():
    assert Result("c", "q", 1.05, 1.0, 0.1).passed
    assert not Result("c", "q", 1.2, 1.0, 0.1).passed
    assert not Result("c", "q", float("nan"), 0.0, 1.0).passed
    assert str(Result("c", "q", 1.2, 1.0, 0.1, "N")) == "FAIL c: q: 1.2, wanted 1 +- 0.1 N"
