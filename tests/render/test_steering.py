"""Keys to commands and velocities to arrows."""

from __future__ import annotations

import numpy as np
import pytest

from holosoma_jax.render import steering
from holosoma_jax.render.steering import Command, Limits

WIDE = Limits((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
HALF_TURN = np.array([0.0, 0.0, 0.0, 1.0])
QUARTER_TURN = np.array([np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])


def pressed(keys: str, command: Command = (0.0, 0.0, 0.0), limits: Limits = WIDE) -> Command:
    for key in keys:
        command = steering.press(command, key, limits)
    return command


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        ("W", (0.1, 0.0, 0.0)),
        ("S", (-0.1, 0.0, 0.0)),
        ("A", (0.0, 0.1, 0.0)),  # left is +y
        ("D", (0.0, -0.1, 0.0)),
        ("Q", (0.0, 0.0, 0.1)),  # left is +yaw
        ("E", (0.0, 0.0, -0.1)),
        ("WWWAEE", (0.3, 0.1, -0.2)),
        ("WAQZ", (0.0, 0.0, 0.0)),
        ("XUI", (0.0, 0.0, 0.0)),  # the reference's keys for components that there are not
    ],
)
def test_a_key_adds_a_step(keys: str, command: Command):
    assert pressed(keys) == command


def test_commands_stay_in_the_range_that_was_trained():
    limits = Limits((-0.25, -1.0, 0.0), (0.5, 1.0, 0.0))
    assert pressed("W" * 20, limits=limits) == (0.5, 0.0, 0.0)
    assert pressed("S" * 20, limits=limits) == (-0.25, 0.0, 0.0)
    assert pressed("QQE", limits=limits) == (0.0, 0.0, 0.0)
    assert steering.clamp([9.0, -0.5, 0.3], limits) == (0.5, -0.5, 0.0)


@pytest.mark.parametrize(("there", "back"), [("W", "S"), ("A", "D"), ("Q", "E")])
def test_pressing_and_taking_back_leaves_exactly_nothing(there: str, back: str):
    for n in range(1, 10):
        assert pressed(there * n + back * n) == (0.0, 0.0, 0.0)


def test_velocities_are_measured_in_the_heading_frame():
    world, turn = np.array([0.0, 1.0, 9.0]), np.array([8.0, 8.0, 0.3])
    np.testing.assert_allclose(steering.measured(QUARTER_TURN, world, turn), [1.0, 0.0, 0.3], atol=1e-12)
    np.testing.assert_allclose(steering.measured(HALF_TURN, world, turn), [0.0, -1.0, 0.3], atol=1e-12)


def test_arrows_point_where_the_robot_goes_and_turns():
    over = np.array([1.0, 2.0, 3.0])
    along, across = steering.arrows(over, QUARTER_TURN, np.array([1.0, 0.0, 0.4]), (0, 0, 1, 1))
    scale, arm = steering.ARROW_SCALE, steering.ARM
    np.testing.assert_allclose(along.start, over)
    np.testing.assert_allclose(
        along.end, over + np.array([0.0, scale, 0.0]), atol=1e-12
    )  # forward is +y here
    np.testing.assert_allclose(across.start, over + np.array([0.0, arm, 0.0]), atol=1e-12)
    np.testing.assert_allclose(across.end - across.start, [-0.4 * scale, 0.0, 0.0], atol=1e-12)
    assert along.rgba == across.rgba == (0, 0, 1, 1)


def test_no_arrow_for_standing_still():
    assert steering.arrows(np.zeros(3), HALF_TURN, np.array([0.02, 0.0, -0.02]), (0, 0, 1, 1)) == []


def test_velocities_are_written_without_minus_zero():
    assert steering.text((-0.001, 0.5, -1.0)) == "+0.00 +0.50 m/s  -1.00 rad/s"
