"""The `Robot` record: what the rest of the package knows about a robot.

A robot is a folder with an MJCF (`<name>.xml`) and a record (`robot.yaml`). The MJCF says what the
body is (tree, inertias, ranges, geoms); the record says how it is controlled and which parts the
task refers to. `load` reads both and checks that they agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Box:
    """A rigid box that is simulated beside the robot, free to move; its frame is in its middle."""

    size: tuple[float, float, float]
    """m, whole lengths along its x, y and z"""
    mass: float
    """kg, nominal"""
    inertia: tuple[float, float, float]
    """kg m^2, nominal, about its middle"""
    friction: float
    """sliding friction coefficient at all of its contacts"""
    init_pos: tuple[float, float, float]
    """m, where it starts relative to the tile origin, unless the task puts it elsewhere"""


@dataclass(frozen=True, eq=False)
class Robot:
    """One robot; arrays are float32, read-only, in joint order [J] or body order [B]."""

    name: str
    mjcf: Path
    """the model file"""
    joint_names: tuple[str, ...]
    """actuated joints; the order of every [J] array and of the action"""
    body_names: tuple[str, ...]
    """bodies without the world, depth first; the order of every [B] array"""
    default_joint_pos: np.ndarray
    """[J] rad, the pose that a zero action asks for"""
    kp: np.ndarray
    """[J] N m/rad"""
    kd: np.ndarray
    """[J] N m s/rad"""
    torque_limit: np.ndarray
    """[J] N m"""
    velocity_limit: np.ndarray
    """[J] rad/s; enforced by PhysX only"""
    armature: np.ndarray
    """[J] kg m^2"""
    joint_lower: np.ndarray
    """[J] rad, hard limit"""
    joint_upper: np.ndarray
    """[J] rad, hard limit"""
    action_scale: np.ndarray
    """[J] rad of joint target per unit of action"""
    mirror_index: np.ndarray
    """[J] int32: joint i of the mirrored robot is joint mirror_index[i]"""
    mirror_sign: np.ndarray
    """[J] +1 or -1"""
    init_pos: tuple[float, float, float]
    """m, root position at spawn above the tile origin"""
    init_quat: tuple[float, float, float, float]
    """w x y z"""
    root_body: str
    torso_body: str
    """body whose mass and centre of mass are randomised as 'base'"""
    feet_bodies: tuple[str, ...]
    """left, right: contact, orientation and lateral distance"""
    foot_height_bodies: tuple[str, ...]
    """left, right: sole markers that the gait reward measures"""
    termination_bodies: tuple[str, ...]
    """ground contact of one of these ends the episode"""
    randomized_mass_bodies: tuple[str, ...]
    """links whose mass is randomised"""
    body_mass: np.ndarray
    """[B] kg, nominal"""
    hand_bodies: tuple[str, ...] = ()
    """left, right: the last link of each arm; none for a robot without arms"""
    tracked_bodies: tuple[str, ...] = ()
    """bodies that whole-body tracking compares with a clip, `torso_body` among them"""
    soft_limit_factor: float = 0.95
    """soft limits: the range shrunk about its middle by this factor"""
    visual_mjcf: Path | None = None
    """another MJCF with the same joints, drawn in place of `mjcf`"""
    object: Box | None = None
    """what lies beside it, such as a box to carry; of a run, not of the robot's record"""
    model: Mapping[str, Any] = field(default_factory=dict)
    """numbers of the compiled `mjcf` (`robots.model_record`), for comparing; empty where no model was read"""

    @property
    def num_joints(self) -> int:
        """J."""
        return len(self.joint_names)

    @property
    def num_bodies(self) -> int:
        """B."""
        return len(self.body_names)

    @property
    def end_bodies(self) -> tuple[str, ...]:
        """The ends of the limbs: feet, then hands."""
        return self.feet_bodies + self.hand_bodies

    @property
    def action_reach(self) -> np.ndarray:
        """[J] float32: the action whose joint target is the limit furthest from the default pose."""
        below, above = self.default_joint_pos - self.joint_lower, self.joint_upper - self.default_joint_pos
        return np.maximum(np.abs(below), np.abs(above)) / self.action_scale

    def body_index(self, *names: str) -> np.ndarray:
        """Indices [len(names)] int32 into `body_names`; raises KeyError naming the unknown one."""
        unknown = [n for n in names if n not in self.body_names]
        if unknown:
            known = ", ".join(self.body_names)
            raise KeyError(f"robot '{self.name}' has no body '{unknown[0]}'. Bodies: {known}.")
        return np.array([self.body_names.index(n) for n in names], np.int32)
