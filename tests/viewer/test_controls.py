"""Keys and buttons of the viewer, without a viewer."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from holosoma_jax.viewer import controls
from holosoma_jax.viewer.controls import Command, CommandLimits, Controls, Playback

WIDE = CommandLimits((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def pressed(keys: str, command: Command = (0.0, 0.0, 0.0), limits: CommandLimits = WIDE) -> Command:
    for key in keys:
        command = controls.changed(command, key, limits)
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
        ("XUI", (0.0, 0.0, 0.0)),  # keys without a meaning
    ],
)
def test_a_key_adds_a_step(keys: str, command: Command):
    assert pressed(keys) == command


def test_commands_stay_in_the_range_that_was_trained():
    limits = CommandLimits((-0.25, -1.0, 0.0), (0.5, 1.0, 0.0))
    assert pressed("W" * 20, limits=limits) == (0.5, 0.0, 0.0)
    assert pressed("S" * 20, limits=limits) == (-0.25, 0.0, 0.0)
    assert pressed("QQE", limits=limits) == (0.0, 0.0, 0.0)
    assert controls.clamp([9.0, -0.5, 0.3], limits) == (0.5, -0.5, 0.0)


@pytest.mark.parametrize(("there", "back"), [("W", "S"), ("A", "D"), ("Q", "E")])
def test_pressing_and_taking_back_leaves_exactly_nothing(there: str, back: str):
    for n in range(1, 10):
        assert pressed(there * n + back * n) == (0.0, 0.0, 0.0)


def opened(**settings: Any) -> tuple[Controls, list[dict[str, Any]]]:
    """Controls, and the messages that they send."""
    sent: list[dict[str, Any]] = []
    return Controls(lambda **message: sent.append(message), **settings), sent


def test_keys_give_commands_and_choose_the_environment():
    user, sent = opened(num_envs=3, limits=WIDE)
    keys = ("W", "Q", "RightArrow", "RightArrow", "RightArrow", "LeftArrow", "Z")
    assert [user.press(key) for key in keys] == [True] * 7
    assert sent == [
        {"command": (0.1, 0.0, 0.0)},
        {"command": (0.1, 0.0, 0.1)},
        {"env": 1},
        {"env": 2},
        {"env": 0},
        {"env": 2},
        {"command": (0.0, 0.0, 0.0)},
    ]


def test_who_only_watches_changes_nothing():
    user, sent = opened()
    for key in ("W", "Z", "Space", "Period", "Comma", "Minus", "Equal", "RightArrow", "P", ""):
        assert not user.press(key)
    assert sent == [] and controls.key_help(user) == []


def test_the_clock_of_a_live_run_is_stopped_stepped_and_slowed():
    user, sent = opened(playback=Playback(pausable=True))
    for key in ("Space", "Space", "Period", "Period", "Minus", "Minus", "Equal"):
        assert user.press(key)
    assert not user.press("Comma")  # a live run does not go back
    assert sent == [
        {"paused": True},
        {"paused": False},
        {"paused": True},  # a single step stops the clock
        {"step": 1},
        {"step": 1},
        {"speed": 0.5},
        {"speed": 0.25},
        {"speed": 0.5},
    ]


def test_a_training_starts_unpaced_and_can_be_slowed():
    user, sent = opened(playback=Playback(pausable=True, unpaced=True))
    assert user.speed == math.inf
    for key in ("Equal", "Minus", "Minus", "Equal", "Equal"):
        assert user.press(key)
    assert [message["speed"] for message in sent] == [1.0, 0.5, 1.0, math.inf]
    assert json.loads(json.dumps(sent[-1])) == {"speed": math.inf}  # as the run reads it


def test_the_gantrys_rope_is_lengthened_and_let_go():
    user, sent = opened(playback=Playback(rope=0.1))
    for key in ("7", "7", "8", "8", "9", "9"):
        assert user.press(key)
    assert [message["rope"] for message in sent] == [0.0, 0.0, 0.1, 0.2, None, 0.2]
    assert [keys for keys, _ in controls.key_help(user)[-1]] == ["7/8", "9"]
    nobody, sent = opened(playback=Playback(pausable=True))
    assert not any(nobody.press(key) for key in "789") and sent == []


def test_speed_stays_between_its_ends():
    user, sent = opened(playback=Playback(pausable=True))
    for key, speed in (("Equal", 1.0), *(("Minus", s) for s in (0.5, 0.25, 0.125, 0.125))):
        user.press(key)
        assert user.speed == speed
    assert [message["speed"] for message in sent] == [0.5, 0.25, 0.125]


def test_a_recording_goes_back_and_to_any_frame():
    user, sent = opened(playback=Playback(pausable=True, num_frames=10))
    assert user.press("Comma")
    for frame in (4, -3, 99):
        user.seek(frame)
    assert sent == [{"paused": True}, {"step": -1}, {"seek": 4}, {"seek": 0}, {"seek": 9}]


def test_help_names_what_there_is():
    user, _ = opened(num_envs=2, limits=WIDE, playback=Playback(pausable=True))
    assert [len(group) for group in controls.key_help(user)] == [4, 3, 1]
