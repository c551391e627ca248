"""`python -m holosoma_jax.eval` from its command line to its files."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from holosoma_jax import eval as command
from holosoma_jax import experiment
from holosoma_jax.config import compose
from holosoma_jax.config.schema.evaluation import EvalArgs
from holosoma_jax.evaluation import session, sweep
from holosoma_jax.learn import ppo
from holosoma_jax.policy import onnx, onnx_metadata, policies
from holosoma_jax.render import recording_file
from holosoma_jax.runs import checkpoint
from tests.support.checkpoints import g1_run  # noqa: F401
from tests.support.messages import tells
from tests.support.policy_file import PolicyFile
from tests.support.wandb_runs import Api

SMALL = ["--training.num-envs=2", "--training.max-eval-steps=10", "--pictures=False"]


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that the command prints before it exits with 2."""
    try:
        code = command.main([*arguments, *SMALL])
    except SystemExit as stopped:
        code = stopped.code
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and len(lines) == 1, lines
    return lines[0].removeprefix("error: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--checkpoint is missing"),
        (["--checkpoint=nowhere"], "--checkpoint: no such folder: nowhere."),
        (["--checkpoint=nowhere.onnx"], "nowhere.onnx: no such file."),
        (["--checkpoint=x", "--mode=cleen"], "--mode: ... 'cleen' ... clean, train_like, stress"),
        (["--checkpoint=x", "--velocity=[1,0]"], "--velocity: ... '[1,0]' ... 3 numbers"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert tells(failure(capsys, *arguments), expected)


def test_a_truncated_file_is_one_line(capsys: pytest.CaptureFixture[str], policy_file: PolicyFile) -> None:
    file = policy_file()
    file.write_bytes(file.read_bytes()[:500])
    assert "not an ONNX file, or cut short" in failure(capsys, f"--checkpoint={file}")


def test_the_config_belongs_to_the_policy(
    capsys: pytest.CaptureFixture[str], policy_file: PolicyFile
) -> None:
    line = failure(capsys, f"--checkpoint={policy_file()}", "exp:g1-29dof")
    assert line.startswith("exp:g1-29dof: ")


def test_a_folder_that_cannot_be_written_is_seen_first(
    capsys: pytest.CaptureFixture[str], policy_file: PolicyFile
) -> None:
    file = policy_file()
    line = failure(capsys, f"--checkpoint={file}", f"--output={file}/below")
    assert line.startswith(f"{file}/below/policy.json cannot be written (")


def test_a_failed_evaluation_leaves_earlier_results(
    capsys: pytest.CaptureFixture[str], policy_file: PolicyFile
) -> None:
    earlier = policy_file().parent / "eval" / "policy.json"
    earlier.parent.mkdir()
    earlier.write_text("earlier")
    failure(capsys, f"--checkpoint={policy_file()}", "--robot.asset=t1")
    assert [path.name for path in earlier.parent.iterdir()] == ["policy.json"]
    assert earlier.read_text() == "earlier"


def test_a_misspelt_flag_suggests_the_right_one(
    capsys: pytest.CaptureFixture[str], policy_file: PolicyFile
) -> None:
    line = failure(capsys, f"--checkpoint={policy_file()}", "--velocty=[1,0,0]")
    assert line.startswith("--velocty: ") and "--velocity" in line


def test_another_robot_is_refused(capsys: pytest.CaptureFixture[str], policy_file: PolicyFile) -> None:
    line = failure(capsys, f"--checkpoint={policy_file()}", "--robot.asset=t1")
    assert "not for the 29 of robot 't1'" in line


def test_other_observations_are_refused(capsys: pytest.CaptureFixture[str], policy_file: PolicyFile) -> None:
    longer = "--observation.groups.actor-obs.history-length=2"
    line = failure(capsys, f"--checkpoint={policy_file()}", longer)
    assert "100 observations" in line
    line = failure(capsys, f"--checkpoint={policy_file(obs_dim=300)}")
    assert "--observation.groups.actor_obs.history-length=3" in line
    line = failure(capsys, f"--checkpoint={policy_file(obs_dim=154)}")
    assert "--policy.observation-names" in line


def test_a_changed_scale_is_refused_where_the_file_states_it(
    capsys: pytest.CaptureFixture[str], policy_file: PolicyFile
) -> None:
    from tests.policy.test_policies import layout

    file = policy_file(observation_layout=layout())
    line = failure(capsys, f"--checkpoint={file}", "--observation.groups.actor-obs.terms.dof-vel.scale=1.0")
    assert tells(line, "'dof_vel' ... scale 0.05) ... 'dof_vel' ... scale 1)")


def test_a_policy_of_holosoma_is_scored(capsys: pytest.CaptureFixture[str], policy_file: PolicyFile) -> None:
    file = policy_file()
    assert command.main([f"--checkpoint={file}", "--velocity=[0.4,0,-1.5]", *SMALL]) == 0
    out = capsys.readouterr().out
    notes = [line for line in out.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1 and tells(notes[0], "note: --velocity: ang_vel_yaw -1.5 ... -1 to 1")
    record = json.loads((file.parent / "eval" / "policy.json").read_text())
    assert {"survival", "velocity error, horizontal", "tracking_lin_vel"} <= {
        line.strip().split("  ")[0] for line in out.splitlines()
    }
    assert (record["robot"], record["simulator"], record["terrain"]) == ("g1", "mujoco", "plane")
    assert (record["num_envs"], record["steps"], record["control_dt"]) == (2, 10, 0.02)
    assert record["velocity"] == [0.4, 0.0, -1.5]
    assert record["scores"]["survival_rate"] == 1.0
    assert record["scores"]["episode_length_s"] == pytest.approx(0.2)
    assert set(record["scores"]["first"]) == set(record["units"])


def test_a_sweep_scores_eight_commands_apart(
    capsys: pytest.CaptureFixture[str], policy_file: PolicyFile
) -> None:
    file = policy_file()
    assert "leave one of them out" in failure(
        capsys, f"--checkpoint={file}", "--commands=sweep", "--velocity=[1,0,0]"
    )
    argv = [f"--checkpoint={file}", "--commands=sweep", "--training.num-envs=8", *SMALL[1:]]
    assert command.main(argv) == 0
    out = capsys.readouterr().out
    record = json.loads((file.parent / "eval" / "policy.json").read_text())
    groups = record["scores"]["groups"]
    assert list(groups) == list(sweep.COMMANDS) == list(record["commands"])
    assert all(name in out for name in sweep.COMMANDS)
    assert groups["stand"]["first"]["drift_x"] is not None
    assert groups["forward 1.0"]["first"]["drift_x"] is None
    assert groups["forward 1.0"]["first"]["lin_vel_error"] > groups["stand"]["first"]["lin_vel_error"]


def test_a_config_is_taken_for_a_file_that_brings_none(policy_file: PolicyFile, tmp_path: Path) -> None:
    cfg = compose.load(["exp:g1-29dof", "terrain:terrain-locomotion-plane", "--training.seed=77"])
    saved = compose.save_yaml(cfg, tmp_path / "mine.yaml")
    file = policy_file()
    argv = [f"--checkpoint={file}", f"--config={saved}", "simulator:mujoco", *SMALL]
    assert command.main(argv) == 0
    assert json.loads((file.parent / "eval" / "policy.json").read_text())["seed"] == 77


@pytest.mark.slow
def test_the_clock_never_cuts_an_evaluation(policy_file: PolicyFile) -> None:
    # Episodes of 0.1 s would end after 5 steps; 12 steps are asked for, in which nobody falls.
    source = policies.find(str(policy_file()))
    cfg = compose.load(
        [
            "--training.num-envs=2",
            "--training.max-eval-steps=12",
            "--simulator.config.sim.max-episode-length-s=0.1",
        ],
        session.saved_config(source),
    )
    scores = session.run(cfg, EvalArgs(), source)["scores"]
    assert scores["survival_rate"] == 1.0
    assert scores["episode_length_s"] == pytest.approx(12 * 0.02)


@pytest.mark.slow
def test_a_checkpoint_and_its_onnx_file_score_alike(tmp_path: Path) -> None:
    cfg = compose.load(
        [
            "exp:g1-29dof",
            "terrain:terrain-locomotion-plane",
            "--training.num-envs=2",
            "--algo.config.actor-hidden=[32]",
            "--algo.config.critic-hidden=[16]",
        ]
    )
    parts = experiment.build(cfg)
    learner = ppo.init(jax.random.key(5), parts.learner_spec, cfg.algo.config)
    saved = compose.to_mapping(cfg)
    meta = checkpoint.Meta(
        step=7, robot="g1", simulator="mujoco", num_envs=2, seed=0, elapsed_s=0.0, config=saved
    )
    checkpoint.save(tmp_path / "checkpoints", {"learner": learner}, meta)
    stated = onnx_metadata.policy_metadata(saved, parts.robot, parts.env.spec, 7)
    onnx.export_policy(tmp_path / "7.onnx", lambda obs: ppo.mode(learner, obs), 100, 29, stated)
    parts.bridge.close()

    records = []
    for policy in (tmp_path, tmp_path / "7.onnx"):
        assert command.main([f"--checkpoint={policy}", f"--output={tmp_path / 'out'}", *SMALL]) == 0
        records.append(json.loads((tmp_path / "out" / "7.json").read_text()))
    ours, exported = records
    assert ours.pop("policy") != exported.pop("policy")
    a, b = ours.pop("scores"), exported.pop("scores")
    assert ours == exported
    for group in ("first", "rewards_per_second"):
        # None, here NaN: an axis on which nobody is told 0.
        one, other = (np.array(list(scores[group].values()), float) for scores in (a, b))
        np.testing.assert_allclose(one, other, rtol=1e-3)


def test_a_policy_at_wandb_is_downloaded_and_scored(
    capsys: pytest.CaptureFixture[str],
    policy_file: PolicyFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("HOLOSOMA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    api = Api({"policies/5.onnx": policy_file().read_bytes()})
    monkeypatch.setattr(wandb, "Api", lambda **_: api)
    assert command.main(["--checkpoint=wandb://me/walks/abc123/policies/5.onnx", *SMALL]) == 0
    assert "Downloading policies/5.onnx of me/walks/abc123" in capsys.readouterr().out
    assert api.downloads == ["policies/5.onnx"]  # once, though config and policy both need it
    record = json.loads((tmp_path / "logs/wandb/me/walks/abc123/eval/5.json").read_text())
    assert record["num_envs"] == 2


@pytest.mark.parametrize("path", ["logs/model_00100.pt", "wandb://me/walks/abc123/model_00100.pt"])
def test_a_checkpoint_of_pytorch_is_one_line(capsys: pytest.CaptureFixture[str], path: str) -> None:
    assert "pass the .onnx file" in failure(capsys, f"--checkpoint={path}")  # nothing is downloaded


@pytest.mark.slow
def test_everything_that_an_evaluation_can_leave(
    capsys: pytest.CaptureFixture[str],
    g1_run: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    # The checkpoint comes from a simulator that is not here; the group choice takes its place.
    argv = [
        f"--checkpoint={g1_run}",
        "simulator:mujoco",
        "--randomization.ignore-unsupported=True",
        "--training.num-envs=2",
        "--training.max-eval-steps=30",
        "--training.export-onnx=True",
        "--velocity=[0.4,0.1,-0.2]",
        f"--record={tmp_path / 'walk.npz'}",
    ]
    assert command.main(argv) == 0
    out = capsys.readouterr().out
    assert f"python -m holosoma_jax.replay {tmp_path / 'walk.npz'}" in out
    assert (g1_run / "eval" / "7-velocity.png").is_file()
    assert (g1_run / "exported" / "7.onnx").is_file()
    assert (g1_run / "eval" / "7-frames.png").is_file() or "no picture of the robot:" in out
    walk = recording_file.read(tmp_path / "walk.npz")
    assert (walk.num_frames, walk.robot) == (30, "g1")
    np.testing.assert_allclose(walk.arrays["command"], np.tile([0.4, 0.1, -0.2], (30, 1)), rtol=1e-6)
    # The recorded motion is one: positions are the integral of velocities, quaternions have unit length.
    steps = np.diff(walk.arrays["root_pos"], axis=0)[2:20]
    np.testing.assert_allclose(steps, 0.02 * walk.arrays["root_lin_vel"][3:21], atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(walk.arrays["root_quat"], axis=1), 1.0, atol=1e-4)


def test_outputs_that_cannot_be_made_are_seen_first(
    capsys: pytest.CaptureFixture[str], policy_file: PolicyFile
) -> None:
    file = policy_file()
    assert "wanted a file that ends in .npz" in failure(capsys, f"--checkpoint={file}", "--record=walk.csv")
    line = failure(capsys, f"--checkpoint={file}", "--training.export-onnx=True")
    assert line.startswith("--training.export-onnx: ") and "is an ONNX file already" in line
