from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest

from holosoma_jax import __version__
from holosoma_jax.envs.env import EnvSpec, ObservationTerm
from holosoma_jax.policy import onnx as export
from holosoma_jax.policy import onnx_policy
from holosoma_jax.policy.foreign.metadata import decode
from holosoma_jax.policy.loaded import PolicyFileError
from holosoma_jax.policy.metadata_checks import check_metadata
from holosoma_jax.policy.onnx import OnnxParityError, export_policy, parity_error, parity_observations
from holosoma_jax.policy.onnx_metadata import encode, policy_metadata, strip_paths
from tests.support.messages import tells
from tests.support.stick_robot import stick_robot

OBS, JOINTS = 12, 4
NAMES = tuple(f"joint_{i}" for i in range(JOINTS))
CONFIG = {
    "training": {"output_dir": "/home/someone/logs", "checkpoint": "wandb://team/runs/ab12/model.onnx"},
    "robot": {"asset": "~/robots/mine", "tags": ["C:\\data\\x.yaml", "../up/y"]},
    "observation": {"clip_observations": 100.0},
}


def _term(
    name: str, dim: int, start: int, group: str = "actor_obs", history: int = 1, **kw
) -> ObservationTerm:
    return ObservationTerm(
        group=group, name=name, func=name, dim=dim, history_length=history, scale=kw.pop("scale", 1.0),
        noise=0.05, start=start, mirror_index=tuple(range(dim)), mirror_sign=(1.0,) * dim, **kw,
    )  # fmt: skip


def _spec() -> EnvSpec:
    layout = (
        _term("actions", JOINTS, 0),
        _term("dof_pos", JOINTS, 4, history=2, scale=0.5, params=(("degree", 3),)),
        _term("base_lin_vel", 3, 0, group="critic_obs"),
    )
    return EnvSpec(
        num_envs=2, action_dim=JOINTS, control_dt=0.02, max_episode_steps=1000, layout=layout,
        obs_dims={"actor_obs": OBS, "critic_obs": 3}, action_mirror_index=(0, 1, 2, 3),
        action_mirror_sign=(1.0,) * 4, reward_names=("alive",),
        command_ranges={"lin_vel_x": (-1.0, 1.0)}, clip_observations=100.0,
    )  # fmt: skip


def _metadata(**kw) -> dict:
    return policy_metadata(CONFIG, stick_robot(joint_names=NAMES), _spec(), 7, **kw)


class Mlp(nn.Module):
    """The shapes of both learners' actors: normaliser, layers with or without LayerNorm, squash."""

    widths: tuple[int, ...] = (512, 256, 128)
    outputs: int = JOINTS
    kind: str = "ppo"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.widths:
            x = nn.Dense(width)(x)
            x = nn.silu(nn.LayerNorm()(x)) if self.kind == "sac" else nn.elu(x)
        x = nn.Dense(self.outputs)(x)
        return 3.0 * jnp.tanh(x) if self.kind == "sac" else x


def _policy(kind: str = "ppo", obs: int = OBS, actions: int = JOINTS, seed: int = 0, gain: float = 1.0):
    net = Mlp(outputs=actions, kind=kind)
    params = jax.tree.map(lambda x: gain * x, net.init(jax.random.key(seed), jnp.zeros((1, obs))))
    mean, std = jnp.linspace(-1.0, 1.0, obs)[None], jnp.linspace(0.2, 2.0, obs)[None]
    return jax.jit(lambda x: net.apply(params, (x - mean) / (std + 0.01)))


def _load(path: Path) -> onnx.ModelProto:
    return onnx.load(str(path))


@pytest.mark.parametrize("kind", ["ppo", "sac"])
def test_exported_policy_equals_jax(tmp_path: Path, kind: str):
    policy = _policy(kind)
    path = export_policy(tmp_path / "deep" / "p.onnx", policy, OBS, JOINTS, _metadata())
    rows = parity_observations(OBS, 300, seed=9)  # not the ones that the export checked
    loaded = onnx_policy.load(path)
    assert parity_error(np.asarray(policy(rows)), loaded(rows)) <= 1e-5
    assert loaded.batched


