"""What the user asks for by key or button: velocity commands, environment, pause, speed, frame.

No viewer is needed here. Base frame as everywhere: x forward, y left, yaw positive to the left, so A moves left
and Q turns left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Command = tuple[float, float, float]
"""m/s forward, m/s left, rad/s yaw rate"""

STEP = 0.1
"""m/s or rad/s that one key press adds"""
ROPE_STEP = 0.1
"""m of the gantry's rope that one key press adds"""
VELOCITY_KEYS: Mapping[str, tuple[int, int]] = {
    "W": (0, +1),
    "S": (0, -1),
    "A": (1, +1),
    "D": (1, -1),
    "Q": (2, +1),
    "E": (2, -1),
}
"""Key -> component of the command, and the sign of its step."""
STOP_KEY = "Z"
ENV_KEYS: Mapping[str, int] = {"LeftArrow": -1, "RightArrow": +1}
STEP_KEYS: Mapping[str, int] = {"Comma": -1, "Period": +1}
SPEED_KEYS: Mapping[str, int] = {"Minus": -1, "Equal": +1}
PAUSE_KEY = "Space"
ROPE_KEYS: Mapping[str, int] = {"7": -1, "8": +1}
HANG_KEY = "9"
SPEEDS = (0.125, 0.25, 0.5, 1.0)
"""of real time"""
UNPACED = math.inf
"""the speed of a training until its user chooses one: as fast as it can"""


class CommandLimits(NamedTuple):
    """The range that commands are clamped to: what the policy was trained for."""

    low: Command
    high: Command


class Playback(NamedTuple):
    """Whether the user may stop the clock, and what is played."""

    pausable: bool = False
    """pause, single steps, slow motion"""
    num_frames: int = 0
    """of a recording or a task's timeline, from which the user may choose; 0: a live run that only goes forward"""
    rope: float | None = None
    """m, length at rest of the gantry's rope that the user may lengthen and let go; None: there is none"""
    unpaced: bool = False
    """a training: as fast as it can, unless the user wants to see it in real time or slower"""

    @property
    def speeds(self) -> tuple[float, ...]:
        """What the user may choose; the last is where it starts."""
        return (*SPEEDS, UNPACED) if self.unpaced else SPEEDS


WATCH_ONLY = Playback()


class Controls:
    """The user's wishes. Every change is sent to the run as one message."""

    def __init__(
        self,
        send: Callable[..., None],
        *,
        num_envs: int = 1,
        limits: CommandLimits | None = None,
        command: Command = (0.0, 0.0, 0.0),
        playback: Playback = WATCH_ONLY,
    ):
        """The state in which a viewer opens.

        Args:
          send: takes a message as keyword arguments (`messages` lists them).
          num_envs: environments to choose from.
          limits: of velocity commands; None: the user gives none.
          command: the first one.
          playback: what the user may do with the clock.
        """
        self._send, self.num_envs, self.limits, self.playback = send, num_envs, limits, playback
        self.rope, self.hangs = playback.rope or 0.0, True
        self.command, self.env, self.paused, self.speed = command, 0, False, playback.speeds[-1]

    def press(self, key: str) -> bool:
        """Take in one key, by its Dear ImGui name ('W', 'Space', 'LeftArrow'); whether it means something."""
        if self.limits is not None and (key in VELOCITY_KEYS or key == STOP_KEY):
            self.command = changed(self.command, key, self.limits)
            self._send(command=self.command)
        elif self.num_envs > 1 and key in ENV_KEYS:
            self.select_env((self.env + ENV_KEYS[key]) % self.num_envs)
        elif self.playback.pausable and key == PAUSE_KEY:
            self.pause(not self.paused)
        elif self.playback.pausable and key in SPEED_KEYS:
            speeds = self.playback.speeds
            index = speeds.index(self.speed) + SPEED_KEYS[key]
            self.set_speed(speeds[min(max(index, 0), len(speeds) - 1)])
        elif self.playback.pausable and key in STEP_KEYS and (STEP_KEYS[key] > 0 or self.playback.num_frames):
            self.step(STEP_KEYS[key])
        elif self.playback.rope is not None and key in ROPE_KEYS:
            self.set_rope(self.rope + ROPE_STEP * ROPE_KEYS[key])
        elif self.playback.rope is not None and key == HANG_KEY:
            self.set_rope(None if self.hangs else self.rope)
        else:
            return False
        return True

    def select_env(self, env: int) -> None:
        """Look at environment `env`; the nearest one that exists."""
        env = min(max(env, 0), self.num_envs - 1)
        if env != self.env:
            self.env = env
            self._send(env=env)

    def pause(self, paused: bool) -> None:
        """Stop the clock, or let it run on."""
        if paused != self.paused:
            self.paused = paused
            self._send(paused=paused)

    def step(self, count: int) -> None:
        """Take `count` control steps, or go that many frames on or back, and stay paused there."""
        self.pause(True)
        self._send(step=count)

    def set_speed(self, speed: float) -> None:
        """Play at `speed` of real time."""
        if speed != self.speed:
            self.speed = speed
            self._send(speed=speed)

    def set_rope(self, length: float | None) -> None:
        """Hold the robots by ropes of `length` m from above where they are; None lets them go."""
        self.hangs = length is not None
        if length is not None:
            self.rope = round(max(0.0, length), 6)
        self._send(rope=self.rope if self.hangs else None)

    def seek(self, frame: int) -> None:
        """Go to a frame of the recording or the task's timeline."""
        self._send(seek=min(max(frame, 0), self.playback.num_frames - 1))


def key_help(controls: Controls) -> list[list[tuple[str, str]]]:
    """What the keys do: groups of (keys, meaning)."""
    groups = []
    if controls.limits is not None:
        groups.append([("W/S", "forward, back"), ("A/D", "left, right"), ("Q/E", "turn"), ("Z", "stop")])
    if controls.playback.pausable:
        steps = (",/.", "step back, on") if controls.playback.num_frames else (".", "one step")
        groups.append([("space", "pause"), steps, ("-/=", "slower, faster")])
    if controls.playback.rope is not None:
        groups.append([("7/8", "rope shorter, longer"), ("9", "let go, hold")])
    if controls.num_envs > 1:
        groups.append([("left/right", "other environment")])
    return groups


def changed(command: Command, key: str, limits: CommandLimits) -> Command:
    """The command after `key`; unchanged for a key that means nothing.

    Steps lie on the grid of `STEP`, so pressing W and then S gives back the command exactly.
    """
    if key == STOP_KEY:
        return (0.0, 0.0, 0.0)
    if key not in VELOCITY_KEYS:
        return command
    component, sign = VELOCITY_KEYS[key]
    value = round(command[component] + sign * STEP, 6)
    values = list(command)
    values[component] = min(max(value, limits.low[component]), limits.high[component]) + 0.0
    return values[0], values[1], values[2]


def clamp(command: Sequence[float], limits: CommandLimits) -> Command:
    """`command` inside `limits`."""
    x, y, yaw = (float(v) for v in np.clip(np.asarray(command, np.float64), limits.low, limits.high))
    return x, y, yaw
