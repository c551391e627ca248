"""What randomisation terms draw: ranges, means, independence, and their errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax import robots
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.terms import randomization as terms
from holosoma_jax.robots.robot import Robot

E = 4000


@pytest.fixture(scope="module")
def g1() -> Robot:
    return robots.load("g1")


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
    ratio = np.asarray(terms.MassRandomizer().sample(key, g1, E).mass_ratio)
    links = g1.body_index(*g1.randomized_mass_bodies)
    torso = int(g1.body_index("torso_link")[0])
    for link in links:
        uniform_within(ratio[:, link], 0.9, 1.2)
    independent(ratio[:, links[0]], ratio[:, links[1]])
    uniform_within((ratio[:, torso] - 1.0) * g1.body_mass[torso], -1.0, 3.0)
    others = np.setdiff1d(np.arange(g1.num_bodies), [*links, torso])
    np.testing.assert_array_equal(ratio[:, others], 1.0)


def test_a_massless_torso_is_refused(g1: Robot, key: jax.Array) -> None:
    with pytest.raises(ConfigError, match=r"added_mass_range: -9.0 kg would leave 'torso_link'"):
        terms.MassRandomizer(added_mass_range=(-9.0, 3.0)).sample(key, g1, 4)


def test_friction_takes_the_midpoints_of_64_bins(g1: Robot, key: jax.Array) -> None:
    friction = np.asarray(terms.FrictionRandomizer().sample(key, g1, E).friction)
    uniform_within(friction, 0.5, 1.25)
    bins = (friction - 0.5) / 0.75 * 64 - 0.5
    np.testing.assert_allclose(bins, np.round(bins), atol=1e-3)
    assert len(np.unique(np.round(bins))) == 64


def test_com(g1: Robot, key: jax.Array) -> None:
    ranges = {"x": (-0.05, 0.05), "y": (-0.02, 0.02), "z": (0.0, 0.01)}
    offset = np.asarray(terms.BaseComRandomizer(base_com_range=ranges).sample(key, g1, E).com_offset)
    torso = int(g1.body_index("torso_link")[0])
    for axis, limits in enumerate(ranges.values()):
        uniform_within(offset[:, torso, axis], *limits)
    assert not np.delete(offset, torso, axis=1).any()


def test_gains(g1: Robot, key: jax.Array) -> None:
    params = terms.ActuatorRandomizer().sample(key, g1, E)
    kp, kd = np.asarray(params.kp_scale), np.asarray(params.kd_scale)
    uniform_within(kp, 0.9, 1.1)
    uniform_within(kd, 0.9, 1.1)
    independent(kp[:, 0], kd[:, 0])
    independent(kp[:, 0], kp[:, 1])
    other = np.asarray(terms.ActuatorRandomizer().sample(jax.random.split(key)[0], g1, E).kp_scale)
    independent(kp[:, 0], other[:, 0])


def test_pushes(key: jax.Array) -> None:
    interval = np.asarray(terms.Push().sample_interval(key, E, 0.02))
    assert interval.min() >= 250 and interval.max() <= 500
    uniform_within(interval, 249.5, 500.5)
    velocity = np.asarray(terms.Push(max_push_vel=(1.0, 0.5)).sample_velocity(key, E))
    uniform_within(velocity[:, 0], -1.0, 1.0)
    uniform_within(velocity[:, 1], -0.5, 0.5)


def test_delay(key: jax.Array) -> None:
    delay = np.asarray(terms.ActionDelay(ctrl_delay_step_range=(1, 3)).sample(key, E))
    np.testing.assert_allclose(np.bincount(delay, minlength=4)[1:] / E, 1 / 3, atol=0.04)
    assert not np.asarray(terms.ActionDelay(enabled=False).sample(key, E)).any()


def test_reset_joints(g1: Robot, key: jax.Array) -> None:
    default = jnp.tile(jnp.asarray(g1.default_joint_pos)[None], (E, 1))
    pos, vel = terms.ResetJoints().sample(key, g1, default)
    knee = g1.joint_names.index("left_knee_joint")
    uniform_within(np.asarray(pos[:, knee]) / g1.default_joint_pos[knee], 0.5, 1.5)
    assert not np.asarray(vel).any()
    clipped, _ = terms.ResetJoints(joint_pos_bias_range=(3.0, 3.0), clip_to_limits=True).sample(
        key, g1, default
    )
    assert (np.asarray(clipped) <= g1.joint_upper + 1e-6).all()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: terms.Push(push_interval_s=(5, 1)), "push_interval_s: got [5, 1]"),
        (lambda: terms.ActionDelay(ctrl_delay_step_range=(-1, 1)), "ctrl_delay_step_range: got [-1, 1]"),
        (lambda: terms.FrictionRandomizer(friction_range=(2, 1)), "friction_range: got [2, 1]"),
        (lambda: terms.BaseComRandomizer(base_com_range={"x": (0, 0), "y": (0, 0)}), "axis 'z' is missing"),
    ],
)
def test_wrong_ranges_are_named(make, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make()
    assert message in str(error.value)
