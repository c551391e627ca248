"""The viewer as a window: what its keys mean, and that it opens on a virtual display."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridges.protocol import Ground
from holosoma_jax import robots
from holosoma_jax.config.schema import ViewerConfig
from holosoma_jax.viewer import opening
from holosoma_jax.viewer.controls import CommandLimits
from tests.viewer.test_viewer import ENVS, standing, wait_for

LIMITS = CommandLimits((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def test_keys_have_the_names_that_controls_take():
    from holosoma_jax.viewer.window import key_name

    codes = (ord("W"), 262, 263, ord(" "), ord("."), ord(","), ord("-"), ord("="), 340, 0)
    names = ("W", "RightArrow", "LeftArrow", "Space", "Period", "Comma", "Minus", "Equal", "", "")
    assert tuple(map(key_name, codes)) == names


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
    shown = opening.open_viewer(cfg, robot, Ground(), ENVS, "test", limits=LIMITS, print_line=said.append)
    try:
        assert said == ["Viewer: a window of its own."]
        state = standing(robot)
        for _ in range(40):
            shown.show(state)
            time.sleep(0.05)
        assert not shown.closed
    finally:
        shown.close()
    assert shown.process.returncode == 0
