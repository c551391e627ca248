"""The viewer as a window: what its keys mean, and that it opens on a virtual display."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridges.protocol import Ground
from holosoma_jax import robots
from holosoma_jax.config.schema import ViewerConfig
from holosoma_jax.render.steering import Limits
from holosoma_jax.viewer import viewer
from holosoma_jax.viewer.link import ViewerJob
from tests.viewer.test_viewer import ENVS, standing, wait_for

LIMITS = Limits((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def keys(limits: Limits | None, num_envs: int = 2) -> tuple[Any, list[dict[str, Any]]]:
    from holosoma_jax.viewer.window import Keys

    job = ViewerJob(Path(), None, (), Ground(), num_envs, "", "window", "", 0, limits, (0.0, 0.0, 0.0), False)
    said: list[dict[str, Any]] = []
    return Keys(job, lambda **message: said.append(message)), said


def test_keys_steer_and_choose():
    press, said = keys(LIMITS)
    for code in (ord("W"), ord("Q"), 262, 262, 263, ord("P"), 340):
        press(code)
    expected = [
        {"command": (0.1, 0.0, 0.0)},
        {"command": (0.1, 0.0, 0.1)},
        {"env": 1},
        {"env": 0},
        {"env": 1},
    ]
    assert said == expected


def test_who_only_watches_steers_nothing():
    press, said = keys(None, num_envs=1)
    for code in (ord("W"), ord("Z"), 262):
        press(code)
    assert said == []


@pytest.fixture
def display(tmp_path: Path) -> Iterator[str]:
    """A display without a screen."""
    server = shutil.which("Xvfb")
    if server is None:
        pytest.skip("no Xvfb here; apt-get install xvfb brings it")
    number = tmp_path / "display"
    with open(number, "w") as told:
        process = subprocess.Popen(
            [server, "-displayfd", "1", "-screen", "0", "800x600x24"], stdout=told, stderr=subprocess.DEVNULL
        )
    try:
        wait_for(lambda: number.read_text().strip().isdigit())
        yield f":{number.read_text().strip()}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.slow
def test_it_opens_shows_and_ends(display: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    robot, said = robots.load("g1"), []
    cfg = ViewerConfig(mode="window")
    shown = viewer.open_viewer(cfg, robot, Ground(), ENVS, "test", limits=LIMITS, say=said.append)
    try:
        assert said == ["Viewer: a window of its own."]
        state = standing(robot)
        for _ in range(40):
            shown.show(state)
            time.sleep(0.05)
        assert not shown.closed
    finally:
        shown.close()
    assert shown._process.returncode == 0
