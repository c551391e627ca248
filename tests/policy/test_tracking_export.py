"""Exports of a policy that tracks motions, in both signatures: what is in them, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from holosoma_jax import envs, experiment
from holosoma_jax import export as command
from holosoma_jax.config import compose
from holosoma_jax.evaluation import perturbations
from holosoma_jax.motion import reading
from holosoma_jax.motion.formats.policy_graph import HOLOSOMA, MJLAB, at_frame
from holosoma_jax.policy import deployment, onnx_policy, policies
from tests.policy.test_export import changed, run
from tests.support.checkpoints import g1_run as g1_run
from tests.support.checkpoints import write_run
from tests.support.tracking import KEY

CLIPS = {"g1_squat": 400, "g1_arm_waves": 600}


@pytest.fixture(scope="module")
def tracking_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two clips; its policy is not trained."""
    small = ["--algo.config.actor-hidden=[32]", "--algo.config.critic-hidden=[16]"]
    folder = tmp_path_factory.mktemp("runs") / "20260102_030405-g1-wbt"
    return write_run(folder, "g1-29dof-wbt", [*small, f"{KEY}motion-dir={','.join(CLIPS)}"])


@pytest.fixture(scope="module")
def exported(tracking_run: Path) -> dict[str, Path]:
    paths = {name: tracking_run / f"{name}.onnx" for name in ("holosoma", "mjlab")}
    for name, path in paths.items():
        argv = ["--checkpoint", str(tracking_run), "--output", str(path), "--signature", name]
        assert command.main(argv) == 0
    return paths


def metadata(path: Path) -> dict[str, str]:
    return {item.key: item.value for item in onnx.load(path).metadata_props}


@pytest.mark.parametrize(("signature", "outputs"), [("holosoma", HOLOSOMA), ("mjlab", MJLAB)])
def test_signatures(exported: dict[str, Path], signature: str, outputs: tuple[str, ...]) -> None:
    session = onnx_policy.make_session(exported[signature].read_bytes())
    assert [i.name for i in session.get_inputs()] == ["obs", "time_step"]
    assert [o.name for o in session.get_outputs()] == ["actions", *outputs]
    shapes = {o.name: o.shape for o in session.get_outputs()}
    if signature == "mjlab":
        assert shapes["body_pos_w"] == [1, 14, 3] and shapes["body_quat_w"] == [1, 14, 4]
    # held at both ends
    first, last = (at_frame(session, frame, outputs) for frame in (0, sum(CLIPS.values()) - 1))
    for frame, expected in ((-5, first), (10_000, last)):
        found = at_frame(session, frame, outputs)
        for name in outputs:
            np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("signature", ["holosoma", "mjlab"])
def test_clips_are_read_back_one_by_one(exported: dict[str, Path], signature: str) -> None:
    found = reading.read_all(exported[signature])
    assert {clip.name: clip.num_frames for clip in found} == CLIPS
    for clip in found:
        ours = reading.read(clip.name)
        np.testing.assert_allclose(clip.joint_pos, ours.joint_pos, atol=1e-6)
        np.testing.assert_allclose(clip.body_pos, ours.body_pos, atol=1e-5)


def test_mjlab_is_spoken_in_its_words(exported: dict[str, Path]) -> None:
    meta = metadata(exported["mjlab"])
    names = "actions,base_ang_vel,joint_pos,joint_vel,command,motion_anchor_ori_b"
    assert meta["observation_names"] == names
    assert meta["joint_names"].split(",")[0] == "left_hip_pitch_joint"
    assert meta["anchor_body_name"] == "torso_link" and meta["body_names"].split(",")[0] == "pelvis"
    for key in ("joint_stiffness", "joint_damping", "default_joint_pos", "action_scale"):
        assert len([float(part) for part in meta[key].split(",")]) == 29
    assert json.loads(meta["kp"]) == [float(part) for part in meta["joint_stiffness"].split(",")]


def test_both_act_alike_and_need_no_motion_file(exported: dict[str, Path]) -> None:
    actions = {}
    for name, path in exported.items():
        source = policies.find(str(path))
        cfg = compose.load(["simulator:mujoco", "--training.num-envs=2"], base=source.config)
        cfg = envs.task_of(cfg).perturb(cfg, perturbations.MODES["clean"])
        setup = experiment.build(cfg, evaluation=True, adapt=source.adapt)
        setup.bridge.close()
        assert setup.env.task.cases(setup.env) == tuple(CLIPS)
        obs = np.random.default_rng(0).standard_normal((2, setup.env.spec.obs_dims["actor_obs"]))
        actions[name] = np.asarray(source.policy(setup).act(obs.astype(np.float32)))
    np.testing.assert_allclose(actions["holosoma"], actions["mjlab"], atol=1e-6)


def test_the_deployment_program_of_tracking(exported: dict[str, Path], tmp_path: Path) -> None:
    found = deployment.problems(exported["holosoma"])
    assert len(found) == 1 and "2 clips" in found[0]
    assert any("--signature holosoma" in line for line in deployment.problems(exported["mjlab"]))


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({"robot_urdf": None}, "robot_urdf"),
        ({"anchor_body_name": '"pelvis"'}, "pelvis"),
        ({"action_clip": "5.0"}, "5"),
        ({"control_dt": "0.01"}, "0.01"),
        ({"kp": "[1.0]"}, "'kp'"),
    ],
)  # fmt: skip
def test_what_the_program_would_do_otherwise(
    exported: dict[str, Path], tmp_path: Path, meta: dict[str, Any], expected: str
) -> None:
    found = deployment.problems(changed(exported["holosoma"], tmp_path / "x.onnx", **meta))
    assert len(found) == 2 and any(expected in line for line in found)


def test_terms_and_the_clips_end(exported: dict[str, Path], tmp_path: Path) -> None:
    layout = json.loads(metadata(exported["holosoma"])["observation_layout"])
    layout[0]["history_length"], layout[1]["scale"] = 2, 0.25
    path = changed(exported["holosoma"], tmp_path / "x.onnx", observation_layout=json.dumps(layout))
    model = onnx.load(path)
    table = next(t for t in model.graph.initializer if t.name == "motion/joint_vel")
    table.CopyFrom(onnx.numpy_helper.from_array(np.full((1000, 29), 3.0, np.float32), table.name))
    onnx.save(model, path)
    text = " ".join(deployment.problems(path))
    assert "2 frames" in text and "base_ang_vel" in text and "3.0 rad/s" in text


def test_the_summary_names_the_clips(
    exported: dict[str, Path], tracking_run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, err = run(capsys, "--checkpoint", tracking_run, "--output", tmp_path / "x.onnx")
    assert (code, err) == (0, "")
    for part in ("time_step", "ref_quat_xyzw", "g1_squat, g1_arm_waves: 1000 frames, 20 s", "torso_link"):
        assert part in out


def test_a_walking_policy_has_one_signature(g1_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--checkpoint", g1_run, "--signature", "mjlab")
    assert code == 2 and "--signature" in err and len(err.strip().splitlines()) == 1
