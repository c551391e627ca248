"""Footsteps: where both feet are in every frame, and which of them bears the weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from holosoma_jax.motion.generation.curves import bump, ease

LEFT, RIGHT = 0, 1
Ground = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""x [n] m -> height [n] m and slope dz/dx [n] of the ground there; the same for every y"""


def level(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The plane z = 0."""
    return np.zeros_like(x), np.zeros_like(x)


class Steps(NamedTuple):
    """Feet over T frames; poses of the two soles' frames, left first."""

    place: np.ndarray
    """[T, 2, 3] m, world frame"""
    yaw: np.ndarray
    """[T, 2] rad"""
    contact: np.ndarray
    """[T, 2] 1 while the foot stands"""
    weight: np.ndarray
    """[T, 2] share of the weight that each foot bears; rows sum to 1"""
    pitch: np.ndarray
    """[T, 2] rad about y of a sole that heads along x: that of the ground it stands on; in a swing toes may dip"""
    ground: np.ndarray
    """[T, 2] m, height of that ground, eased from one place to the next"""


class Stepper:
    """Writes a sequence of phases, each from where the last one ended."""

    def __init__(self, fps: float, stance: float, ground: Ground = level, toe: float = 0.0):
        """Both feet parallel, `stance` m apart, about the origin.

        Args:
          fps: frames per second.
          stance: m.
          ground: what is stepped on.
          toe: rad that a foot points down in the middle of its swing, which spares the ankle uphill.
        """
        self.fps, self.stance, self._ground, self._toe = fps, stance, ground, toe
        self._foot = np.array([[0.0, stance / 2, 0.0], [0.0, -stance / 2, 0.0]])  # x, y, yaw
        self._phases: list[tuple[int, int | None, np.ndarray, np.ndarray, float]] = []

    @property
    def seconds(self) -> float:
        """Length so far."""
        return sum(phase[0] for phase in self._phases) / self.fps

    def stand(self, seconds: float) -> None:
        """Both feet bear the weight."""
        self._add(seconds, None, self._foot, 0.0)

    def step(self, side: int, x: float, y: float, yaw: float, seconds: float, height: float) -> None:
        """Move one foot to the world pose (x, y, yaw); the other one bears the weight meanwhile."""
        goal = self._foot.copy()
        goal[side] = x, y, yaw
        self._add(seconds, side, goal, height)

    def step_body(self, side: int, x: float, y: float, yaw: float, seconds: float, height: float) -> None:
        """Move one foot beside a body that stands at (x, y) with heading `yaw`."""
        out = (0.5 if side == LEFT else -0.5) * self.stance
        self.step(side, x - np.sin(yaw) * out, y + np.cos(yaw) * out, yaw, seconds, height)

    def steps(self, shift: float) -> Steps:
        """All phases as arrays; the weight moves from foot to foot over about `shift` s."""
        place, yaw, contact, weight, slope, below = [], [], [], [], [], []
        for count, side, start, goal, height in self._phases:
            s = (np.arange(count) + 1.0) / count
            pose = start + ease(s)[:, None, None] * (goal - start)
            ends = [
                np.stack(self._ground(feet[:, 0])) for feet in (start, goal)
            ]  # height and slope of both feet
            height_of, slope_of = np.moveaxis(ends[0] + ease(s)[:, None, None] * (ends[1] - ends[0]), 1, 0)
            up, dip = np.zeros((count, 2)), np.zeros((count, 2))
            load, stands = np.full((count, 2), 0.5), np.ones((count, 2))
            if side is not None:
                up[:, side], dip[:, side] = height * bump(s), self._toe * bump(s)
                load[:] = [0.0, 1.0] if side == LEFT else [1.0, 0.0]
                stands[:, side] = 0.0
                stands[-1, side] = 1.0  # the last frame is at the goal
            place.append(np.concatenate([pose[..., :2], (height_of + up)[..., None]], -1))
            yaw.append(pose[..., 2])
            contact.append(stands)
            weight.append(load)
            slope.append(dip - np.arctan(slope_of))
            below.append(height_of)
        load = _ramped(np.concatenate(weight), max(1, round(shift * self.fps)))
        place, yaw, contact = (np.concatenate(part) for part in (place, yaw, contact))
        return Steps(place, yaw, contact, load, np.concatenate(slope), np.concatenate(below))

    def _add(self, seconds: float, side: int | None, goal: np.ndarray, height: float) -> None:
        count = max(1, round(seconds * self.fps))
        self._phases.append((count, side, self._foot.copy(), goal.copy(), height))
        self._foot = goal.copy()


def _ramped(load: np.ndarray, frames: int) -> np.ndarray:
    """Piecewise constant shares [T, 2] with each jump replaced by a ramp of `frames` about it."""
    kernel = np.hanning(frames + 2)[1:-1]
    kernel /= kernel.sum()
    padded = np.pad(load, ((len(kernel) // 2, len(kernel) - 1 - len(kernel) // 2), (0, 0)), mode="edge")
    return np.stack([np.convolve(padded[:, k], kernel, "valid") for k in (0, 1)], 1)
