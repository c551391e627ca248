"""Holding a loop to the clock of a viewer's user: as fast as it can, real time, slower, paused, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

POLL_S = 0.03
"""s between two looks at a viewer whose clock is stopped"""


class Clock(Protocol):
    """What the loop needs to know of the user; `viewer.Viewer` is one."""

    @property
    def paused(self) -> bool:
        """Whether the clock is stopped."""
        ...

    @property
    def speed(self) -> float:
        """Of real time; may be infinite."""
        ...

    def take_steps(self) -> int:
        """Control steps (frames of a recording, back if negative) asked for since the last call."""
        ...


class Pacer:
    """Lets one control step after another begin when the user wants it."""

    def __init__(self, clock: Clock, control_dt: float):
        """The first step begins at once.

        Args:
          clock: of the user.
          control_dt: s; at full speed a step takes no less.
        """
        self._clock, self._dt = clock, control_dt
        self._next, self._steps = time.monotonic(), 0

    def wait(self, redraw: Callable[[], None], ended: Callable[[], bool]) -> None:
        """Return when the next control step shall begin, or when there shall be none.

        Args:
          redraw: shows the current step again; called while the clock is stopped.
          ended: whether the loop shall end.
        """
        self._sleep()
        while self._clock.paused and not ended():
            self._steps += max(0, self._clock.take_steps())
            if self._steps:
                self._steps -= 1
                return
            redraw()
            time.sleep(POLL_S)
            self._next = time.monotonic()
        self._steps = 0

    def _sleep(self) -> None:
        now = time.monotonic()
        time.sleep(max(0.0, self._next - now))
        # The time of a step that took too long is not made up for: the robot would rush.
        self._next = max(self._next, now) + self._dt / self._clock.speed


def next_frame(index: int, num_frames: int, *, paused: bool, steps: int, seek: int | None) -> int:
    """The frame of a recording that is shown after frame `index`.

    Args:
      index: of the frame that is shown.
      num_frames: of the recording, which is played over and over.
      paused: whether the clock is stopped.
      steps: frames that the user stepped forward (back, if negative).
      seek: the frame that the user chose; None: none.
    """
    if seek is not None:
        return seek % num_frames
    return (index + (steps if paused else 1)) % num_frames