def test_file_meets_the_deploy_contract(tmp_path: Path):
    path = export_policy(tmp_path / "p.onnx", _policy(), OBS, JOINTS, _metadata())
    model = _load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version, len(model.opset_import)) == (7, 13, 1)
    assert (model.producer_name, model.producer_version) == ("holosoma_jax", __version__)
    inputs, outputs = ([_signature(v) for v in vs] for vs in (model.graph.input, model.graph.output))
    assert inputs == [("actor_obs", onnx.TensorProto.FLOAT, [1, OBS])]
    assert outputs == [("action", onnx.TensorProto.FLOAT, [1, JOINTS])]
    assert not model.functions  # plain operators only


def _signature(value: onnx.ValueInfoProto) -> tuple[str, int, list[int | str]]:
    tensor = value.type.tensor_type
    return value.name, tensor.elem_type, [d.dim_param or d.dim_value for d in tensor.shape.dim]


def test_dynamic_batch_and_names(tmp_path: Path):
    policy = _policy()
    path = export_policy(
        tmp_path / "p.onnx", policy, OBS, JOINTS, _metadata(), batch=None, output_name="a", input_name="obs"
    )
    model = _load(path)
    assert _signature(model.graph.input[0]) == ("obs", onnx.TensorProto.FLOAT, ["batch", OBS])
    assert model.graph.output[0].name == "a"


def test_metadata_of_the_reference_is_there_and_json(tmp_path: Path):
    path = export_policy(tmp_path / "p.onnx", _policy(), OBS, JOINTS, _metadata())
    raw = {item.key: item.value for item in _load(path).metadata_props}
    meta = {key: json.loads(text) for key, text in raw.items()}
    assert meta["dof_names"] == list(NAMES)
    assert meta["kp"] == [40.179237] * JOINTS  # the shortest decimal of the float32
    assert np.float32(meta["kd"][0]) == np.float32(2.557889765)
    assert meta["action_scale"] == [0.25] * JOINTS
    assert meta["command_ranges"] == {"lin_vel_x": [-1.0, 1.0]}
    assert (meta["observation_clip"], meta["iteration"], meta["control_dt"]) == (100.0, 7, 0.02)
    assert [term["name"] for term in meta["observation_layout"]] == ["actions", "dof_pos"]
    assert meta["observation_layout"][1] == {
        "group": "actor_obs", "name": "dof_pos", "func": "dof_pos", "dim": 4, "history_length": 2,
        "history_fill": "zero",
        "scale": 0.5, "clip": None, "noise": 0.05, "params": {"degree": 3},
    }  # fmt: skip
    assert sum(term["dim"] * term["history_length"] for term in meta["observation_layout"]) == OBS
    np.testing.assert_allclose(meta["default_joint_pos"], [0.1, 0.2, 0.3, 0.4], rtol=1e-6)
    assert meta["torque_limit"] == [10.0, 20.0, 30.0, 40.0]
    assert meta["holosoma_jax_version"] == __version__


def test_no_path_of_this_machine_is_in_the_file(tmp_path: Path):
    path = export_policy(tmp_path / "p.onnx", _policy(), OBS, JOINTS, _metadata())
    data = path.read_bytes()
    package = str(Path(export.__file__).parent)
    for secret in (str(tmp_path), str(Path.home()), os.getcwd(), "someone", package):
        assert secret.encode() not in data, secret
    config = decode({i.key: i.value for i in _load(path).metadata_props})["experiment_config"]
    assert config == {
        "training": {"output_dir": "logs", "checkpoint": "wandb://team/runs/ab12/model.onnx"},
        "robot": {"asset": "mine", "tags": ["x.yaml", "y"]},
        "observation": {"clip_observations": 100.0},
    }


def test_config_can_be_left_out():
    assert "experiment_config" not in _metadata(include_config=False)


@pytest.mark.parametrize("path", ["logs", "a/b", "s3://b/c", "package.module:function", "1.0", ""])
def test_what_is_no_absolute_path_stays(path: str):
    assert strip_paths({"k": [path]}) == {"k": [path]}


