"""A learner and losses of one's own, in `outside`: named on the command line, with nothing in the package edited."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax import eval as evaluating
from holosoma_jax import export, train
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.experiment import load_learner
from holosoma_jax.learn.learner import Learner
from holosoma_jax.learn.ppo.record import LEARNER as PPO
from holosoma_jax.policy import onnx_policy
from holosoma_jax.runs import checkpoint
from holosoma_jax.training import session
from tests.extensions.outside import policy_gradient
from tests.support import toy
from tests.support.child import arguments, fast_sac_arguments

ADDRESS = "tests.extensions.outside.policy_gradient:LEARNER"
ALLOW = ["--allow-code", "tests.extensions.outside"]


def own(output: Path, *more: str) -> list[str]:
    """A small run of the learner on the command line."""
    argv = [f"--training.output-dir={output}", "--training.project=toy", "--logger.video.enabled=False"]
    choices = ["exp:g1-29dof", f"algo:{ADDRESS}", "terrain:terrain-locomotion-plane", "simulator:mujoco"]
    return [*choices, "logger:console", *argv, *more]


def rows(run: Path) -> list[dict[str, float]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.startswith("Perf/")} for line in lines]


@pytest.fixture
def toys(monkeypatch):
    """The toy robot in the place of a simulator."""
    monkeypatch.setattr(session, "build", toy.setup)


def test_it_learns_and_resumes_bit_for_bit(toys, tmp_path, capsys):
    small = ["--training.num-envs=16", "--training.export-onnx=False", "--algo.config.num-steps-per-env=8"]
    small += ["--algo.config.save-interval=5"]
    assert train.main([*own(tmp_path / "a", *small), "--algo.config.num-learning-iterations=10"]) == 0
    (straight,) = (tmp_path / "a" / "toy").iterdir()
    assert "policy loss" in capsys.readouterr().out
    assert train.main([*own(tmp_path / "b", *small), "--algo.config.num-learning-iterations=5"]) == 0
    (parts,) = (tmp_path / "b" / "toy").iterdir()
    more = ["--training.checkpoint", str(parts), "--algo.config.num-learning-iterations=10"]
    with pytest.raises(SystemExit):  # what a saved config names is not imported unasked
        train.main(more)
    assert "--allow-code" in capsys.readouterr().err
    assert train.main([*more, *ALLOW]) == 0
    assert rows(parts) == rows(straight)
    files = [checkpoint.read_meta(run / "checkpoints" / "10") for run in (straight, parts)]
    setup = toy.setup(compose.from_mapping(files[0].config, allow_code=ALLOW[1:]))
    fresh = setup.learner.init(np.array([0, 0], np.uint32), setup.learner_spec, setup.cfg.algo.config)
    one, two = (checkpoint.load(r / "checkpoints" / "10", {"learner": fresh}) for r in (straight, parts))
    np.testing.assert_array_equal(one["learner"].weight, two["learner"].weight)
    assert np.abs(one["learner"].weight).max() > 0.05


def test_settings_are_checked_by_the_record(capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        train.main(own(tmp_path, "--algo.config.gamma=1.5"))
    assert stopped.value.code == 2
    assert "--algo.config.gamma: got '1.5'" in capsys.readouterr().err


@pytest.mark.slow
def test_it_is_trained_evaluated_and_exported_on_the_g1(tmp_path):
    """All four commands, in MuJoCo."""
    small = ["--training.num-envs=2", "--algo.config.num-steps-per-env=4"]
    assert train.main([*own(tmp_path, *small), "--algo.config.num-learning-iterations=2"]) == 0
    (run,) = (tmp_path / "toy").iterdir()
    assert sorted(p.name for p in (run / "policies").iterdir()) == ["2.onnx", "latest.onnx"]
    again = ["--training.checkpoint", str(run), "--algo.config.num-learning-iterations=3", *ALLOW]
    assert train.main(again) == 0
    short = ["--training.max-eval-steps=10", "--training.num-envs=2", "--pictures=False"]
    assert evaluating.main(["--checkpoint", str(run), *ALLOW, *short]) == 0
    scores = json.loads((run / "eval" / "3.json").read_text())["scores"]
    assert scores["survival_rate"] == 1.0
    assert export.main(["--checkpoint", str(run), *ALLOW]) == 0
    file = onnx_policy.load(run / "exported" / "3.onnx")
    obs = np.random.default_rng(0).normal(size=(1, file.obs_dim)).astype(np.float32)
    trained = onnx_policy.load(run / "policies" / "3.onnx")
    np.testing.assert_allclose(file(obs), trained(obs), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "loss", "metric"),
    [
        (arguments, "small_actions", "Loss/action_size"),
        pytest.param(fast_sac_arguments, "HALVED", "Loss/halved", marks=pytest.mark.slow),
    ],
)
def test_a_loss_from_the_command_line(toys, tmp_path, make, loss, metric):
    argv = make(tmp_path, **{"algo.loss": f"tests.extensions.outside.losses:{loss}"})
    assert train.main(argv) == 0
    (run,) = (tmp_path / "toy").iterdir()
    assert np.isfinite(rows(run)[-1][metric])


@pytest.mark.parametrize(
    ("algo", "loss", "message"),
    [
        ("ppo", "policy_gradient:mode", r"algo.loss: got mode.*params, minibatch, hyper, static"),
        ("ppo", "losses:HALVED", r"algo.loss: got Losses"),
        ("fast-sac", "losses:small_actions", r"algo.loss: got small_actions; .*Losses"),
        ("ppo", "losses:no_such", r"algo.loss: .*has no 'no_such'"),
    ],
)
def test_a_loss_that_does_not_fit_is_one_line(algo, loss, message):
    preset = "exp:g1-29dof" + "-fast-sac" * (algo == "fast-sac")
    cfg = compose.load([preset, f"--algo.loss=tests.extensions.outside.{loss}"])
    with pytest.raises(ConfigError, match=message) as error:
        load_learner(cfg)
    assert "\n" not in str(error.value)


def test_a_learner_may_take_no_loss():
    with pytest.raises(ConfigError, match=r"algo\.loss: .*'policy_gradient'"):
        policy_gradient.LEARNER.replace_loss(len, "algo.loss")


def test_a_record_that_lacks_something_says_so():
    with pytest.raises(ValueError, match=r"'ppo'.*off_policy.*`replay`"):
        replace(PPO, kind="off_policy")
    with pytest.raises(ValueError, match="num_learning_iterations, save_interval, num_steps"):
        replace(policy_gradient.LEARNER, config=type(compose.load(["exp:g1-29dof"]).viewer))
    assert isinstance(PPO, Learner)
