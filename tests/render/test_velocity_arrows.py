"""Velocities to arrows and text."""

from __future__ import annotations

import numpy as np

from holosoma_jax.render import velocity_arrows

HALF_TURN = np.array([0.0, 0.0, 0.0, 1.0])
QUARTER_TURN = np.array([np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])


def test_velocities_are_measured_in_the_heading_frame():
    world, turn = np.array([0.0, 1.0, 9.0]), np.array([8.0, 8.0, 0.3])
    np.testing.assert_allclose(
        velocity_arrows.heading_velocity(QUARTER_TURN, world, turn), [1.0, 0.0, 0.3], atol=1e-12
    )
    np.testing.assert_allclose(
        velocity_arrows.heading_velocity(HALF_TURN, world, turn), [0.0, -1.0, 0.3], atol=1e-12
    )


def test_arrows_point_where_the_robot_goes_and_turns():
    over = np.array([1.0, 2.0, 3.0])
    along, across = velocity_arrows.arrows(over, QUARTER_TURN, np.array([1.0, 0.0, 0.4]), (0, 0, 1, 1))
    scale, arm = velocity_arrows.ARROW_SCALE, velocity_arrows.ARM
    np.testing.assert_allclose(along.start, over)
    np.testing.assert_allclose(
        along.end, over + np.array([0.0, scale, 0.0]), atol=1e-12
    )  # forward is +y here
    np.testing.assert_allclose(across.start, over + np.array([0.0, arm, 0.0]), atol=1e-12)
    np.testing.assert_allclose(across.end - across.start, [-0.4 * scale, 0.0, 0.0], atol=1e-12)
    assert along.rgba == across.rgba == (0, 0, 1, 1)


def test_no_arrow_for_standing_still():
    assert velocity_arrows.arrows(np.zeros(3), HALF_TURN, np.array([0.02, 0.0, -0.02]), (0, 0, 1, 1)) == []


def test_velocities_are_written_without_minus_zero():
    assert velocity_arrows.text((-0.001, 0.5, -1.0)) == "+0.00 +0.50 m/s  -1.00 rad/s"


def test_only_finite_velocities_are_drawn():
    pos, nan, moving = np.zeros(3), np.full(3, np.nan), np.array([0.5, 0.0, 0.0])
    (green,) = velocity_arrows.both(pos, HALF_TURN, 0.7, nan, moving)
    assert green.rgba == velocity_arrows.MEASURED_RGBA
    np.testing.assert_allclose(green.start, [0.0, 0.0, 0.7 + velocity_arrows.MEASURED_ABOVE])
    (blue,) = velocity_arrows.both(pos, HALF_TURN, 0.7, moving, None)
    assert blue.rgba == velocity_arrows.COMMAND_RGBA