def test_a_graph_that_differs_is_refused_and_the_old_file_stays(tmp_path: Path, monkeypatch):
    path = export_policy(tmp_path / "p.onnx", _policy(), OBS, JOINTS, _metadata())
    before = path.read_bytes()
    import jax2onnx  # its plugins have been imported by now, and their deprecations gone unnoticed

    convert = jax2onnx.to_onnx

    def wrong(*args, **settings):
        model = convert(*args, **settings)
        weights = max(model.graph.initializer, key=lambda x: np.prod(x.dims))
        moved = onnx.numpy_helper.to_array(weights) + np.float32(1e-3)
        weights.CopyFrom(onnx.numpy_helper.from_array(moved, weights.name))
        return model

    monkeypatch.setattr(jax2onnx, "to_onnx", wrong)
    with pytest.raises(OnnxParityError, match=r"p\.onnx: .* 0\.\d+ \(allowed 1"):
        export_policy(path, _policy(seed=1), OBS, JOINTS, _metadata())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["p.onnx"]  # no temporary file left


def test_non_finite_policy_is_refused(tmp_path: Path):
    weights = jnp.full((OBS, JOINTS), jnp.nan)
    with pytest.raises(OnnxParityError, match=r"\.onnx: .*\bnan\b"):
        export_policy(tmp_path / "p.onnx", lambda x: x @ weights, OBS, JOINTS, _metadata())
    assert not list(tmp_path.iterdir())


def test_policy_of_another_shape_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"p\.onnx: .*\(2, 12\).*, wanted .*\(2, 4\)"):
        export_policy(tmp_path / "p.onnx", lambda x: x, OBS, JOINTS, _metadata())


def test_wrong_metadata_is_refused_before_any_work(tmp_path: Path):
    meta = _metadata() | {"kp": [1.0]}
    with pytest.raises(ValueError, match=r"metadata 'kp' .*\b1\b.*, wanted 4"):
        export_policy(tmp_path / "p.onnx", _policy(), OBS, JOINTS, meta)


def test_read_only_folder_is_named(tmp_path: Path, monkeypatch):
    target = tmp_path / "file" / "p.onnx"
    target.parent.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="file"):
        export_policy(target, _policy(), OBS, JOINTS, _metadata())


