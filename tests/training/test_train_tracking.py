"""The tracking presets from the command line: trained, resumed exactly, evaluated, exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax import eval as evaluation
from holosoma_jax import train as training
from holosoma_jax.policy import motion_graph, onnx_policy
from tests.support.child import call, ended_at, last_row, sharing

SMALL = {
    "g1-29dof-wbt": ["--algo.config.num-learning-epochs=1", "--algo.config.save-interval=2"],
    "g1-29dof-wbt-fast-sac": [
        "--algo.config.save-interval=12",
        "--algo.config.logging-interval=6",
        "--algo.config.buffer-size=32",
        "--algo.config.batch-size=32",
        "--algo.config.actor-hidden-dim=32",
        "--algo.config.critic-hidden-dim=32",
        "--algo.config.save-buffer=True",
    ],
}
SMALL |= {f"{exp}-w-object": flags for exp, flags in SMALL.items()}
ON_A_SLOPE = "g1-29dof-wbt terrain:terrain-slope"
SMALL[ON_A_SLOPE] = [
    *SMALL["g1-29dof-wbt"],
    "--command.setup-terms.motion-command.params.motion-config.motion-file=g1_walk_slope",
]
LENGTH = {exp: (12, 24) if "fast-sac" in exp else (2, 4) for exp in SMALL}


def train(*argv: object) -> None:
    assert training.main([*map(str, argv)]) == 0


def final(folder: Path) -> dict[str, float]:
    """The last row of the only run's metrics."""
    (run,) = (folder / "WholeBodyTracking").iterdir()
    return last_row(run)


@pytest.mark.slow
@pytest.mark.parametrize("exp", SMALL)
def test_trained_resumed_exactly_evaluated_and_exported(
    exp: str, tmp_path: Path, program_cache: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Resumed in another process, from what the whole run had saved half-way."""
    half, whole = LENGTH[exp]
    common = [*f"exp:{exp}".split(), "--training.num-envs=8", "--logger.video.enabled=False", *SMALL[exp]]
    budget = f"--algo.config.num-learning-iterations={whole}"
    train(*common, budget, f"--training.output-dir={tmp_path / 'whole'}")
    (straight,) = (tmp_path / "whole" / "WholeBodyTracking").iterdir()
    run = ended_at(half, straight, tmp_path / "parts" / "WholeBodyTracking")
    call("train", f"--training.checkpoint={run}", environ=sharing(program_cache))
    ours, theirs = final(tmp_path / "parts"), final(tmp_path / "whole")
    assert ours == theirs
    assert all(np.isfinite(v) for v in ours.values() if v is not None)

    asked = ["--training.num-envs=2", "--training.max-eval-steps=5"]
    assert evaluation.main([f"--checkpoint={run}", *asked]) == 0
    out = capsys.readouterr().out
    assert "MPKPE" in out
    record = json.loads((run / "eval" / f"{whole}.json").read_text())
    assert record["scores"]["first"]["mpkpe"] > 0.0
    assert (record["scores"]["first"]["object_pos_error"] is not None) == exp.endswith("-w-object")

    policy = run / "policies" / "latest.onnx"
    session = onnx_policy.make_session(policy.read_bytes())
    found = motion_graph.at_frame(session, 1e6, ("joint_pos", "ref_quat_xyzw"))
    assert found["joint_pos"].shape == (29,)
    np.testing.assert_allclose(np.linalg.norm(found["ref_quat_xyzw"]), 1.0, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("exp", ["t1-29dof-wbt", "k1-22dof-wbt", "g1-29dof-wbt-cpu"])
def test_five_iterations_of_the_other_presets(exp: str, tmp_path: Path) -> None:
    """Every figure is finite, and the policy file, which is compared with JAX as it is written, is there."""
    small = ["--training.num-envs=8", "--algo.config.num-steps-per-env=8", "--logger.video.enabled=False"]
    train(
        f"exp:{exp}", *small, "--algo.config.num-learning-iterations=5", f"--training.output-dir={tmp_path}"
    )
    assert all(np.isfinite(v) for v in final(tmp_path).values() if v is not None)
    (run,) = (tmp_path / "WholeBodyTracking").iterdir()
    session = onnx_policy.make_session((run / "policies" / "latest.onnx").read_bytes())
    width = 22 if exp.startswith("k1") else 29
    assert motion_graph.at_frame(session, 3, ("actions",))["actions"].shape == (width,)


@pytest.mark.slow
@pytest.mark.parametrize("exp", ["g1-29dof-wbt-w-object", "g1-29dof-wbt-fast-sac"])
def test_on_mujoco_warp(exp: str, tmp_path: Path) -> None:
    """Each learner, one of them with the box: what differs between simulators is neither."""
    pytest.importorskip("mujoco_warp")
    few = ["--training.num-envs=8", "--logger.video.enabled=False", "--training.export-onnx=False"]
    if "fast-sac" not in exp:
        few.append("--algo.config.num-steps-per-env=6")
    count = f"--algo.config.num-learning-iterations={LENGTH[exp][0]}"
    train(f"exp:{exp}", "simulator:mjwarp", *few, *SMALL[exp], count, f"--training.output-dir={tmp_path}")
    last = final(tmp_path)
    assert all(np.isfinite(v) for v in last.values() if v is not None)
    assert last["Env/nonfinite"] == 0.0
