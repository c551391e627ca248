"""Runs at Weights & Biases, offline: what was sent is read back from the run's file."""

from __future__ import annotations

import json
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import LoggerConfig
from holosoma_jax.loggers import sinks, wandb_sink
from holosoma_jax.loggers.sinks import JsonlSink, TensorBoardSink, make_sinks, share
from holosoma_jax.loggers.wandb_sink import WandbSink
from tests.support.wandb_runs import Read

wandb = pytest.importorskip("wandb")
CFG = LoggerConfig(
    type="wandb", mode="offline", entity="team", project="walks", group="g1", tags=("plane", "seed1")
)
CONFIG = {"training": {"seed": 1, "num_envs": 16}, "reward": {"terms": {"alive": {"weight": 0.5}}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "20260102_030405-walk"
    (run / "checkpoints" / "2" / "learner").mkdir(parents=True)
    (run / "checkpoints" / "2" / "meta.json").write_text("{}")
    (run / "checkpoints" / "2" / "learner" / "d").write_bytes(b"weights")
    (run / "policies").mkdir()
    (run / "policies" / "2.onnx").write_bytes(b"onnx")
    (run / "videos").mkdir()
    (run / "videos" / "final.mp4").write_bytes(b"mp4" * 50)
    (run / "config.yaml").write_text("training: {seed: 1}\n")
    return run


@pytest.fixture
def written(folder: Path, caplog: pytest.LogCaptureFixture) -> tuple[Path, list[str]]:
    """A run with every kind of thing in it, closed; and what it said."""
    caplog.set_level("INFO", "holosoma_jax")
    sinks = make_sinks(CFG, folder, config=CONFIG)
    assert [type(sink) for sink in sinks] == [JsonlSink, TensorBoardSink, WandbSink]
    for step in (1, 2):
        for sink in sinks:
            sink.write(step, {"Train/mean_reward": np.float32(1.5 * step), "Loss/KL": math.nan})
    for name in ("checkpoints/2", "policies/2.onnx", "videos/final.mp4"):
        share(sinks, folder / name)
    for sink in sinks:
        sink.close()
    return folder, [
        record.getMessage() for record in caplog.records if record.name.startswith("holosoma_jax")
    ]


def test_numbers_config_and_names_arrive(written: tuple[Path, list[str]]):
    folder, _ = written
    read = Read(folder)
    assert (read.run.project, read.run.run_group, list(read.run.tags)) == ("walks", "g1", ["plane", "seed1"])
    assert read.run.entity == "team"
    assert read.run.display_name == folder.name
    assert read.config["training"] == CONFIG["training"] and read.config["reward"] == CONFIG["reward"]
    points = [row for row in read.history if "Train/mean_reward" in row]
    assert [(row["_step"], row["global_step"], row["Train/mean_reward"]) for row in points] == [
        (1, 1, 1.5),
        (2, 2, 3.0),
    ]
    assert not any("Loss/KL" in row for row in read.history)  # nothing but finite numbers


def test_files_and_videos_arrive_under_their_names(written: tuple[Path, list[str]]):
    folder, _ = written
    read = Read(folder)
    assert {"config.yaml", "checkpoints/2.tar", "policies/2.onnx"} <= read.files
    files = read.path.parent / "files"
    assert (files / "policies" / "2.onnx").read_bytes() == b"onnx"
    with tarfile.open(files / "checkpoints" / "2.tar") as archive:
        assert {"2/meta.json", "2/learner/d"} <= set(archive.getnames())
    key = f"{wandb_sink.VIDEO_KEY}.path"
    (video,) = [row[key] for row in read.history if key in row]
    assert (files / video).read_bytes() == b"mp4" * 50


def test_two_videos_of_one_step_are_both_there(folder: Path):
    (folder / "videos" / "0000001.mp4").write_bytes(b"mp4" * 40)
    sink = WandbSink(CFG, folder, CONFIG, project="p")
    sink.write(1, {"Train/mean_reward": 1.0})
    for name in ("0000001", "final"):
        sink.file(folder / "videos" / f"{name}.mp4")
    sink.close()
    key = f"{wandb_sink.VIDEO_KEY}.videos"
    (videos,) = [row[key] for row in Read(folder).history if key in row]
    assert [video["size"] for video in videos] == [120, 150]


def test_the_folder_says_which_run_it_is_and_what_to_type(written: tuple[Path, list[str]]):
    folder, said = written
    state = json.loads((folder / wandb_sink.STATE_FILE).read_text())
    assert Read(folder).run.run_id == state["id"]
    assert wandb_sink.run_path(folder) == f"team/walks/{state['id']}"
    offline = Read(folder).path.parent
    where, upload = said
    assert where == f"wandb: {offline}" and upload.endswith(f"wandb sync {offline}")


def test_a_resumed_run_is_the_same_run(folder: Path, tmp_path: Path):
    first = WandbSink(CFG, folder, CONFIG, project="p")
    first.close()
    state = json.loads((folder / wandb_sink.STATE_FILE).read_text())
    second = WandbSink(CFG, folder, CONFIG, project="p", completed=2)
    second.close()
    assert json.loads((folder / wandb_sink.STATE_FILE).read_text())["id"] == state["id"]


def test_wandb_mode_takes_the_place_of_online(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wandb_sink.mode_of(LoggerConfig(type="wandb")) == "offline"
    assert wandb_sink.mode_of(LoggerConfig(type="wandb", mode="disabled")) == "disabled"
    monkeypatch.delenv("WANDB_MODE")
    assert wandb_sink.mode_of(LoggerConfig(type="wandb")) == "online"


def test_without_a_login_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"logger:wandb: No API key configured.*--logger.mode offline") as e:
        sinks.require(LoggerConfig(type="wandb"))
    assert "\n" not in str(e.value)


def test_a_service_that_fails_costs_one_warning_and_no_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    sink = WandbSink(CFG, folder, CONFIG, project="p")

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is full\nTraceback ...")

    with monkeypatch.context() as patch:
        patch.setattr(wandb.Run, "log", broken)
        sink.write(1, {"a": 1.0})
        sink.write(2, {"a": 1.0})
    (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert "step 1" in warning.getMessage() and "the disk is full" in warning.getMessage()
    sink.close()


def test_an_unwritable_folder_is_one_line(folder: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    cfg = LoggerConfig(type="wandb", mode="offline", dir=str(tmp_path / "file" / "below"))
    with pytest.raises(ConfigError, match=r"logger\.dir: .*below"):
        WandbSink(cfg, folder, CONFIG, project="p")


def test_an_offline_run_without_an_entity_has_no_path_yet(folder: Path):
    cfg = LoggerConfig(type="wandb", mode="offline", project="walks")
    WandbSink(cfg, folder, CONFIG, project="p").close()
    assert wandb_sink.run_path(folder) is None
    assert wandb_sink.run_path(folder / "nowhere") is None


def test_disabled_takes_everything_and_leaves_nothing(folder: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "holosoma_jax")
    sink = WandbSink(LoggerConfig(type="wandb", mode="disabled"), folder, CONFIG, project="p")
    sink.write(1, {"a": 1.0})
    sink.file(folder / "policies" / "2.onnx")
    sink.file(folder / "checkpoints" / "2")
    sink.close()
    assert caplog.text == "" and not (folder / wandb_sink.STATE_FILE).exists()
    assert not [path for path in (folder / ".wandb").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_without_a_network_one_line_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(wandb_sink, "INIT_TIMEOUT_S", 2.0)
    with pytest.raises(
        ConfigError, match=r"logger:wandb: .*Check the network.*--logger.mode offline"
    ) as error:
        WandbSink(LoggerConfig(type="wandb"), folder, CONFIG, project="p")
    assert "\n" not in str(error.value)
