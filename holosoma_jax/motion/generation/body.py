"""From steps, body posture and arm directions to a clip: balance, then inverse kinematics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from holosoma_jax.motion import rotations
from holosoma_jax.motion.clip import Clip, Provenance, from_trajectory
from holosoma_jax.motion.generation import balance, curves
from holosoma_jax.motion.generation.limbs import Limbs
from holosoma_jax.motion.generation.steps import Steps

FPS = 50.0
INSIDE = 0.015
"""m from the middle of a foot towards the other one"""
BALANCE_PASSES = 4
"""the root moves until the whole robot's centre of mass is where it should be"""

UPPER_AT_EASE, FORE_AT_EASE = (0.1, 0.38, -1.0), (0.75, 0.22, -1.0)
"""directions of hanging arms that keep clear of the hips, as `Keys` have them"""

Keys = Sequence[tuple[float, Sequence[float]]]
"""(s, direction): x forward, y outward, z up, in the frame of the chest"""


class Posture(NamedTuple):
    """What the choreography says beside the steps; arrays over T frames."""

    drop: np.ndarray
    """[T] m that the root is below standing straight at ease"""
    pitch: np.ndarray
    """[T] rad, leaning forward"""
    roll: np.ndarray
    """[T] rad, leaning to the right"""
    twist: np.ndarray
    """[T] rad that the chest turns left of the hips, where the robot has a waist for it"""
    upper: np.ndarray
    """[T, 2, 3] unit: directions of the upper arms, left and right, in the chest's frame"""
    fore: np.ndarray
    """[T, 2, 3] likewise, of the forearms"""


def at_ease(count: int) -> Posture:
    """Upright, arms hanging, for `count` frames."""
    zero = np.zeros(count)
    flip = np.array([1.0, -1.0, 1.0])
    units = [np.array(d) / np.linalg.norm(d) for d in (UPPER_AT_EASE, FORE_AT_EASE)]
    both = [np.tile([d, d * flip], (count, 1, 1)) for d in units]
    return Posture(zero, zero, zero, zero, *both)


def arm(time: np.ndarray, side: int, keys: Keys) -> np.ndarray:
    """Directions [T, 3] of a limb through `keys`, which are given for the left side."""
    flip = np.array([1.0, 1.0 if side == 0 else -1.0, 1.0])
    return curves.directions(time, [(t, np.asarray(v, np.float64) * flip) for t, v in keys])


def height_at_ease(limbs: Limbs) -> float:
    """Root height m over level soles in the default pose."""
    robot = limbs.skeleton.robot
    qpos = np.concatenate([[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], robot.default_joint_pos])[None]
    pos, quat = limbs.skeleton.poses(qpos)
    return -float(
        np.mean(
            [
                pos[0, leg.body - 1, 2] + rotations.rotate(quat[0, leg.body - 1], leg.sole)[2]
                for leg in limbs.legs
            ]
        )
    )


def stance_width(limbs: Limbs) -> float:
    """Distance m between the soles' middles in the default pose."""
    robot = limbs.skeleton.robot
    qpos = np.concatenate([[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], robot.default_joint_pos])[None]
    pos, _ = limbs.skeleton.poses(qpos)
    left, right = (pos[0, leg.body - 1, 1] for leg in limbs.legs)
    return float(left - right)


def perform(limbs: Limbs, name: str, steps: Steps, posture: Posture) -> Clip:
    """The clip in which the robot takes `steps` in `posture`; soles flat on the ground, and fixed while they stand.

    Raises:
      ConfigError: a foot cannot be reached.
    """
    skeleton, robot = limbs.skeleton, limbs.skeleton.robot
    count = len(steps.yaw)
    joints = np.tile(np.asarray(robot.default_joint_pos, np.float64), (count, 1))
    for i, joint in enumerate(robot.joint_names):
        if joint.lower().removesuffix("_joint") == "waist_yaw":
            joints[:, i] = posture.twist
    heading = curves.smooth(steps.yaw.mean(1), 6.0)
    lean = rotations.multiply(rotations.about(1, posture.pitch), rotations.about(0, posture.roll))
    quat = rotations.multiply(rotations.about(2, heading), lean)
    # The weight stays a little inside each foot: the body sways less, and legs lean less.
    feet = steps.place[..., :2]
    apart = feet[:, ::-1] - feet
    inside = INSIDE * apart / np.linalg.norm(apart, axis=-1, keepdims=True)
    zmp = np.einsum("tk,tkd->td", steps.weight, feet + inside)
    height = height_at_ease(limbs) - posture.drop + curves.smooth(steps.ground.mean(1), 6.0)
    qpos = np.concatenate([zmp, height[:, None], quat, joints], 1)
    qpos = limbs.solve_arms(qpos, posture.upper, posture.fore)
    qpos[:, 7:] = curves.smooth(qpos[:, 7:], 2.0)
    level = float(skeleton.center_of_mass(qpos[:1])[0, 2])
    goal = balance.center_of_mass(zmp, level, FPS)
    for _ in range(BALANCE_PASSES):
        off = goal - skeleton.center_of_mass(qpos)[:, :2]
        qpos[:, :2] += curves.smooth(off, 1.0)
        qpos = limbs.solve_legs(qpos, steps.place, steps.yaw, steps.pitch)
    return from_trajectory(
        skeleton,
        name,
        FPS,
        qpos,
        contact=steps.contact,
        provenance=Provenance(format="generated", notes=("made by python -m holosoma_jax.motion generate",)),
    )
