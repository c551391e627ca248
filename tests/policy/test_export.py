"""`python -m holosoma_jax.export`: a checkpoint in, a file for the robot out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from holosoma_jax import export as command
from holosoma_jax import robots
from holosoma_jax.policy import deployment, onnx_policy
from tests.robots.test_urdf import read_back
from tests.support.checkpoints import g1_run  # noqa: F401
from tests.support.messages import tells


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    try:
        code = command.main([str(a) for a in argv])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def exported(g1_run: Path) -> Path:  # noqa: F811
    assert command.main(["--checkpoint", str(g1_run)]) == 0
    return g1_run / "exported" / "7.onnx"


def metadata(path: Path) -> dict[str, str]:
    return {item.key: item.value for item in onnx.load(path).metadata_props}


def test_the_deployment_program_takes_it(exported: Path):
    assert deployment.problems(exported) == []
    file = onnx_policy.load(exported)
    assert (file.iteration, file.action_dim, file.dof_names) == (7, 29, robots.load("g1").joint_names)


def test_metadata_is_complete(exported: Path):
    meta = {key: json.loads(value) for key, value in metadata(exported).items()}
    reference = {
        "dof_names",
        "kp",
        "kd",
        "action_scale",
        "command_ranges",
        "robot_urdf",
        "observation_layout",
    }
    reference |= {"observation_clip", "experiment_config", "iteration"}
    ours = {
        "default_joint_pos",
        "torque_limit",
        "action_clip",
        "control_dt",
        "sha256",
        "robot",
        "units",
        "holosoma_jax_version",
    }
    assert set(meta) == reference | ours  # wandb_run_path: only where there is one
    assert meta["command_ranges"]["lin_vel_x"] == [-1.0, 1.0]
    assert meta["action_clip"] == 100.0
    assert meta["experiment_config"]["simulator"]["name"] == "isaacgym"  # what it was trained with
    assert read_back(meta["robot_urdf"]).njnt == 30


def test_no_path_of_this_machine(exported: Path, g1_run: Path):  # noqa: F811
    data = exported.read_bytes()
    for secret in (g1_run, Path.home(), Path(command.__file__).parents[1]):
        assert str(secret).encode() not in data


def test_the_summary_says_what_is_in_it(exported: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    target = tmp_path / "mine.onnx"
    code, out, err = run(
        capsys, "--checkpoint", exported.parents[1], "--output", target, "--include-config=False"
    )
    assert (code, err) == (0, "")
    assert "g1, 29 joints" in out and f"written to {target}" in out
    assert "takes it as it is" in out
    assert "experiment_config" not in metadata(target)


def test_any_number_of_rows(exported: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    target = tmp_path / "many.onnx"
    code, out, _ = run(capsys, "--checkpoint", exported.parents[1], "--output", target, "--batch=any")
    assert code == 0
    assert tells(out, "note: ... 'actor_obs' ... [any, 100] ... [1, n]")
    rows = np.random.default_rng(0).standard_normal((5, 100)).astype(np.float32)
    np.testing.assert_allclose(onnx_policy.load(target)(rows), onnx_policy.load(exported)(rows), atol=1e-5)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "--checkpoint is missing"),
        (["--checkpoint=nowhere"], "--checkpoint: no such folder: nowhere."),
        (["--checkpont=x"], "Did you mean --checkpoint?"),
        (["--checkpoint=x", "exp:g1-29dof"], "exp:g1-29dof: "),
        (["--checkpoint=x", "--output=x.pt"], ".onnx"),
        (["--checkpoint=x", "--batch=2"], "--batch: got '2'; wanted one of 1, any."),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], argv: list[str], expected: str):
    code, _, err = run(capsys, *argv)
    assert code == 2 and len(err.strip().splitlines()) == 1
    assert expected in err


def test_an_onnx_file_is_refused(exported: Path, capsys: pytest.CaptureFixture[str]):
    code, _, err = run(capsys, "--checkpoint", exported)
    assert code == 2 and str(exported) in err


def test_an_unwritable_target(exported: Path, capsys: pytest.CaptureFixture[str]):
    target = exported / "below" / "x.onnx"
    code, _, err = run(capsys, "--checkpoint", exported.parents[1], "--output", target)
    assert code == 2 and "cannot be written" in err


def changed(source: Path, target: Path, **metadata: str | None) -> Path:
    """A copy of a policy file with other metadata; None takes a key out."""
    model = onnx.load(source)
    kept = [item for item in model.metadata_props if item.key not in metadata]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    for key, value in metadata.items():
        if value is not None:
            model.metadata_props.add(key=key, value=value)
    onnx.save(model, target)
    return target


def layout(terms: Sequence[tuple[str, int]]) -> str:
    """Metadata that lists these terms."""
    return json.dumps([{"name": name, "dim": dim, "history_length": 1} for name, dim in terms])


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"note": "plain text"}, "metadata 'note' is not JSON"),
        ({"kp": None}, "metadata 'kp' has none, wanted 29"),
        ({"kd": "[1.0, 2.0]"}, "metadata 'kd' has 2 entries, wanted 29"),
        ({"action_scale": "0.5"}, "0.25 rad per unit of action"),
        ({"control_dt": "0.01"}, "it acts every 0.02 s"),
        ({"observation_layout": '[{"name": "actions", "dim": 29, "history_length": 1}]'}, "other terms"),
        ({"observation_layout": '[{"name": "actions"}]'}, "other terms"),
        ({"observation_layout": layout(deployment.TERMS[::-1])}, "another order"),
        ({"observation_layout": layout((*deployment.TERMS, deployment.TERMS[0]))}, "another order"),
    ],
)
def test_what_the_deployment_program_would_not_take(
    exported: Path, tmp_path: Path, metadata: dict[str, str | None], expected: str
):
    found = deployment.problems(changed(exported, tmp_path / "x.onnx", **metadata))
    assert len(found) == 1 and expected in found[0]


def test_a_scale_that_the_program_has_built_in(exported: Path, tmp_path: Path):
    layout = json.loads(metadata(exported)["observation_layout"])
    (term,) = (term for term in layout if term["name"] == "dof_vel")
    term["scale"] = 0.1
    found = deployment.problems(changed(exported, tmp_path / "x.onnx", observation_layout=json.dumps(layout)))
    assert len(found) == 1 and all(part in found[0] for part in ("'dof_vel'", "0.05", "0.1"))


def test_a_scale_that_the_file_leaves_open(exported: Path, tmp_path: Path):
    layout = json.loads(metadata(exported)["observation_layout"])
    (term,) = (term for term in layout if term["name"] == "dof_vel")
    term["scale"] = None
    found = deployment.problems(changed(exported, tmp_path / "x.onnx", observation_layout=json.dumps(layout)))
    assert len(found) == 1 and all(part in found[0] for part in ("'dof_vel'", "0.05", "None"))


def test_a_longer_history_has_to_be_set_there_too(exported: Path, tmp_path: Path):
    layout = json.loads(metadata(exported)["observation_layout"])
    for term in layout:
        term["history_length"] = 4
    found = deployment.problems(changed(exported, tmp_path / "x.onnx", observation_layout=json.dumps(layout)))
    assert len(found) == 1 and "history" in found[0] and "4 frames" in found[0]
