"""Our own clips: feet stand still on the ground, limits are kept, the weight is over the feet."""

from __future__ import annotations

import numpy as np
import pytest

from holosoma_jax import robots
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import Skeleton, read, rotations, shipped
from holosoma_jax.motion.generation import CLIPS, balance, curves, generate
from holosoma_jax.motion.generation.limbs import Limbs
from holosoma_jax.motion.generation.steps import LEFT, Stepper

SKELETONS: dict[str, Skeleton] = {}


def skeleton(name: str) -> Skeleton:
    robot = name[:2]
    if robot not in SKELETONS:
        SKELETONS[robot] = Skeleton(robots.load(robot))
    return SKELETONS[robot]


def test_what_is_shipped() -> None:
    names = set(shipped())
    assert names >= {f"g1_{name}" for name in CLIPS} | {"t1_dance", "k1_dance", "t1_squat", "k1_squat"}
    sizes = [path.stat().st_size for path in shipped().values()]
    assert max(sizes) < 300_000 and sum(sizes) < 1_500_000


SLOPES = {"g1_walk_slope"}
"""Clips on other ground than a plane; tests/envs/test_tracking_ground.py looks at their feet."""


def zero_moment_point(center: np.ndarray, height: float, fps: float) -> np.ndarray:
    """The point [T, 2] m that the cart-table model gives for a track [T, 2]."""
    acceleration = np.gradient(np.gradient(center, 1.0 / fps, axis=0), 1.0 / fps, axis=0)
    return center - height / balance.GRAVITY * acceleration


@pytest.mark.parametrize("name", sorted(set(shipped()) - SLOPES))
def test_shipped_clips_stand_on_the_ground(name: str) -> None:
    model = skeleton(name)
    clip = read(name, model)
    assert clip.contact is not None
    # feet: never below the ground; level, on it and still while they stand
    clearance = model.clearance(clip.body_pos, clip.body_quat)
    assert clearance.min() > -1e-4
    stands = clip.contact.astype(bool)
    stands[1:] &= stands[:-1]
    stands[:-1] &= stands[1:]  # not the frame before nor after a step
    feet = [rows[0] for rows in model.feet]
    assert np.abs(clearance[stands]).max() < 1e-3
    assert np.linalg.norm(clip.body_lin_vel[:, feet], axis=-1)[stands].max() < 0.01
    assert np.abs(clip.body_quat[:, feet][stands][:, 1:3]).max() < 1e-3
    assert clip.contact.any(1).all()


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_clips_are_good_to_track(name: str) -> None:
    """Joints: within their ranges and well below their rated speeds; no jumps."""
    model = skeleton(name)
    robot, clip = model.robot, read(name, model)
    assert clip.fps == 50.0
    assert (clip.joint_pos > robot.joint_lower).all() and (clip.joint_pos < robot.joint_upper).all()
    assert (np.abs(clip.joint_vel) < 0.75 * robot.velocity_limit).all()
    assert np.abs(np.diff(clip.joint_vel, axis=0)).max() * clip.fps < 160.0
    assert np.abs(clip.joint_vel[[0, -1]]).max() < 0.3


@pytest.mark.parametrize("name", ["g1_walk_circle", "g1_dance", "t1_dance", "k1_side_steps"])
def test_the_zero_moment_point_is_over_the_standing_feet(name: str) -> None:
    """By the cart-table model of the whole robot's centre of mass; near the middle of the standing sole."""
    model = skeleton(name)
    clip = read(name, model)
    assert clip.contact is not None
    center = model.center_of_mass(clip.qpos)
    zmp = zero_moment_point(curves.smooth(center[:, :2], 2.0), float(center[:, 2].mean()), clip.fps)
    soles = [
        clip.body_pos[:, leg.body - 1] + rotations.rotate(clip.body_quat[:, leg.body - 1], leg.sole)
        for leg in Limbs(model).legs
    ]
    distance = np.linalg.norm(zmp[:, None] - np.stack(soles, 1)[..., :2], axis=-1)
    single = clip.contact.sum(1) == 1
    off = distance[single][clip.contact[single].astype(bool)]
    assert np.median(off) < 0.03 and np.percentile(off, 90) < 0.08, (np.median(off), np.percentile(off, 90))


@pytest.mark.parametrize("robot", ["g1", "k1"])
def test_generating_again_gives_the_shipped_clip(robot: str) -> None:
    made, held = generate("squat", skeleton(robot)), read(f"{robot}_squat", skeleton(robot))
    np.testing.assert_allclose(made.qpos, held.qpos, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(shipped()) - {"g1_squat", "k1_squat"}))
def test_generating_any_clip_again_gives_the_shipped_one(name: str) -> None:
    made = generate(name[3:], skeleton(name))
    held = read(name, skeleton(name))
    np.testing.assert_allclose(made.qpos, held.qpos, atol=1e-4)
    assert made.terrain == held.terrain


def test_a_balanced_track_rests_over_a_fixed_point() -> None:
    """A constant zero-moment point: the centre of mass is above it all the time."""
    point = np.tile([0.2, -0.1], (60, 1))
    np.testing.assert_allclose(balance.center_of_mass(point, 0.7, 50.0), point, atol=1e-6)


def test_a_balanced_track_follows_a_moving_point() -> None:
    """The point moves 0.2 m in 0.4 s; the model's own point of the solution follows it."""
    ramp = curves.ease((np.arange(200) / 50 - 1.5) / 0.4)
    point = np.stack([0.2 * ramp, 0.0 * ramp], 1)
    center = balance.center_of_mass(point, 0.7, 50.0)
    off = zero_moment_point(center, 0.7, 50.0) - point
    assert np.abs(off[3:-3]).max() < 0.01
    assert center[60, 0] > 0.003 and point[60, 0] == 0.0  # the mass starts before the point does


def test_curves_by_hand() -> None:
    time = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
    np.testing.assert_allclose(curves.between(time, [(0.5, 0.0), (1.5, 2.0)]), [0, 0, 1, 2, 2])
    turned = curves.directions(np.array([0.0, 0.5, 1.0]), [(0.0, (1, 0, 0)), (1.0, (0, 1, 0))])
    np.testing.assert_allclose(turned, [[1, 0, 0], [0.5**0.5, 0.5**0.5, 0], [0, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(curves.smooth(np.full((20, 2), 3.0), 2.0), 3.0)


def test_a_step_ends_where_it_should() -> None:
    plan = Stepper(50.0, 0.24)
    plan.stand(0.2)
    plan.step(LEFT, 0.3, 0.12, 0.5, 0.4, 0.05)
    plan.stand(0.2)
    steps = plan.steps(0.1)
    assert plan.seconds == pytest.approx(0.8)
    np.testing.assert_allclose(steps.place[-1], [[0.3, 0.12, 0.0], [0.0, -0.12, 0.0]], atol=1e-9)
    assert steps.place[:, LEFT, 2].max() == pytest.approx(0.05, rel=0.01)
    np.testing.assert_array_equal(steps.place[:, 1], np.tile([0.0, -0.12, 0.0], (40, 1)))
    np.testing.assert_allclose(steps.weight.sum(1), 1.0)
    assert steps.weight[20].tolist() == [0.0, 1.0]


def test_unknown_clip() -> None:
    with pytest.raises(ConfigError, match=r"squt.*squat"):
        generate("squt", skeleton("g1"))
