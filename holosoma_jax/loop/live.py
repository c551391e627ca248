"""The viewer beside a run: it follows a training, and steers an evaluation.

Once it is open, nothing in it stops a run: it takes what it is shown, or drops it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from bridges.protocol import Array, SimState
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.io.steering import Command, Limits, clamp
from holosoma_jax.io.viewer import Viewer, ViewerUnavailable, open_viewer
from holosoma_jax.loop import processes
from holosoma_jax.loop.control_step import Step
from holosoma_jax.loop.evaluate import Moment, velocity_ranges
from holosoma_jax.loop.setup import Setup
from holosoma_jax.loop.stop import Stop
from holosoma_jax.loop.trainer import Extras


class Screen(Protocol):
    """What a run needs of `io.viewer.Viewer`."""

    @property
    def closed(self) -> bool:
        """Whether the user has closed it."""
        ...

    @property
    def command(self) -> Command | None:
        """What the user commands."""
        ...

    def show(self, sim: SimState, command: Array | None = None) -> None:
        """Show what is looked at."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Following:
    """`trainer.Extras` that shows every control step, and otherwise is the one it is given."""

    def __init__(self, extras: Extras, screen: Screen, say: Callable[[str], None]):
        """Show on `screen`; `say` gets one line when it is closed, training goes on."""
        self._extras, self._screen, self._say = extras, screen, say
        self._told = False

    def begin(self, iteration: int) -> None:
        """An iteration starts."""
        self._extras.begin(iteration)

    def step(self, step: Step) -> None:
        """A control step has been taken."""
        self._extras.step(step)
        if not self._screen.closed:
            self._screen.show(step.sim, getattr(step.env, "command", None))
        elif not self._told:
            self._told = True
            self._say("The viewer is closed; training goes on.")

    def saved(self, iteration: int, learner: Any) -> None:
        """A checkpoint has been written."""
        self._extras.saved(iteration, learner)


class Driver:
    """Lets the user of a viewer steer an evaluation: its pilot, and its onlooker in real time."""

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


@contextmanager
def watching(
    parts: Setup, title: str, say: Callable[[str], None], command: Command | None = None
) -> Iterator[Viewer | None]:
    """The viewer that the config asks for, open within the context; None if it asks for none.

    Args:
      parts: of the run.
      title: of the panel.
      say: gets the line that tells where to look.
      command: the first of a user who steers; None: the user only watches.

    Raises:
      ConfigError: no viewer can be shown here.
    """
    cfg = parts.cfg
    if cfg.training.headless or not processes.is_main():
        yield None
        return
    limits = None if command is None else limits_of(parts)
    try:
        viewer = open_viewer(
            cfg.viewer,
            parts.robot,
            parts.terrain.ground,
            parts.env.spec.num_envs,
            title,
            limits=limits,
            command=(0.0, 0.0, 0.0) if command is None or limits is None else clamp(command, limits),
            stays=command is None,
            say=say,
        )
    except ViewerUnavailable as error:
        raise ConfigError(f"training.headless: got false, but there is no viewer here ({error}).") from None
    try:
        yield viewer
    finally:
        viewer.close()


def limits_of(parts: Setup) -> Limits:
    """The velocity commands that the policy of `parts` was trained for.

    Raises:
      ConfigError: the task has no velocity command.
    """
    ranges = velocity_ranges(parts.cfg)
    x, y, yaw = (ranges[axis] for axis in ("lin_vel_x", "lin_vel_y", "ang_vel_yaw"))
    return Limits((x[0], y[0], yaw[0]), (x[1], y[1], yaw[1]))
