"""The user's clock: pause, single steps, slow motion, frames of a recording."""

from __future__ import annotations

import numpy as np
import pytest

from holosoma_jax.viewer import pacing
from holosoma_jax.viewer.controls import UNPACED
from holosoma_jax.viewer.pacing import Pacer, next_frame

DT = 0.02


class User:
    """A user whose wishes the test writes."""

    def __init__(self) -> None:
        self.paused, self.speed, self.steps = False, 1.0, 0

    def take_steps(self) -> int:
        steps, self.steps = self.steps, 0
        return steps


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(pacing, "time", clock)
    return clock


def never() -> bool:
    return False


def nothing() -> None:
    pass


@pytest.mark.parametrize("speed", [1.0, 0.5, 0.125])
def test_steps_take_real_time_or_longer(clock: Time, speed: float):
    user = User()
    user.speed = speed
    pacer = Pacer(user, DT)
    began = clock.now
    for _ in range(11):
        pacer.wait(nothing, never)
    assert clock.now - began == pytest.approx(10 * DT / speed)


def test_a_training_that_nobody_slows_down_never_waits(clock: Time):
    user = User()
    user.speed = UNPACED
    pacer, began = Pacer(user, DT), clock.now
    for _ in range(11):
        pacer.wait(nothing, never)
    assert clock.now == began
    user.speed = 0.5  # from here on
    for _ in range(11):
        pacer.wait(nothing, never)
    assert clock.now - began == pytest.approx(10 * DT / 0.5)


def test_a_step_that_took_too_long_is_not_made_up_for(clock: Time):
    pacer = Pacer(User(), DT)
    pacer.wait(nothing, never)
    clock.now += 1.0
    pacer.wait(nothing, never)
    began = clock.now
    pacer.wait(nothing, never)
    assert clock.now - began == pytest.approx(DT)


def test_paused_it_waits_shows_and_takes_single_steps(clock: Time):
    user, shown = User(), []
    pacer = Pacer(user, DT)
    user.paused, user.steps = True, 2

    def redraw() -> None:
        shown.append(clock.now)
        if len(shown) == 20:
            user.paused = False

    pacer.wait(redraw, never)
    pacer.wait(redraw, never)
    assert shown == []  # two steps were asked for
    pacer.wait(redraw, never)
    assert len(shown) == 20
    began = clock.now
    pacer.wait(redraw, never)
    assert clock.now - began <= DT + 1e-9  # the pause is not made up for


def test_a_pause_ends_with_the_run(clock: Time):
    user = User()
    user.paused = True
    Pacer(user, DT).wait(nothing, lambda: clock.now > 101.0)


@pytest.mark.parametrize(
    ("index", "given", "expected"),
    [
        (3, {}, 4),
        (9, {}, 0),  # over and over
        (3, {"paused": True}, 3),
        (3, {"paused": True, "steps": 2}, 5),
        (0, {"paused": True, "steps": -1}, 9),
        (3, {"paused": True, "seek": 7}, 7),
        (3, {"seek": 7}, 7),
        (3, {"steps": 4}, 4),  # of a pause that is over
    ],
)
def test_the_next_frame_of_a_recording(index: int, given: dict, expected: int):
    wanted = {"paused": False, "steps": 0, "seek": None} | given
    assert next_frame(index, 10, **wanted) == expected


def test_playing_shows_every_frame_once():
    index, seen = 0, []
    for _ in range(10):
        seen.append(index)
        index = next_frame(index, 10, paused=False, steps=0, seek=None)
    np.testing.assert_array_equal(seen, np.arange(10))
