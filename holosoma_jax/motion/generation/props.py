"""Clips with something around the robot: a box in its hands, a slope under its feet."""

from __future__ import annotations

import dataclasses

import numpy as np

from holosoma_jax.motion import rotations
from holosoma_jax.motion.clip import Clip
from holosoma_jax.motion.generation import body, curves
from holosoma_jax.motion.generation.body import FPS, Posture
from holosoma_jax.motion.generation.choreography import bent, finish, start
from holosoma_jax.motion.generation.limbs import Limbs
from holosoma_jax.motion.generation.steps import LEFT, RIGHT, Stepper, Steps

HOLDING = ("carry_box",)
"""Clips whose robot holds a box from the first frame to the last."""
GROUND = {"walk_slope": "slope"}
"""Clip -> the mesh in envs/terrain/meshes that it is made on."""
BOX_WIDTH = 0.459
"""m along y for the G1, the default of `robot.object.size`; other robots hold one that is as much smaller"""
HAND_RADIUS = 0.05
"""m of the G1's hand, a capsule"""
SQUEEZE = 0.004
"""m by which each hand is nearer than its surface: a policy has to press to hold the box"""
NARROW = 0.8
"""of the stance at ease: on a narrow track the body sways less, and ankles roll less"""
RAMP = ((0.6, 0.0), (2.2, 0.16), (4.0, 0.16), (5.6, 0.0))
"""(x, z) m of the creases of envs/terrain/meshes/slope.obj, level before and behind"""


def carry_box(limbs: Limbs) -> tuple[Steps, Posture]:
    """Lifts a box that it holds, squats with it, turns it to both sides, and lowers it."""
    scale, plan = start(limbs)
    plan.stand(9.0)
    steps, time, ease = finish(plan)
    up = curves.between(time, [(0.6, 0.0), (2.0, 1.0), (7.4, 1.0), (8.6, 0.0)])
    down = curves.between(time, [(2.4, 0.0), (3.4, 1.0), (3.8, 1.0), (4.8, 0.0)])
    turn = curves.between(time, [(5.0, 0.0), (5.7, 1.0), (6.5, -1.0), (7.2, 0.0)])
    upper, fore = _grasp(limbs, ease, -0.9 + 0.5 * up, -0.45 + 0.75 * up, scale)
    return steps, ease._replace(
        drop=0.12 * scale * down,
        pitch=0.12 * down,
        twist=0.35 * turn,
        upper=upper,
        fore=fore,
    )


def with_box(limbs: Limbs, clip: Clip) -> Clip:
    """`clip` with a box between the hands: its y axis from the right to the left one, as upright as the chest."""
    left, right = np.moveaxis(limbs.hands(clip.qpos), 1, 0)
    chest = clip.body_quat[:, clip.body_names.index(limbs.skeleton.robot.torso_body)]
    y = (left - right) / np.linalg.norm(left - right, axis=-1, keepdims=True)
    z = rotations.rotate(chest, np.broadcast_to([0.0, 0.0, 1.0], y.shape))
    z -= np.sum(z * y, -1, keepdims=True) * y
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    quat = rotations.from_matrix(np.stack([np.cross(y, z), y, z], -1))
    return dataclasses.replace(clip, object_pos=0.5 * (left + right), object_quat=rotations.continuous(quat))


def walk_slope(limbs: Limbs) -> tuple[Steps, Posture]:
    """Walks up the slope of the terrain preset 'terrain-slope', and stops on top; soles lie on one face each."""
    scale, _ = start(limbs)
    plan = Stepper(FPS, NARROW * body.stance_width(limbs), slope, toe=0.3)
    plan.stand(1.0)
    places = (
        0.16,
        0.33,
        0.49,
        0.49,
        0.71,
        0.88,
        1.05,
        1.22,
        1.39,
        1.56,
        1.73,
        1.9,
        2.09,
        2.09,
        2.31,
        2.5,
        2.65,
        2.65,
    )
    for k, x in enumerate(places):
        plan.step_body(RIGHT if k % 2 else LEFT, x, 0.0, 0.0, 0.44, 0.08 * scale)
        plan.stand(0.1)
    plan.stand(1.0)
    steps, time, ease = finish(plan)
    return steps, ease._replace(drop=bent(time, scale, 1.4), pitch=0.06 * np.ones(len(time)))


def slope(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height m and slope of the ground that `RAMP` describes."""
    at, height = np.array(RAMP).T
    inside = np.searchsorted(at, x, side="right") - 1
    rise = np.concatenate([np.diff(height) / np.diff(at), [0.0]])
    return np.interp(x, at, height), np.where(inside >= 0, rise[np.maximum(inside, 0)], 0.0)


def _grasp(
    limbs: Limbs, ease: Posture, upper: np.ndarray, fore: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Directions [T, 2, 3] of both arms that keep the hands as far apart as the box is wide.

    Args:
      limbs: of the robot.
      ease: any posture of as many frames.
      upper: [T] rad, elevation of the upper arms: 0 is level, forward.
      fore: [T] rad, of the forearms.
      scale: the robot's size against the G1's.
    """
    robot = limbs.skeleton.robot
    rest = np.concatenate([[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], robot.default_joint_pos])
    wanted = BOX_WIDTH * scale + 2.0 * (HAND_RADIUS * scale - SQUEEZE)
    outward = {"upper": np.full(len(upper), 0.68), "fore": np.full(len(upper), 0.1)}

    def both(out: np.ndarray, elevation: np.ndarray) -> np.ndarray:
        flat = np.sqrt(1.0 - out**2)
        left = np.stack([flat * np.cos(elevation), out, flat * np.sin(elevation)], -1)
        return np.stack([left, left * np.array([1.0, -1.0, 1.0])], 1)

    for _ in range(6):
        arms = both(outward["upper"], upper), both(outward["fore"], fore)
        tips = limbs.hands(limbs.solve_arms(np.tile(rest, (len(upper), 1)), *arms))
        apart = tips[:, 0, 1] - tips[:, 1, 1]
        outward["fore"] = np.clip(outward["fore"] + 0.5 * (wanted - apart) / (0.3 * scale), -0.8, 0.8)
    return both(outward["upper"], upper), both(outward["fore"], fore)
