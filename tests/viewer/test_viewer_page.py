"""The viewer's page in a real browser: it loads, the robot is there, keys and arrows work."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bridges.protocol import Ground
from holosoma_jax import robots
from holosoma_jax.config.schema import ViewerConfig
from holosoma_jax.viewer.controls import CommandLimits, Playback
from holosoma_jax.viewer.opening import open_viewer
from holosoma_jax.viewer.viewer import Viewer
from tests.support import browser
from tests.support.browser import Page
from tests.viewer.test_viewer import standing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        browser.program() is None, reason="no browser here; apt-get install chromium brings one"
    ),
]
PATIENCE_S = 150.0
"""s; a loaded machine without a GPU draws a frame in a second or more"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def shown(home: Path) -> Iterator[Viewer]:
    """A viewer with three robots standing still, steered."""
    robot = robots.load("g1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        limits = CommandLimits((-0.2, -1.0, -1.0), (0.2, 1.0, 1.0))
        cfg = ViewerConfig(mode="web")
        viewer = open_viewer(
            cfg,
            robot,
            Ground(),
            3,
            "test",
            limits=limits,
            playback=Playback(pausable=True, rope=0.0),
            print_line=lambda _: None,
        )
    ended = threading.Event()

    def play() -> None:
        state = standing(robot)
        ghost = state._replace(root_pos=state.root_pos + np.float32([0.0, 0.8, 0.0]))
        while not ended.wait(0.03):
            command = np.tile(np.asarray(viewer.command, np.float32), (3, 1))
            viewer.show(state, command, ghost=ghost)

    player = threading.Thread(target=play)
    player.start()
    yield viewer
    ended.set()
    player.join()
    viewer.close()


@pytest.fixture(scope="module")
def page(shown: Viewer, home: Path) -> Iterator[Page]:
    with browser.browse(shown.url, home / "profile") as opened:
        yield opened


def eventually(condition: Callable[[], bool], again: Callable[[], None] = lambda: None) -> None:
    """Wait for `condition`, doing `again` every few seconds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        again()
        time.sleep(1.0)


def feet(image: np.ndarray) -> tuple[int, int]:
    """Pixels of the G1's orange and blue feet in the middle of the page: nothing else has their colours."""
    height, width, _ = image.shape
    middle = image[height // 3 : height * 9 // 10, width // 4 : width * 3 // 4].astype(int)
    red, green, blue = np.moveaxis(middle, -1, 0)
    orange = (red > 150) & (green > 50) & (green < 140) & (blue < 60)
    bluish = (blue > 120) & (red < 60) & (green < 130)
    return int(orange.sum()), int(bluish.sum())


def test_the_robot_is_on_the_page(page: Page, home: Path):
    eventually(lambda: min(feet(page.screenshot(home / "robot.png"))) > 60)
    image = page.screenshot(home / "robot.png")
    sides = image[-120:-40, :150].reshape(-1, 3).astype(float)  # floor, in front of it
    assert 60 < sides.mean() < 200 and np.ptp(sides.mean(axis=0)) < 40, "the floor is grey and lit"
    height, width, _ = image.shape
    column = image[height // 4 : height * 3 // 4, width // 2 - 60 : width // 2 + 60]
    assert (column.min(axis=-1) > 150).sum() > 300, "the robot's body is bright"


def test_keys_change_the_command(shown: Viewer, page: Page):
    def command() -> tuple[float, float, float]:
        assert shown.command is not None
        return shown.command

    eventually(lambda: command()[0] > 0.0, lambda: page.press("w"))
    eventually(lambda: command()[1] > 0.0, lambda: page.press("a"))
    eventually(lambda: command()[2] < 0.0, lambda: page.press("e"))
    for _ in range(4):
        page.press("w")
    assert command()[0] <= 0.2  # the range that was trained
    eventually(lambda: command() == (0.0, 0.0, 0.0), lambda: page.press("z"))


def test_arrow_keys_choose_the_environment(shown: Viewer, page: Page):
    eventually(lambda: shown.env == 1, lambda: page.press("ArrowRight", 0.05))
    eventually(lambda: shown.env == 0, lambda: page.press("ArrowLeft", 0.05))
    eventually(lambda: shown.env == 2, lambda: page.press("ArrowLeft", 0.05))  # around the end


def test_the_clock_is_stopped_stepped_and_slowed(shown: Viewer, page: Page):
    eventually(lambda: shown.paused, lambda: page.press("Space"))
    shown.take_steps()
    eventually(lambda: shown.take_steps() > 0, lambda: page.press("Period", 1.0))
    assert shown.paused
    eventually(lambda: shown.speed < 1.0, lambda: page.press("Minus"))
    eventually(lambda: shown.speed == 1.0, lambda: page.press("Equal"))
    eventually(lambda: not shown.paused, lambda: page.press("Space"))


def test_the_gantrys_rope_is_lengthened_and_let_go(shown: Viewer, page: Page):
    def rope_after(key: str) -> float:
        found: list[float] = []

        def told() -> bool:
            rope = shown.take_rope()
            found.extend([] if rope is None else [rope])
            return bool(found)

        eventually(told, lambda: page.press(key, 1.0))
        return found[-1]

    assert 0.0 < rope_after("8") < 3.0
    assert rope_after("9") in (math.inf, *np.round(np.arange(0.1, 3.0, 0.1), 6))  # let go, or held again


def test_the_ghost_is_beside_the_robot(page: Page, home: Path):
    def blue() -> int:
        image = page.screenshot(home / "ghost.png").astype(int)
        height, width, _ = image.shape
        beside = image[height // 4 : height * 3 // 4, : width * 9 // 20]  # 0.8 m to its left
        return int(((beside[..., 2] - beside[..., 0]) > 60).sum())

    eventually(lambda: blue() > 500)
