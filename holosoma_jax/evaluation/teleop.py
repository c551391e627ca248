"""A user at the viewer who steers an evaluation."""

from __future__ import annotations

import numpy as np

from holosoma_jax.evaluation.evaluate import steering
from holosoma_jax.experiment import Setup
from holosoma_jax.rollout.state import StepInfo
from holosoma_jax.signals import Stop
from holosoma_jax.viewer.controls import Command, CommandLimits
from holosoma_jax.viewer.pacing import Pacer
from holosoma_jax.viewer.viewer import Viewer


class Teleop:
    """Lets the user of a viewer steer an evaluation, stop its clock and slow it down."""

    def __init__(
        self, viewer: Viewer, num_envs: int, control_dt: float, stop: Stop | None = None, frames: int = 0
    ):
        """Start the clock.

        Args:
          viewer: an open one.
          num_envs: all of them get the command.
          control_dt: s; a control step takes no less, in real time.
          stop: ends the evaluation as closing the viewer does.
          frames: of the task's timeline, of which the user may choose one to resume from; 0: it has none.
        """
        self._viewer, self._envs, self._frames = viewer, num_envs, frames
        self._pacer = Pacer(self, control_dt)
        self._frame = -1
        self._chosen: int | None = None  # the frame that the user wants next
        self._stop = stop or Stop()
        self._applied: Command | None = None

    def command(self) -> np.ndarray | None:
        """[E, 3] m/s, m/s, rad/s, if the user has changed it since the last call."""
        wanted = self._viewer.command
        if wanted is None or wanted == self._applied:
            return None
        self._applied = wanted
        return np.tile(np.asarray(wanted, np.float32), (self._envs, 1))

    def rope(self) -> float | None:
        """Rest length in m of the gantry's rope, if changed since the last call; infinite: let go."""
        return self._viewer.take_rope()

    @property
    def paused(self) -> bool:
        """Whether the user has stopped the clock."""
        return self._viewer.paused

    @property
    def speed(self) -> float:
        """Of real time, as the user wants it."""
        return self._viewer.speed

    def take_steps(self) -> int:
        """Control steps asked for since the last call; of a timeline, a step back chooses the frame before."""
        steps = self._viewer.take_steps()
        if steps < 0 and self._frames:
            self._chosen = self._frame + steps
        return max(0, steps)

    @property
    def env(self) -> int:
        """Index of the environment that the user looks at."""
        return self._viewer.env

    def seek(self, frame: int) -> int | None:
        """The frame that the user has chosen since the last call, instead of `frame`; None: none."""
        wanted = self._wanted()
        self._chosen = None
        self._frame = frame if wanted is None else min(max(wanted, 0), self._frames - 1)
        return None if wanted is None else self._frame

    def _wanted(self) -> int | None:
        if self._frames and (chosen := self._viewer.take_seek()) is not None:
            self._chosen = chosen
        return self._chosen

    def ended(self) -> bool:
        """Whether the user has closed the viewer, or asked to stop."""
        return self._viewer.closed or self._stop.requested

    def __call__(self, info: StepInfo) -> None:
        """Show a control step, and wait until the user's clock lets the next one begin."""

        def show() -> None:
            frame = {"frame_index": self._frame} if self._frames else {}
            self._viewer.show(info.sim, info.command, ghost=info.ghost, **frame)

        show()
        self._pacer.wait(show, lambda: self.ended() or self._wanted() is not None)


def command_limits(parts: Setup) -> CommandLimits:
    """The velocity commands that the policy of `parts` was trained for.

    Raises:
      ConfigError: the task has no velocity command.
    """
    ranges = steering(parts).limits(parts.env)
    x, y, yaw = (ranges[axis] for axis in ("lin_vel_x", "lin_vel_y", "ang_vel_yaw"))
    return CommandLimits((x[0], y[0], yaw[0]), (x[1], y[1], yaw[1]))
