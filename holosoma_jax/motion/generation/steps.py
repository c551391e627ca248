"""Footsteps: where both feet are in every frame, and which of them bears the weight."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from holosoma_jax.motion.generation.curves import bump, ease

LEFT, RIGHT = 0, 1


class Steps(NamedTuple):
    """Feet over T frames; poses of the two soles' frames, left first."""

    place: np.ndarray
    """[T, 2, 3] x, y m and height m above the ground"""
    yaw: np.ndarray
    """[T, 2] rad"""
    contact: np.ndarray
    """[T, 2] 1 while the foot stands"""
    weight: np.ndarray
    """[T, 2] share of the weight that each foot bears; rows sum to 1"""


class Stepper:
    """Writes a sequence of phases, each from where the last one ended."""

    def __init__(self, fps: float, stance: float):
        """Both feet parallel, `stance` m apart, about the origin."""
        self.fps, self.stance = fps, stance
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
        place, yaw, contact, weight = [], [], [], []
        for count, side, start, goal, height in self._phases:
            s = (np.arange(count) + 1.0) / count
            pose = start + ease(s)[:, None, None] * (goal - start)
            up = np.zeros((count, 2))
            load, stands = np.full((count, 2), 0.5), np.ones((count, 2))
            if side is not None:
                up[:, side] = height * bump(s)
                load[:] = [0.0, 1.0] if side == LEFT else [1.0, 0.0]
                stands[:, side] = 0.0
                stands[-1, side] = 1.0  # the last frame is at the goal
            place.append(np.concatenate([pose[..., :2], up[..., None]], -1))
            yaw.append(pose[..., 2])
            contact.append(stands)
            weight.append(load)
        load = _ramped(np.concatenate(weight), max(1, round(shift * self.fps)))
        return Steps(np.concatenate(place), np.concatenate(yaw), np.concatenate(contact), load)

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
