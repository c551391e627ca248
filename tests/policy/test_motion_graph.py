"""A policy file with a motion clip in it: names, the clip at every frame, its ends, and reading it back."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.policy import motion_graph, onnx, onnx_policy
from tests.support.onnx_files import joint_names

FRAMES, OBS, ACTIONS = 5, 6, 29
META = {"dof_names": joint_names(ACTIONS), "kp": [1.0] * ACTIONS, "kd": [0.1] * ACTIONS}


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    widths = {"joint_pos": 29, "joint_vel": 29, "ref_pos_xyz": 3, "ref_quat_xyzw": 4}
    return {name: rng.standard_normal((FRAMES, n)).astype(np.float32) for name, n in widths.items()}


@pytest.fixture(scope="module")
def path(tmp_path_factory, tables):
    kernel = jnp.asarray(np.random.default_rng(1).standard_normal((OBS, ACTIONS)), jnp.float32)
    target = tmp_path_factory.mktemp("policy") / "policy.onnx"
    return onnx.export_policy(
        target,
        lambda obs: obs @ kernel,
        OBS,
        ACTIONS,
        META,
        tables=tables,
        input_name=motion_graph.INPUT_NAME,
        output_name=motion_graph.OUTPUT_NAME,
    )


def test_signature_of_holosoma(path):
    session = onnx_policy.make_session(path.read_bytes())
    assert {i.name: i.shape for i in session.get_inputs()} == {"obs": [1, OBS], "time_step": [1, 1]}
    shapes = {"actions": [1, 29], "joint_pos": [1, 29], "joint_vel": [1, 29]}
    assert {o.name: o.shape for o in session.get_outputs()} == shapes | {
        "ref_pos_xyz": [1, 3],
        "ref_quat_xyzw": [1, 4],
    }


@pytest.mark.parametrize(("frame", "row"), [(0, 0), (2.9, 2), (4, 4), (100, 4), (-1, 0), (-100, 0)])
def test_frames_are_cut_and_held_within_the_clip(path, tables, frame, row):
    session = onnx_policy.make_session(path.read_bytes())
    found = motion_graph.at_frame(session, frame, tuple(tables))
    for name, table in tables.items():
        np.testing.assert_array_equal(found[name], table[row])


def test_a_wrong_clip_is_noticed(path, tables):
    assert motion_graph.first_wrong(path.read_bytes(), tables) == ""
    other = tables | {"joint_vel": tables["joint_vel"] + np.eye(FRAMES, 29, dtype=np.float32)}
    assert "joint_vel" in motion_graph.first_wrong(path.read_bytes(), other)


def test_it_runs_on_many_rows(path):
    policy = onnx_policy.load(path)
    rows = np.random.default_rng(2).standard_normal((3, OBS)).astype(np.float32)
    one = np.concatenate([policy(row[None]) for row in rows])
    np.testing.assert_allclose(policy(rows), one, rtol=1e-5, atol=1e-6)
    assert policy.batched
