"""`python -m holosoma_jax.motion`, in this process."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax.motion import Clip, Skeleton, read
from tests.support import motion_files

main = importlib.import_module("holosoma_jax.motion.__main__").main


def run(*argv: object) -> int:
    return main([str(a) for a in argv])


@pytest.fixture
def folder(tmp_path: Path, walk: Clip, g1: Skeleton) -> Path:
    """Two clips, one of them in a folder below."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    motion_files.gmr(tmp_path / "in" / "a.pkl", walk, g1)
    motion_files.kimodo(tmp_path / "in" / "deep" / "b.csv", walk, g1)
    return tmp_path / "in"


def test_inspect_prints_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", folder, "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["format"], second["format"]) == ("GMR pickle", "Kimodo csv")
    assert first["frames"] == 200 and first["fps"] == 50.0 and first["limits"] is None
    assert first["duration"] == 4.0  # as `replay` says and `convert --range` counts
    assert first["stored"]["position (greatest, m)"] < 1e-6
    assert -1e-3 < first["foot_clearance"][0] < 1e-3


def test_inspect_prints_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", folder / "a.pkl") == 0
    out = capsys.readouterr().out
    assert "xyzw" in out and "200 at 50 fps" in out


def test_inspect_reports_limits_rather_than_refusing(
    tmp_path: Path, walk: Clip, g1: Skeleton, capsys: pytest.CaptureFixture[str]
) -> None:
    table = walk.qpos
    table[20, 7 + walk.joint_names.index("left_elbow_joint")] = 3.5
    np.save(tmp_path / "clip.npy", table)
    assert run("inspect", tmp_path / "clip.npy", "--json") == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["limits"]["joint"] == "left_elbow_joint" and report["limits"]["frame"] == 20
    assert report["speed"]["joint"] == "left_elbow_joint"


def test_convert_a_folder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert (
        run("convert", folder, "--output", out, "--range", "50:150", "--fps", 25, "--ground", "--mirror") == 0
    )
    clip = read(out / "a_mirrored.npz")
    assert clip.provenance.format == "holosoma npz" and clip.fps == 25.0
    assert clip.num_frames == 50
    assert (out / "deep" / "b_mirrored.npz").exists()


def test_convert_one_file_for_mjlab(folder: Path, tmp_path: Path) -> None:
    assert (
        run("convert", folder / "a.pkl", "--to", "mjlab", "--output", tmp_path / "x.npz", "--range", "1s:")
        == 0
    )
    clip = read(tmp_path / "x.npz")
    assert clip.provenance.format == "mjlab npz" and clip.num_frames == 150


def test_convert_goes_on_after_a_faulty_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.npz").write_bytes(b"PK\x03\x04 cut short")
    assert run("convert", folder, "--output", tmp_path / "out") == 2
    assert (tmp_path / "out" / "a.npz").exists()
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "c.npz" in err


def test_generate(tmp_path: Path, g1: Skeleton) -> None:
    assert run("generate", "squat", "--output", tmp_path) == 0
    clip = read(tmp_path / "g1_squat.npz", g1)
    assert clip.num_frames == 400 and max(clip.provenance.stored.values()) < 0.05


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["inspct", "a"], "inspct.*inspect"),
        (["inspect"], "which file"),
        (["inspect", "nothing.npz"], "nothing.npz"),
        (["inspect", "g1_danse"], "g1_danse.*g1_dance"),
        (["inspect", "g1_dance", "--robt", "g1"], "--robt.*--robot"),
        (["inspect", "g1_dance", "--quaternion", "zyxw"], "zyxw.*wxyz"),
        (["inspect", "g1_dance", "--joint-order", "isaac"], "isaac.*names"),
        (["inspect", "g1_dance", "--clip", "two"], "two.*g1_dance"),
        (["convert", "g1_dance", "--range", "5"], "5.*FIRST:LAST"),
        (["convert", "g1_dance", "--range", "900:2000"], "900:2000.*1000"),
        (["convert", "g1_dance", "--fps", "0"], "fps.*0"),
        (["convert", "g1_dance", "--to", "onnx"], "onnx.*mjlab"),
        (["convert", "g1_dance", "g1_squat", "--output", "x.npz"], "x.npz"),
        (["generate", "flip"], "flip.*squat"),
        (["generate", "squat", "--robot", "h1"], "h1"),
        (["generate", "squat", "--output", "/proc/none"], "/proc/none"),
    ],
)
def test_a_mistake_is_one_line(
    argv: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = run(*argv)
    except SystemExit as stop:
        code = stop.code
    err = capsys.readouterr().err
    assert code == 2 and err.count("\n") == 1 and re.search(said, err), err


@pytest.mark.slow
def test_contact_sheet(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "sheet.png"
    assert run("inspect", "g1_squat", "--sheet", path) == 0
    with Image.open(path) as image:
        assert (
            min(image.size) > 500 and len(set(image.convert("L").resize((64, 64)).get_flattened_data())) > 20
        )
