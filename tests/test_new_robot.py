"""docs/new_robot.md, followed to the letter: its files are written and its command trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from holosoma_jax import robots, train
from holosoma_jax.config.errors import ConfigError
from tests.support.pages import write_robot


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's files, and the working directory in it."""
    written = write_robot(tmp_path)
    assert len([*written.iterdir(), *tmp_path.glob("*.yaml")]) == 3
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_record_and_the_model_agree(files: Path) -> None:
    robot = robots.load("mybot")
    assert robot.joint_names == ("neck", "left_hip", "left_ankle", "right_hip", "right_ankle")
    assert robot.body_mass.sum() == pytest.approx(12.0)


def test_a_slip_in_the_record_is_one_line(files: Path) -> None:
    record = files / "mybot" / "robot.yaml"
    record.write_text(record.read_text().replace("[left_foot, right_foot]", "[left_foot, right_food]"))
    with pytest.raises(ConfigError, match=r"feet_bodies.*right_food.*Did you mean 'right_foot'") as error:
        robots.load("mybot")
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_command_trains(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        "--training.num-envs=8",
        "--algo.config.num-learning-iterations=2",
        "--logger.video.enabled=False",
    ]
    assert train.main(["--config", "mybot.yaml", *small]) == 0
    run = next((files / "logs").glob("*/*-mybot"))
    assert (run / "checkpoints" / "2").is_dir() and (run / "policies" / "latest.onnx").exists()
    assert "Train on:" in capsys.readouterr().out
