"""A user at the viewer who steers an evaluation."""

from __future__ import annotations

import time

import numpy as np

from holosoma_jax.evaluation.evaluate import Moment, velocity_ranges
from holosoma_jax.experiment import Setup
from holosoma_jax.render.steering import Command, Limits
from holosoma_jax.signals import Stop
from holosoma_jax.viewer.session import Screen


class Teleop:
    """Lets the user of a viewer steer an evaluation, which it holds to real time."""

    def __init__(self, screen: Screen, num_envs: int, control_dt: float, stop: Stop | None = None):
        """Nothing is commanded yet.

        Args:
          screen: an open viewer.
          num_envs: all of them get the command.
          control_dt: s; a control step takes no less.
          stop: ends the evaluation as closing the viewer does.
        """
        self._screen, self._envs, self._dt = screen, num_envs, control_dt
        self._stop = stop or Stop()
        self._told: Command | None = None
        self._next = time.monotonic()

    def command(self) -> np.ndarray | None:
        """[E, 3] m/s, m/s, rad/s, if the user has changed it since the last call."""
        wanted = self._screen.command
        if wanted is None or wanted == self._told:
            return None
        self._told = wanted
        return np.tile(np.asarray(wanted, np.float32), (self._envs, 1))

    def ended(self) -> bool:
        """Whether the user has closed the viewer, or asked to stop."""
        return self._screen.closed or self._stop.requested

    def __call__(self, moment: Moment) -> None:
        """Show a control step, and wait until it is over in real time."""
        self._screen.show(moment.sim, moment.command)
        now = time.monotonic()
        time.sleep(max(0.0, self._next - now))
        # A step that took too long is not made up for: the robot would rush.
        self._next = max(self._next, now) + self._dt


def command_limits(parts: Setup) -> Limits:
    """The velocity commands that the policy of `parts` was trained for.

    Raises:
      ConfigError: the task has no velocity command.
    """
    ranges = velocity_ranges(parts.cfg)
    x, y, yaw = (ranges[axis] for axis in ("lin_vel_x", "lin_vel_y", "ang_vel_yaw"))
    return Limits((x[0], y[0], yaw[0]), (x[1], y[1], yaw[1]))
