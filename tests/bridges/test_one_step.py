"""From recorded states of holosoma, one control step lands where holosoma's simulator did.

Masses, centres of mass and friction of the recording are not known (they were randomised by +-20 % and
more), so agreement is to a fraction of the movement, joint by joint; a wrong gain, delay, armature,
joint axis or contact geometry would show as a multiple of it.
"""

from __future__ import annotations

import numpy as np
import pytest

import bridges
from bridges.protocol import Ground, PhysicsParams, Pose
from holosoma_jax import robots
from holosoma_jax.config import compose
from tests.support.shared import shared_arrays

FIELDS = ("root_pos", "root_quat", "root_lin_vel", "root_ang_vel", "dof_pos", "dof_vel")
STEPS = 48


def recorded(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The trace, and the states that its steps started from."""
    data = shared_arrays(name)
    after = {}
    for field in FIELDS:
        after[field] = data[f"pre/{field}"].copy()
        i, j = data["event/index"].T
        after[field][i, j] = data[f"event/{field}"]
    after["root_quat"] = after["root_quat"][..., [3, 0, 1, 2]]
    return data, after


@pytest.mark.parametrize(
    ("preset", "trace", "armature"),
    [
        ("g1-29dof", "trace_g1_loco_ppo", 1.0),
        # This recording's simulator had the armature of the MJCF, a third of the training value.
        ("t1-29dof", "trace_t1_loco_fastsac", 1 / 3),
    ],
)
def test_one_control_step_is_the_references(preset: str, trace: str, armature: float) -> None:
    data, after = recorded(trace)
    cfg = compose.load([f"exp:{preset}"])
    robot = robots.configure(robots.load(cfg.robot.asset), cfg.robot)
    num = after["dof_pos"].shape[1]
    bridge = bridges.make(cfg.simulator, robot, Ground(), num)
    physics, everyone = bridge.init(), np.ones(num, bool)
    ratio = np.full((num, robot.num_joints), armature, np.float32)
    error, moved = [], []
    for t in range(STEPS):
        scales = (data["act/kp_scale"][t + 1], data["act/kd_scale"][t + 1])
        physics = bridge.randomize(physics, PhysicsParams(None, None, None, *scales, ratio), everyone)
        physics, _ = bridge.reset(physics, everyone, Pose(*(after[field][t] for field in FIELDS)))
        targets = (
            data["const/default_dof_pos_base"] + data["const/action_scales"] * data["act/applied"][t + 1]
        )
        physics, sim = bridge.step(physics, targets.astype(np.float32))
        reached = data["pre/dof_pos"][t + 1]
        error.append(np.abs(np.asarray(sim.joint_pos) - reached))
        moved.append(np.abs(after["dof_pos"][t] - reached))
    bridge.close()
    share = np.median(error, axis=(0, 1)) / np.median(moved, axis=(0, 1))
    named = dict(zip(robot.joint_names, share.round(2).tolist(), strict=True))
    assert np.median(share) < 0.08, named
    ankles = [j for j, name in enumerate(robot.joint_names) if "ankle" in name.lower()]  # feel friction
    assert np.delete(share, ankles).max() < 0.2, named
    assert share.max() < 0.55, (
        named
    )  # the T1's ankle roll: 0.51, and 0.46 with the source's seven capsules a foot
