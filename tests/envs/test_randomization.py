"""What randomisation terms draw: ranges, means, independence, and their errors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import Pose
from holosoma_jax import robots
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import TerrainConfig
from holosoma_jax.envs import terrain
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.terms import randomization as terms
from holosoma_jax.envs.terms.term import Randomization
from holosoma_jax.envs.view import View
from holosoma_jax.robots.robot import Robot

E = 4000


@pytest.fixture(scope="module")
def g1() -> Robot:
    return robots.load("g1")


def scene(robot: Robot, num_envs: int = E) -> Scene:
    """`num_envs` robots on the plane."""
    return Scene(robot, terrain.build(TerrainConfig(), 0), num_envs, 0.02, 4, 1000)


def uniform_within(values: np.ndarray, low: float, high: float) -> None:
    """All within [low, high], mean and spread those of a uniform draw (5 sigma)."""
    values = np.asarray(values, np.float64).ravel()
    assert values.min() >= low - 1e-6 and values.max() <= high + 1e-6
    sigma = (high - low) / np.sqrt(12)
    np.testing.assert_allclose(values.mean(), (low + high) / 2, atol=5 * sigma / np.sqrt(values.size))
    np.testing.assert_allclose(values.std(), sigma, rtol=0.05)


def independent(a: np.ndarray, b: np.ndarray) -> None:
    """No correlation beyond chance (5 sigma)."""
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(len(a))


def test_masses(g1: Robot, key: jax.Array) -> None:
    ratio = np.asarray(terms.masses().startup(key, scene(g1)).mass_ratio)
    links = g1.body_index(*g1.randomized_mass_bodies)
    torso = int(g1.body_index("torso_link")[0])
    for link in links:
        uniform_within(ratio[:, link], 0.9, 1.2)
    independent(ratio[:, links[0]], ratio[:, links[1]])
    uniform_within((ratio[:, torso] - 1.0) * g1.body_mass[torso], -1.0, 3.0)
    others = np.setdiff1d(np.arange(g1.num_bodies), [*links, torso])
    np.testing.assert_array_equal(ratio[:, others], 1.0)


def test_a_massless_torso_is_refused(g1: Robot, key: jax.Array) -> None:
    with pytest.raises(ConfigError, match=r"added_mass_range: -9.0 kg .*'torso_link'"):
        terms.masses(added_mass_range=(-9.0, 3.0)).startup(key, scene(g1, 4))


def test_friction_takes_the_midpoints_of_64_bins(g1: Robot, key: jax.Array) -> None:
    friction = np.asarray(terms.friction().startup(key, scene(g1)).friction)
    uniform_within(friction, 0.5, 1.25)
    bins = (friction - 0.5) / 0.75 * 64 - 0.5
    np.testing.assert_allclose(bins, np.round(bins), atol=1e-3)
    assert len(np.unique(np.round(bins))) == 64


def test_com(g1: Robot, key: jax.Array) -> None:
    ranges = {"x": (-0.05, 0.05), "y": (-0.02, 0.02), "z": (0.0, 0.01)}
    offset = np.asarray(terms.base_com(base_com_range=ranges).startup(key, scene(g1)).com_offset)
    torso = int(g1.body_index("torso_link")[0])
    for axis, limits in enumerate(ranges.values()):
        uniform_within(offset[:, torso, axis], *limits)
    assert not np.delete(offset, torso, axis=1).any()


def test_gains(g1: Robot, key: jax.Array) -> None:
    term = terms.actuators()
    draws = term.draw(key, scene(g1))
    params = term.physics(None, None, draws)
    kp, kd = np.asarray(params.kp_scale), np.asarray(params.kd_scale)
    uniform_within(kp, 0.9, 1.1)
    uniform_within(kd, 0.9, 1.1)
    independent(kp[:, 0], kd[:, 0])
    independent(kp[:, 0], kp[:, 1])
    other = np.asarray(term.draw(jax.random.split(key)[0], scene(g1))["kp"])
    independent(kp[:, 0], other[:, 0])


def test_pushes(g1: Robot, key: jax.Array) -> None:
    draws = terms.push(max_push_vel=(1.0, 0.5)).draw(key, scene(g1))
    interval = np.asarray(draws["interval"])
    assert interval.min() >= 250 and interval.max() <= 500
    uniform_within(interval, 249.5, 500.5)
    velocity = np.asarray(draws["velocity"])
    uniform_within(velocity[:, 0], -1.0, 1.0)
    uniform_within(velocity[:, 1], -0.5, 0.5)


def test_delay(g1: Robot, key: jax.Array) -> None:
    delay = np.asarray(terms.action_delay(ctrl_delay_step_range=(1, 3)).draw(key, scene(g1)))
    np.testing.assert_allclose(np.bincount(delay, minlength=4)[1:] / E, 1 / 3, atol=0.04)
    assert not np.asarray(terms.action_delay(enabled=False).draw(key, scene(g1))).any()


def test_reset_joints(g1: Robot, key: jax.Array) -> None:
    default = jnp.tile(jnp.asarray(g1.default_joint_pos)[None], (E, 1))
    view = cast(View, SimpleNamespace(robot=g1))

    def drawn(term: Randomization) -> Pose:
        nominal = Pose(*[jnp.zeros((E, 3))] * 4, default, jnp.zeros_like(default))
        return term.pose(view, nominal, (), term.draw(key, scene(g1)))

    pose = drawn(terms.reset_joints())
    knee = g1.joint_names.index("left_knee_joint")
    uniform_within(np.asarray(pose.joint_pos[:, knee]) / g1.default_joint_pos[knee], 0.5, 1.5)
    assert not np.asarray(pose.joint_vel).any()
    clipped = drawn(terms.reset_joints(joint_pos_bias_range=(3.0, 3.0), clip_to_limits=True)).joint_pos
    assert (np.asarray(clipped) <= g1.joint_upper + 1e-6).all()


def test_reset_root_height(g1: Robot, key: jax.Array) -> None:
    still = jnp.zeros((E, 3))
    pos, quat = (jnp.tile(jnp.asarray(x, jnp.float32)[None], (E, 1)) for x in (g1.init_pos, g1.init_quat))
    joints = jnp.zeros((E, g1.num_joints))
    nominal, poses = Pose(pos, quat, still, still, joints, joints), []
    for low in (-0.05, 0.0):
        term = terms.reset_root(height_range=(low, 0.0))
        assert term.pose is not None and term.draw is not None
        view = cast(View, SimpleNamespace(robot=g1))
        poses.append(term.pose(view, nominal, None, term.draw(key, scene(g1))))
    uniform_within(np.asarray(poses[0].root_pos[:, 2]), 0.75, 0.80)
    independent(np.asarray(poses[0].root_pos[:, 2]), np.asarray(poses[0].root_lin_vel[:, 2]))
    np.testing.assert_array_equal(poses[1].root_pos, nominal.root_pos)
    np.testing.assert_array_equal(poses[1].root_lin_vel, poses[0].root_lin_vel)
    np.testing.assert_array_equal(poses[1].root_ang_vel, poses[0].root_ang_vel)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: terms.push(push_interval_s=(5, 1)), "push_interval_s: got [5, 1]"),
        (lambda: terms.action_delay(ctrl_delay_step_range=(-1, 1)), "ctrl_delay_step_range: got [-1, 1]"),
        (lambda: terms.friction(friction_range=(2, 1)), "friction_range: got [2, 1]"),
        (lambda: terms.base_com(base_com_range={"x": (0, 0), "y": (0, 0)}), "axis 'z' is missing"),
    ],
)
def test_wrong_ranges_are_named(make, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make()
    assert message in str(error.value)