def test_conversion_is_silent(tmp_path: Path, recwarn, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        export_policy(tmp_path / "p.onnx", _policy("sac"), OBS, JOINTS, _metadata())
    assert [str(w.message) for w in recwarn] == []
    assert [r for r in caplog.records if r.levelname != "DEBUG" and r.name.startswith("jax2onnx")] == []


def test_steep_policies_are_held_to_their_own_rounding(tmp_path: Path, monkeypatch):
    policy = _policy("sac", gain=5.0)  # float32 rounding alone moves its actions by some 3e-5
    rows = parity_observations(OBS)
    assert export.rounding_error(policy, rows, np.asarray(policy(rows))) > 1e-5
    path = export_policy(tmp_path / "p.onnx", policy, OBS, JOINTS, _metadata())
    path.unlink()
    monkeypatch.setattr(export, "ROUNDING_FACTOR", 0.0)
    with pytest.raises(OnnxParityError):
        export_policy(path, policy, OBS, JOINTS, _metadata())


def test_parity_error_is_absolute_up_to_one_and_relative_beyond():
    # rows: |0.3| < 1 so 0.02 / 1; largest action 50, so 0.5 / 50 = 0.01
    expected = np.array([[0.1, 0.3], [50.0, 1.0]], np.float32)
    got = expected + np.array([[0.0, 0.02], [0.0, 0.5]], np.float32)
    np.testing.assert_allclose(parity_error(expected, got), 0.02, rtol=1e-5)
    np.testing.assert_allclose(parity_error(expected[1:], got[1:]), 0.01, rtol=1e-5)


def test_encode_names_what_json_cannot_hold():
    with pytest.raises(ValueError, match=r"metadata 'kp' .*JSON"):
        encode({"dof_names": ["a"], "kp": [float("inf")]})
    with pytest.raises(ValueError, match=r"metadata 'f' .*JSON"):
        encode({"f": object()})


def test_encode_then_decode_is_the_identity():
    meta = {"a": np.float32(0.5), "b": np.arange(3), "c": (1, None), "d": {"e": "x/y"}}
    assert decode(encode(meta)) == {"a": 0.5, "b": [0, 1, 2], "c": [1, None], "d": {"e": "x/y"}}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"dof_names": None}, "'dof_names' is missing"),
        ({"dof_names": ["a", "b", "a", "c"]}, "'dof_names' lists 'a' twice"),
        ({"dof_names": "abcd"}, "'dof_names' ... 'abcd' ... list"),
        ({"kd": [1.0, True, 1.0, 1.0]}, "'kd' ... [1.0, True, 1.0, 1.0] ... number"),
        ({"kp": [1.0, -2.0, 1.0, 1.0]}, "'kp' ... -2.0 ... > 0"),
        ({"action_scale": 0}, "'action_scale' is 0 ... > 0"),
        ({"action_scale": [0.5, 0.0, 1.0, 1.0]}, "'action_scale' ... 0.0 ... > 0"),
        ({"command_ranges": {"v": [1.0, -1.0]}}, "'command_ranges.v' ... [1.0, -1.0] ... [low, high]"),
        ({"command_ranges": [1, 2]}, "'command_ranges' ... [1, 2] ... name -> [low, high]"),
        ({"observation_clip": -1}, "'observation_clip' ... -1 ... positive"),
        ({"iteration": 1.5}, "'iteration' ... 1.5 ... >= 0"),
        ({"observation_layout": {}}, "'observation_layout' ... {} ... list"),
        ({"observation_layout": [{"name": "a"}]}, "'observation_layout[0]' lacks 'dim'"),
    ],
)
def test_check_metadata_names_each_problem(change: dict, problem: str):
    meta = decode(encode(_metadata()))
    assert check_metadata(meta, obs_dim=OBS, action_dim=JOINTS) == []
    (found,) = check_metadata(meta | change)
    assert tells(found, problem)


def test_a_damaged_file_is_never_another_policy(tmp_path):
    """Any changed byte is seen: it breaks the file, or the digest over graph and metadata."""
    path = export_policy(tmp_path / "p.onnx", _policy(), OBS, JOINTS, _metadata())
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    onnx_policy.load(path)
    refused, same = 0, 0
    for spot in rng.integers(0, len(whole), 200):
        data = bytearray(whole)
        data[spot] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(data))
        try:
            onnx_policy.load(path)
        except PolicyFileError:
            refused += 1
        else:
            same += onnx.load_model_from_string(bytes(data)) == onnx.load_model_from_string(whole)
    assert refused + same == 200 and refused > 190


@pytest.mark.parametrize("key", ["experiment_config", "kp", "dof_names"])
def test_edited_metadata_is_refused(tmp_path, key):
    path = export_policy(tmp_path / "p.onnx", _policy(), OBS, JOINTS, _metadata())
    model = onnx.load(str(path))
    for item in model.metadata_props:
        if item.key == key:
            item.value = (
                item.value.replace("1", "2") if key != "dof_names" else item.value.replace("_0", "_9")
            )
    onnx.save(model, str(path))
    with pytest.raises(PolicyFileError, match="sha256"):
        onnx_policy.load(path)
    del model.metadata_props[:]
    onnx.save(model, str(path))
    with pytest.raises(PolicyFileError, match="'sha256' is missing"):
        onnx_policy.load(path)


def test_an_export_of_before_digests_still_runs(tmp_path, caplog):
    path = export_policy(tmp_path / "p.onnx", _policy(), OBS, JOINTS, _metadata())
    model = onnx.load(str(path))
    model.model_version = 0
    (index,) = (i for i, item in enumerate(model.metadata_props) if item.key == "sha256")
    del model.metadata_props[index]
    onnx.save(model, str(path))
    assert onnx_policy.load(path).action_dim == JOINTS
    assert str(path) in caplog.text
