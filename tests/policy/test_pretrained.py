"""A run, stripped to its policy and shipped: the same policy in every command."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from holosoma_jax import eval as evaluation
from holosoma_jax import experiment, export, replay
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.policy import exporting, onnx_policy, policies, stripping
from holosoma_jax.policy.onnx import parity_observations
from holosoma_jax.render import recording_file
from holosoma_jax.runs import pretrained, saved_steps
from holosoma_jax.training import run_state
from tests.support.checkpoints import STEP, g1_fast_sac_run  # noqa: F401


@pytest.fixture(scope="module")
def shipped(g1_fast_sac_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A package's folder of policies that holds 'walker'."""
    folder = tmp_path_factory.mktemp("pretrained")
    stripping.strip(str(g1_fast_sac_run), folder / "walker")
    return folder


@pytest.fixture
def named(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The policy's name; the working directory is empty."""
    monkeypatch.setattr(pretrained, "folder", lambda: shipped)
    monkeypatch.chdir(tmp_path)
    return "pretrained:walker"


def test_it_acts_as_the_run_does(named: str, g1_fast_sac_run: Path) -> None:  # noqa: F811
    acting = []
    for name in (named, str(g1_fast_sac_run)):
        source = policies.find(name)
        cfg = exporting.bench(compose.from_mapping(source.config, name))
        parts = experiment.build(cfg, evaluation=True)
        acting.append(source.policy(parts).act(parity_observations(100, 32)))
        parts.bridge.close()
    np.testing.assert_array_equal(*acting)


def test_it_holds_nothing_of_where_it_was_made(shipped: Path, g1_fast_sac_run: Path) -> None:  # noqa: F811
    text = (shipped / "walker" / "checkpoints" / str(STEP) / "meta.json").read_text()
    assert str(g1_fast_sac_run.parent) not in text
    assert json.loads(text)["config"]["training"]["output_dir"] == "logs"


def test_export_and_eval_write_below_the_working_directory(named: str, shipped: Path, tmp_path: Path) -> None:
    before = sorted(shipped.rglob("*"))
    assert export.main(["--checkpoint", named]) == 0
    assert onnx_policy.load(tmp_path / "logs/pretrained/walker/exported/7.onnx").iteration == STEP
    few = [
        "simulator:mujoco",
        "--training.num-envs",
        "8",
        "--training.max-eval-steps",
        "3",
        "--pictures",
        "False",
    ]
    assert evaluation.main(["--checkpoint", named, *few, "--commands", "sweep"]) == 0
    record = json.loads((tmp_path / "logs/pretrained/walker/eval/7.json").read_text())
    assert record["policy"].startswith(named) and len(record["scores"]["groups"]) == 8
    assert sorted(shipped.rglob("*")) == before


def test_replay_shows_what_it_does(named: str, tmp_path: Path) -> None:
    argv = ["--checkpoint", named, "--length-s", "0.1", "--velocity", "0.3", "0", "0", "--pictures", "False"]
    assert replay.main(argv) == 0
    found = recording_file.read(tmp_path / "logs/pretrained/walker/replay/7.npz")
    assert found.num_frames == 5
    np.testing.assert_allclose(found.arrays["command"], np.tile(np.float32([0.3, 0, 0]), (5, 1)))


@pytest.mark.slow
def test_a_new_run_begins_with_it(named: str) -> None:
    path = saved_steps.resolve(pretrained.find(named))
    source = policies.find(named)
    cfg = compose.load(
        ["simulator:mujoco", "--training.num-envs=2", "--algo.config.buffer-size=8"], base=source.config
    )
    setup = experiment.build(cfg)
    _, state = run_state.create_or_restore(setup, warm=path)
    obs = parity_observations(100, 4)
    np.testing.assert_allclose(
        setup.learner.mode(state.learner, obs), source.policy(setup).act(obs), rtol=1e-5, atol=1e-6
    )
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(jax.device_get(state.learner)))
    setup.bridge.close()


def test_a_name_that_is_not_there_is_one_line(named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        evaluation.main(["--checkpoint", "pretrained:walkr"])
    err = capsys.readouterr().err
    assert end.value.code == 2 and err.count("\n") == 1
    assert "'pretrained:walkr'" in err and "'walker'" in err
    with pytest.raises(ConfigError, match="pretrained:runner"):
        policies.find("pretrained:runner")
