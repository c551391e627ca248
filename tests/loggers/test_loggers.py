from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax.config import extras
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import LoggerConfig
from holosoma_jax.loggers import jsonl, sinks
from holosoma_jax.loggers.jsonl import JsonlSink, keep_steps, read_metrics
from holosoma_jax.loggers.sinks import make_sinks
from holosoma_jax.loggers.tensorboard import TensorBoardSink
from tests.support.messages import tells

ROOT = Path(__file__).resolve().parents[2]


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_a_line_a_step_readable_at_once(tmp_path: Path):
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    sink.write(1, {"Train/mean_reward": np.float32(1.5), "Loss/KL": 0.01})
    text = (tmp_path / "metrics.jsonl").read_text()  # before close
    assert text.count("\n") == 1 and text.endswith("}\n")
    assert json.loads(text) == {"step": 1, "Train/mean_reward": 1.5, "Loss/KL": 0.01}
    sink.close()


def test_non_finite_values_are_null_and_read_as_nan(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    sink = JsonlSink(path)
    sink.write(1, {"a": math.nan, "b": math.inf, "c": 2.0})
    sink.close()
    assert json.loads(path.read_text()) == {"step": 1, "a": None, "b": None, "c": 2.0}
    (row,) = read_metrics(path)
    assert math.isnan(row["a"]) and math.isnan(row["b"]) and row["c"] == 2.0


def test_resuming_drops_what_came_after_the_checkpoint(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    first = JsonlSink(path)
    for step in range(1, 8):  # checkpoint after 5, killed after 7
        first.write(step, {"x": step})
    first.close()
    second = JsonlSink(path, completed=5)
    second.write(6, {"x": 60.0})
    second.close()
    assert steps(path) == [1, 2, 3, 4, 5, 6]
    assert read_metrics(path)[-1]["x"] == 60.0
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize(
    "torn", ['{"step": 4, "x": 1', '{"step": 4, "x"', "{", '{"step": 4}extra', "[1, 2]", "\x00"]
)
def test_a_torn_last_line_disappears(tmp_path: Path, torn: str):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n' + torn)
    sink = JsonlSink(path, completed=9)
    sink.write(10, {})
    sink.close()
    assert steps(path) == [1, 2, 3, 10]


def test_unchanged_file_is_not_rewritten(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n')
    before = path.stat().st_ino
    keep_steps(path, 2)
    assert path.stat().st_ino == before


def test_kill_at_any_moment_leaves_a_file_that_goes_on(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    code = (
        "import sys\nfrom holosoma_jax.loggers.jsonl import JsonlSink\n"
        "sink, step = JsonlSink(sys.argv[1], int(sys.argv[2])), int(sys.argv[2])\n"
        "while True:\n    step += 1\n    sink.write(step, {f'k{i}': i + step for i in range(300)})\n"
    )
    completed = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(path), str(completed)], cwd=ROOT)
        try:
            until = time.monotonic() + 300  # imports take long on a busy machine
            while (path.read_bytes() if path.exists() else b"").count(b"\n") <= completed:
                assert time.monotonic() < until, "nothing was written"
                time.sleep(0.01)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        rows = read_metrics(path)
        assert [row["step"] for row in rows] == list(range(1, len(rows) + 1)) and len(rows) > completed
        completed = len(rows)


class _FullDisk:
    """A file that takes half a line and then fails, once."""

    def __init__(self, file):
        self.file, self.failed = file, False

    def write(self, text: str) -> None:
        if not self.failed:
            self.failed = True
            self.file.write(text[: len(text) // 2])
            raise OSError(28, "No space left on device")
        self.file.write(text)

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        self.file.close()


def test_full_disk_costs_a_line_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "metrics.jsonl"
    monkeypatch.setattr(jsonl, "open", lambda *a, **k: _FullDisk(open(*a, **k)), raising=False)  # noqa: SIM115
    sink = JsonlSink(path)
    monkeypatch.undo()
    sink.write(1, {"a": 1.0})
    assert "step 1 is lost (No space left on device)" in caplog.text
    sink.write(2, {"a": 2.0})
    sink.close()
    assert [row["step"] for row in read_metrics(path)] == [2]


def events(folder: Path) -> list:
    """All events in `folder`; a record is its length (8 bytes), a checksum (4), the data, a checksum (4)."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            end = 12 + int.from_bytes(data[:8], "little")
            found.append(Event.FromString(data[12:end]))
            data = data[end + 4 :]
    return found


def test_tensorboard_events_hold_the_finite_scalars(tmp_path: Path):
    sink = TensorBoardSink(tmp_path)
    sink.write(3, {"Train/mean_reward": 1.5, "Loss/KL": math.nan})
    sink.close()
    points = [(v.tag, e.step, v.simple_value) for e in events(tmp_path) for v in e.summary.value]
    assert points == [("Train/mean_reward", 3, 1.5)]


def test_tensorboard_on_a_full_disk_loses_events_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    from tensorboardX.record_writer import RecordWriter

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    sink = TensorBoardSink(tmp_path)
    sink.write(1, {"a": 1.0})
    with monkeypatch.context() as patch:
        patch.setattr(RecordWriter, "write", full)
        sink.write(2, {f"k{i}": 2.0 for i in range(100)})
    assert tells(caplog.text, "TensorBoard ... step 2 ... No space left on device")
    assert len(list(tmp_path.iterdir())) == 1
    sink.write(3, {"a": 3.0})
    sink.close()
    assert [(e.step, v.simple_value) for e in events(tmp_path) for v in e.summary.value] == [
        (1, 1.0),
        (3, 3.0),
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_metrics_on_a_full_disk_can_be_closed(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "metrics.jsonl"
    sink = JsonlSink(path, restore=lambda: path.symlink_to("/dev/full") is None)
    path.unlink()
    sink.write(1, {"a": 1.0})
    assert "step 1 is lost" in caplog.text
    sink.close()


def test_a_folder_that_is_removed_meanwhile_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = tmp_path / "run"
    folder.mkdir()
    both = make_sinks(LoggerConfig(type="tensorboard"), folder, restore=lambda: folder.mkdir() is None)
    for step in (1, 2, 3):
        if step == 2:
            shutil.rmtree(folder)
        for sink in both:
            sink.write(step, {"a": float(step)})
    for sink in both:
        sink.close()
    assert steps(folder / "metrics.jsonl") == [2, 3]
    assert [e.step for e in events(folder) if e.summary.value] == [2, 3]
    assert len([record for record in caplog.records if "removed" in record.getMessage()]) == 1


def test_a_folder_that_cannot_be_made_again_costs_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    (tmp_path / "metrics.jsonl").unlink()
    tmp_path.rmdir()
    sink.write(1, {"a": 1.0})
    assert "step 1 is lost" in caplog.text
    tmp_path.mkdir()
    sink.write(2, {"a": 2.0})
    sink.close()
    assert steps(tmp_path / "metrics.jsonl") == [2]


def test_resumed_tensorboard_hides_later_steps_of_older_files(tmp_path: Path):
    TensorBoardSink(tmp_path, completed=5).close()
    starts = [e.step for e in events(tmp_path) if e.HasField("session_log") and e.session_log.status == 1]
    assert starts == [6]  # TensorBoard purges what was logged for this step and later ones


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("disabled", []),
        ("console", [JsonlSink]),
        ("tensorboard", [JsonlSink, TensorBoardSink]),
    ],
)
def test_sinks_that_the_config_asks_for(tmp_path: Path, name: str, kinds: list[type]):
    sinks = make_sinks(LoggerConfig(type=name), tmp_path)
    assert [type(sink) for sink in sinks] == kinds
    for sink in sinks:
        sink.write(1, {"a": 1.0})
        sink.close()
    assert (tmp_path / "metrics.jsonl").exists() == bool(kinds)


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_missing_extra_is_named(tmp_path: Path, monkeypatch, name):
    monkeypatch.setattr(extras, "is_installed", lambda module: False)
    with pytest.raises(ConfigError, match=rf"'holosoma-jax\[{name}\]'.*logger:console") as e:
        make_sinks(LoggerConfig(type=name), tmp_path)
    assert "\n" not in str(e.value)
    assert not list(tmp_path.iterdir())


def test_unwritable_run_folder_is_one_line(tmp_path: Path):
    (tmp_path / sinks.METRICS_FILE).mkdir()
    with pytest.raises(ConfigError, match=r"Is a directory.*folder"):
        make_sinks(LoggerConfig(type="console"), tmp_path)
