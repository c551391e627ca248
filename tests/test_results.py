"""What the evidence is made with: records of shipped policies, the results page, curves, GIFs, nightly floors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest

from benchmarks import curves, gif, nightly, results_page, ship
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError


def log(folder: Path, lengths: list[float], step: int = 1) -> Path:
    """A run whose log has these episode lengths, ten samples a line."""
    folder.mkdir(parents=True)
    rows = [
        {"step": step * (i + 1), "Train/num_samples": 10.0 * (i + 1), "Train/mean_episode_length": length}
        for i, length in enumerate(lengths)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_command_has_to_train_what_the_run_holds(tmp_path: Path) -> None:
    command = "exp:g1-29dof-fast-sac-cpu --training.seed 3"
    run = compose.to_mapping(compose.load([*command.split(), "--training.name", "x", "logger:disabled"]))
    ship.require_command(command, run, tmp_path)
    with pytest.raises(ConfigError, match=r"training.seed: 4 .*\b3\b"):
        ship.require_command("exp:g1-29dof-fast-sac-cpu --training.seed 4", run, tmp_path)
    with pytest.raises(ConfigError, match=r"algo.config.gamma"):
        ship.require_command(f"{command} --algo.config.gamma 0.9", run, tmp_path)


def test_samples_are_those_up_to_the_checkpoint(tmp_path: Path) -> None:
    run = log(tmp_path / "run", [1.0] * 6, step=5)
    assert ship.samples(run, 20) == 40
    assert ship.samples(tmp_path, 20) is None


def test_the_band_spans_the_seeds_where_all_have_samples(tmp_path: Path) -> None:
    runs = [log(tmp_path / str(level), [float(level)] * count) for level, count in ((1, 8), (2, 10), (9, 6))]
    found = curves.band(runs, "Train/mean_episode_length")
    assert found is not None
    assert (found.samples[0], found.samples[-1]) == (10.0, 60.0)
    np.testing.assert_allclose(
        [found.low, found.middle, found.high], np.full((3, curves.POINTS), [[1], [2], [9]])
    )
    assert curves.band(runs, "Train/mean_reward") is None
    assert curves.draw({"three": runs}, tmp_path / "curve.png").stat().st_size > 5_000


def test_growth_is_the_last_fifth_against_the_first_twentieth(tmp_path: Path) -> None:
    rows = [{"step": i + 1, nightly.KEY: float(i)} for i in range(40)]
    assert nightly.growth(rows, 40) == np.mean(range(32, 40)) - np.mean([0, 1])
    assert nightly.growth(rows, 20) == np.mean(range(16, 20)) - 0.0
    with pytest.raises(ValueError, match="iteration 41"):
        nightly.growth(rows, 41)
    gaps = [row | {nightly.KEY: float("nan")} if row["step"] in (1, 30) else row for row in rows]
    assert nightly.growth(gaps, 40) == np.mean(range(33, 40)) - 1.0
    with pytest.raises(ValueError, match=nightly.KEY):
        nightly.growth([{"step": 1, nightly.KEY: float("nan")}], 1)


@pytest.mark.parametrize("preset", nightly.presets())
def test_every_preset_has_a_brief_training(preset: str) -> None:
    arguments, iterations = nightly.brief(preset)
    cfg = compose.load(arguments.split())
    assert iterations < cfg.algo.config.num_learning_iterations
    assert cfg.training.num_envs <= 1024 and cfg.simulator.name == "mujoco"


def test_a_preset_that_learns_less_than_its_floor_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterations = nightly.brief("g1-29dof-cpu")[1]
    run = log(tmp_path / "run", list(map(float, range(iterations))))
    monkeypatch.setattr(nightly, "train", lambda preset, folder: run)
    grown = nightly.growth(nightly.read_metrics(run / "metrics.jsonl"), iterations)
    assert nightly.check("g1-29dof-cpu", {"g1-29dof-cpu": {"floor": grown - 1.0}}, False) is None
    assert nightly.check("g1-29dof-cpu", {}, False) is None
    problem = nightly.check("g1-29dof-cpu", {"g1-29dof-cpu": {"floor": grown + 1.0}}, False)
    assert problem is not None and f"{grown + 1.0:.1f}" in problem


def test_a_video_becomes_a_gif_within_its_limit(tmp_path: Path) -> None:
    video = tmp_path / "film.mp4"
    source = ["-f", "lavfi", "-i", "testsrc=duration=3:size=96x64:rate=20"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *source, str(video)], check=True)
    assert gif.convert(video, tmp_path / "film.gif", seconds=2.0) == gif.SIZES[0]
    found = iio.imread(tmp_path / "film.gif", index=None)
    assert found.shape[0] == 30 and found.shape[2] == 480  # 2 s at 15 frames/s
    with pytest.raises(ValueError, match="100 bytes"):
        gif.convert(video, tmp_path / "small.gif", limit=100)
    assert not (tmp_path / "small.gif").exists()


def evaluation(survival: float) -> dict[str, object]:
    """What `eval` leaves, as far as the page reads it."""
    first = {"lin_vel_x": 0.95, "drift_y": 0.03, "lin_vel_error": 0.1, "power": 120.0, "yaw_rate": None}
    groups = {"forward 1.0": {"survival_rate": survival, "first": first}}
    scores = {"survival_rate": survival, "first": first, "groups": groups}
    return {"command": "python -m holosoma_jax.eval ...", "num_envs": 64, "scores": scores}


def test_the_page_is_that_of_the_data() -> None:
    docs = Path(__file__).parents[1] / "docs"
    data = json.loads((docs / "results.json").read_text())
    assert (docs / "results.md").read_text() == results_page.page(data)


def test_the_page_states_commands_and_figures() -> None:
    record = {
        "commands": ["python -m holosoma_jax.train exp:walk --training.seed 5"],
        "commit": "abc1234", "machine": "a processor", "cores": 2, "learner": "fast_sac", "seed": 5,
        "samples": 1_300_000, "training_s": 660.0, "scores": {"clean": evaluation(1.0), "stress": evaluation(0.91)},
    }  # fmt: skip
    places = {"mujoco": evaluation(1.0), "mjwarp": evaluation(0.97)}
    data = {"curves": {}, "policies": {"g1": {"record": record, "places": places, "film": "g1.gif"}}}
    lines = results_page.page(data).splitlines()
    (row,) = [line for line in lines if line.startswith("| `pretrained:g1`")]
    assert [cell.strip() for cell in row.split("|")[1:-1]][1:] == [
        "fast_sac",
        "5",
        "1.3 M",
        "11 min",
        "100%",
        "91%",
    ]
    assert record["commands"][0] in lines
    assert any(line.startswith("| mjwarp | 64 | 97.0% | 0.100 |") for line in lines)
    assert any(line.startswith("| forward 1.0 | 100% | 0.950 | - | - | 0.030 |") for line in lines)
    assert results_page.page({"curves": {}, "policies": {}}).count("\n| ") == 0
