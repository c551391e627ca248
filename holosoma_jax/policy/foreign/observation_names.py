"""What other projects call the terms that a policy observes, and which of ours they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Part(NamedTuple):
    """Entries of one of our terms."""

    term: str
    entries: tuple[int, ...] | None = None
    """of a frame; None: all of them"""


JOINT_TERMS = ("actions", "dof_pos", "dof_vel")
"""Our terms with one entry a joint, in the order of the joints."""
TWICE_JOINTS = ("motion_command",)
"""Our terms with two entries a joint: of all joints, then of all again."""
WIDTHS: Mapping[str, int] = {
    "base_ang_vel": 3,
    "base_lin_vel": 3,
    "command_ang_vel": 1,
    "command_lin_vel": 2,
    "cos_phase": 2,
    "sin_phase": 2,
    "projected_gravity": 3,
    "motion_ref_ori_b": 6,
    "motion_ref_pos_b": 3,
}
"""Entries of one frame of our other terms."""

_VELOCITY = (Part("command_lin_vel"), Part("command_ang_vel"))
_FOREIGN: Mapping[str, tuple[Part, ...]] = {
    # mjlab, BeyondMimic, Isaac Lab
    "joint_pos": (Part("dof_pos"),),
    "joint_vel": (Part("dof_vel"),),
    "joint_pos_rel": (Part("dof_pos"),),
    "joint_vel_rel": (Part("dof_vel"),),
    "last_action": (Part("actions"),),
    "last_actions": (Part("actions"),),
    "action": (Part("actions"),),
    "prev_actions": (Part("actions"),),
    "command": _VELOCITY,
    "commands": _VELOCITY,
    "velocity_command": _VELOCITY,
    "velocity_commands": _VELOCITY,
    "base_velocity": _VELOCITY,
    "twist": _VELOCITY,
    # motion tracking of BeyondMimic and mjlab
    "motion_anchor_ori_b": (Part("motion_ref_ori_b"),),
    "motion_anchor_pos_b": (Part("motion_ref_pos_b"),),
    "motion": (Part("motion_command"),),
    # mujoco_playground (its `state`), unitree_rl_gym
    "linvel": (Part("base_lin_vel"),),
    "lin_vel": (Part("base_lin_vel"),),
    "gyro": (Part("base_ang_vel"),),
    "ang_vel": (Part("base_ang_vel"),),
    "gravity": (Part("projected_gravity"),),
    "gravity_vec": (Part("projected_gravity"),),
    "gravity_orientation": (Part("projected_gravity"),),
    "last_act": (Part("actions"),),
    "joint_angles": (Part("dof_pos"),),
    "phase": (Part("cos_phase"), Part("sin_phase")),  # cosines of both feet, then sines
    "gait_phase": (Part("sin_phase", (0,)), Part("cos_phase", (0,))),  # sine and cosine of one clock
}


_OF_MJLAB: Mapping[str, str] = {
    "dof_pos": "joint_pos",
    "dof_vel": "joint_vel",
    "motion_command": "command",
    "motion_ref_ori_b": "motion_anchor_ori_b",
    "motion_ref_pos_b": "motion_anchor_pos_b",
}


def of_mjlab(name: str) -> str:
    """What mjlab and BeyondMimic call our term `name`; the same where they have none."""
    return _OF_MJLAB.get(name, name)


def parts(name: str) -> tuple[Part, ...]:
    """The parts of our terms that make the term `name`; a name that is not in the table is ours."""
    return _FOREIGN.get(name, (Part(name),))


def width(name: str, joints: int) -> int | None:
    """Entries of one frame of the term `name`, for a policy of `joints` joints; None: not known."""
    total = 0
    for part in parts(name):
        repeats = {**dict.fromkeys(JOINT_TERMS, 1), **dict.fromkeys(TWICE_JOINTS, 2)}.get(part.term)
        full = WIDTHS.get(part.term) if repeats is None else repeats * joints
        if full is None:
            return None
        total += full if part.entries is None else len(part.entries)
    return total


def known() -> tuple[str, ...]:
    """Every name, ours and others'."""
    return (*JOINT_TERMS, *TWICE_JOINTS, *WIDTHS, *_FOREIGN)
