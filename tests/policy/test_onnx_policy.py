from __future__ import annotations

import json
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import onnx
import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.policy import onnx_policy
from holosoma_jax.policy.loaded import PolicyFileError
from tests.support import onnx_files as files

ROWS = np.random.default_rng(1).standard_normal((17, files.OBS)).astype(np.float32)


@pytest.mark.parametrize("build", [files.ppo_graph, files.fast_sac_graph])
@pytest.mark.parametrize("output", ["action", "whatever"])
def test_shipped_graphs_load_and_run_on_many_rows(tmp_path: Path, build, output):
    graph = build(output=output)
    policy = onnx_policy.load(graph.save(tmp_path / "p.onnx", files.shipped_metadata(), output=output))
    assert policy.batched  # a static batch of one, run on all rows in one call
    assert (policy.obs_dim, policy.action_dim) == (files.OBS, files.ACTIONS)
    actions = policy(jnp.asarray(ROWS))
    assert actions.dtype == np.float32
    np.testing.assert_allclose(actions, files.numpy_run(graph, ROWS), rtol=2e-5, atol=2e-5)


def test_shipped_metadata_is_enough(tmp_path: Path):
    policy = onnx_policy.load(files.ppo_graph().save(tmp_path / "p.onnx", files.shipped_metadata()))
    assert policy.dof_names == tuple(files.joint_names())
    assert policy.kp is not None and policy.kd is not None
    np.testing.assert_allclose(policy.kp, 40.179238471)
    np.testing.assert_allclose(policy.kd, 2.557889765)
    assert policy.action_scale is None and policy.observation_layout is None and policy.iteration is None
    assert policy.metadata["command_ranges"]["lin_vel_x"] == [-1.0, 1.0]


def test_scalar_action_scale_means_every_joint(tmp_path: Path):
    meta = files.shipped_metadata() | {"action_scale": 0.25, "iteration": 29999}
    policy = onnx_policy.load(files.ppo_graph().save(tmp_path / "p.onnx", meta))
    np.testing.assert_array_equal(policy.action_scale, np.full(files.ACTIONS, 0.25, np.float32))
    assert policy.iteration == 29999


def _fixed_reshape(tmp_path: Path) -> Path:
    """A graph that cannot take two rows: it reshapes to a fixed [1, 29]."""
    graph = files.ppo_graph(output="flat")
    graph.add("Reshape", "flat", graph.const([1, files.ACTIONS], np.int64), output="action")
    return graph.save(tmp_path / "fixed.onnx", files.shipped_metadata())


def _mixing(tmp_path: Path) -> Path:
    """A graph that takes many rows but mixes them: it subtracts the mean over the batch."""
    graph = files.ppo_graph(output="pure")
    mean = graph.add("ReduceMean", "pure", axes=[0], keepdims=1)
    graph.add("Sub", "pure", graph.add("Mul", mean, graph.const(0.5)), output="action")
    return graph.save(tmp_path / "mixing.onnx", files.shipped_metadata())


@pytest.mark.parametrize(("make", "factor"), [(_fixed_reshape, 1.0), (_mixing, 0.5)])
def test_graphs_tied_to_one_row_fall_back_to_a_loop(tmp_path: Path, make, factor):
    policy = onnx_policy.load(make(tmp_path))
    assert not policy.batched
    expected = factor * files.numpy_run(files.ppo_graph(), ROWS)
    np.testing.assert_allclose(policy(ROWS), expected, rtol=2e-5, atol=2e-5)
    assert policy(ROWS[:0]).shape == (0, files.ACTIONS)


@pytest.mark.parametrize("make", [lambda t: _renamed(t), lambda t: _outside(t)])
def test_other_exporters_are_understood(tmp_path: Path, make):
    policy = onnx_policy.load(make(tmp_path))
    np.testing.assert_allclose(policy(ROWS), files.numpy_run(files.ppo_graph(), ROWS), rtol=2e-5, atol=2e-5)


def test_metadata_of_other_exporters_is_understood(tmp_path: Path):
    gains = dict.fromkeys(reversed(files.joint_names()), 3.0) | {"joint_1": 5.0}
    terms = [
        _term(dim=40, scale=None, clip=100.0),
        {"name": "bare", "dim": 60, "scale": [0.5] * 60},
        _term(group="critic_obs"),
    ]
    stated = _without("kd", "dof_names") | {
        "kp": gains,
        "action_scale": 0.5,
        "iteration": 5e4,
        "observation_layout": terms,
    }
    raw = {"experiment_config": '{"limit": Infinity}', "author": "A. N. Other"}
    raw["dof_names"] = repr(files.joint_names())  # a Python literal, not JSON
    policy = onnx_policy.load(_save(tmp_path, stated, raw=raw))
    assert policy.kd is None  # the robot's own
    assert policy.kp is not None and policy.kp[:3].tolist() == [3.0, 5.0, 3.0]
    assert policy.iteration == 50_000 and policy.metadata["author"] == "A. N. Other"
    assert policy.action_scale is not None and set(policy.action_scale.tolist()) == {0.5}
    assert [(t["dim"], t["history_length"], t["scale"]) for t in policy.observation_layout or ()] == [
        (40, 1, 1.0),
        (60, 1, 0.5),
    ]


def test_wrong_observation_width_is_refused_at_the_call(tmp_path: Path):
    policy = onnx_policy.load(files.ppo_graph().save(tmp_path / "p.onnx", files.shipped_metadata()))
    with pytest.raises(ValueError, match=r"\(17, 99\), wanted \[N, 100\]"):
        policy(ROWS[:, :99])


def _without(*keys: str) -> dict:
    return {k: v for k, v in files.shipped_metadata().items() if k not in keys}


def _save(tmp_path: Path, meta: dict, **kwargs) -> Path:
    return files.ppo_graph().save(tmp_path / "p.onnx", meta, **kwargs)


def _write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "p.onnx"
    path.write_bytes(data)
    return path


def _truncated(tmp_path: Path, part: float) -> Path:
    data = _save(tmp_path, files.shipped_metadata()).read_bytes()
    return _write(tmp_path, data[: int(len(data) * part)])


def _two_inputs(tmp_path: Path) -> Path:
    graph = files.Graph()
    graph.add("Add", graph.gemm("obs", 154, 29), "state", output="actions")
    inputs = {"obs": (1, 154), "state": (1, 1)}
    return graph.save(tmp_path / "wbt.onnx", files.shipped_metadata(), inputs=inputs, output="actions")


def _renamed(tmp_path: Path) -> Path:
    path = _save(tmp_path, files.shipped_metadata())
    model = onnx.load(str(path))
    model.graph.input[0].name = model.graph.node[0].input[0] = "obs"
    onnx.save(model, str(path))
    return path


def _term(**changes) -> dict:
    return {"group": "actor_obs", "name": "all", "dim": files.OBS, "history_length": 1} | changes


def _outside_by_a_long_name(tmp_path: Path) -> Path:
    path = _outside(tmp_path)
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "a" * 3000
    path.write_bytes(model.SerializeToString())
    return path


def _outside(tmp_path: Path, keep: bool = True) -> Path:
    """A file that keeps its weights beside it, as newer exporters of PyTorch write it."""
    path = _save(tmp_path, files.shipped_metadata())
    onnx.save(
        onnx.load(str(path)), str(path), save_as_external_data=True, location="w.data", size_threshold=0
    )
    if not keep:
        (tmp_path / "w.data").unlink()
    return path


def _nan_weights(tmp_path: Path) -> Path:
    graph = files.ppo_graph(output="flat")
    graph.add("Mul", "flat", graph.const(np.nan), output="action")
    return graph.save(tmp_path / "p.onnx", files.shipped_metadata())


def _three_dims(tmp_path: Path) -> Path:
    graph = files.Graph()
    graph.add("ReduceMean", "actor_obs", axes=[2], keepdims=0, output="action")
    return graph.save(tmp_path / "p.onnx", files.shipped_metadata(), inputs={"actor_obs": (1, 29, 4)})


BAD = {
    "absent": (lambda t: t / "p.onnx", "no such file"),
    "folder": (lambda t: t, "is a folder"),
    "text": (lambda t: _write(t, b"epoch,loss\n1,2\n" * 40), "not an ONNX file, or cut short"),
    "empty": (lambda t: _write(t, b""), "not an ONNX file, or cut short"),
    "cut in half": (lambda t: _truncated(t, 0.5), "not an ONNX file, or cut short"),
    "cut near its end": (lambda t: _truncated(t, 0.999), "not an ONNX file, or cut short"),
    "two inputs": (_two_inputs, r"inputs are 'obs', 'state'; a policy has one, 'actor_obs'"),
    "three dimensions": (_three_dims, r"input 'actor_obs' is \[1, 29, 4\], wanted \[1, n\]"),
    "no names": (lambda t: _save(t, _without("dof_names")), "'dof_names' is missing"),
    "not JSON": (
        lambda t: _save(t, _without("kd"), raw={"control_dt": "1 2"}),
        "metadata .control_dt. is not JSON",
    ),
    "NaN gain": (
        lambda t: _save(t, _without("kp"), raw={"kp": "[NaN]"}),
        r"'kp' is \[nan\], wanted one finite",
    ),
    "gain of 0": (
        lambda t: _save(t, _without("kp") | {"kp": [0.0] * 29}),
        r"'kp' has the entry 0.0, wanted > 0",
    ),
    "NaN weights": (_nan_weights, "its actions are not finite"),
    "gains of other joints": (
        lambda t: _save(t, _without("kp") | {"kp": {"knee": 1.0}}),
        r"'kp' is \{'knee': 1.0\}, wanted one finite number per joint",
    ),
    "scales of other entries": (
        lambda t: _save(t, _without() | {"observation_layout": [_term(scale=[1.0, 2.0])]}),
        "term 'all' has 2 different scales for 100 entries",
    ),
    "clipped term": (
        lambda t: _save(t, _without() | {"observation_layout": [_term(clip=[-18.0, 18.0])]}),
        r"term 'all' is clipped to \[-18.0, 18.0\]; terms are not clipped one by one",
    ),
    "weights elsewhere": (lambda t: _outside(t, keep=False), "its weights lie in another file: "),
    "weights by a name that is too long": (_outside_by_a_long_name, "its weights lie in another file: "),
    "short kd": (
        lambda t: _save(t, _without("kd") | {"kd": [1.0] * 28}),
        "'kd' has 28 entries, wanted 29",
    ),
    "names of another action": (
        lambda t: _save(t, files.shipped_metadata(23)),
        "'dof_names' has 23 names, the action has 29 entries",
    ),
    "layout too short": (
        lambda t: _save(
            t,
            _without() | {"observation_layout": [{"name": "actions", "dim": 29, "history_length": 2}]},
        ),
        "'observation_layout' adds up to 58 entries, the input has 100",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_files_are_refused_in_one_line(tmp_path: Path, case: str):
    make, message = BAD[case]
    with pytest.raises(PolicyFileError, match=message) as caught:
        onnx_policy.load(make(tmp_path))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    assert isinstance(caught.value, ConfigError)  # the commands print it and exit with code 2


@pytest.mark.parametrize("cut", np.linspace(0.01, 0.99, 9).round(2).tolist())
def test_no_truncation_is_mistaken_for_a_policy(tmp_path: Path, cut: float):
    with pytest.raises(PolicyFileError):
        onnx_policy.load(_truncated(tmp_path, cut))


def test_every_metadata_value_is_decoded(tmp_path: Path):
    extra = {"wandb_run_path": "a/b/c", "robot_urdf": "<robot/>", "experiment_config": {"a": {"b": None}}}
    policy = onnx_policy.load(_save(tmp_path, files.shipped_metadata() | extra))
    assert {key: policy.metadata[key] for key in extra} == extra
    assert json.dumps(dict(policy.metadata))


def test_damage_that_only_text_or_types_show(tmp_path: Path):
    def refused(change, meta=None) -> str:
        path = _save(tmp_path, meta or files.shipped_metadata())
        model = onnx.load(str(path))
        change(model)
        path.write_bytes(model.SerializeToString())
        with pytest.raises(PolicyFileError) as caught:
            onnx_policy.load(path)
        assert str(caught.value).isprintable()
        return str(caught.value)

    def of_type(number: int):
        return lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", number)

    assert "unknown type 29" in refused(of_type(29))

    def of_size(size: int):
        return lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", size)

    for size in (-1, 0, 10**9):
        assert "wanted" in refused(of_size(size))
    names = ["", *files.joint_names()[1:]]
    assert "'dof_names'" in refused(lambda model: None, files.shipped_metadata() | {"dof_names": names})
    assert "name' is 3" in refused(
        lambda model: None, files.shipped_metadata() | {"observation_layout": [_term(name=3)]}
    )


def test_bytes_that_are_no_text_in_the_metadata(tmp_path: Path):
    path = _save(tmp_path, files.shipped_metadata())
    path.write_bytes(path.read_bytes().replace(b'joint_1"', b'joint_\xff"'))
    with pytest.raises(PolicyFileError, match="not UTF-8"):
        onnx_policy.load(path)


@pytest.mark.parametrize("key", ["kp", "kd", "action_scale", "torque_limit"])
def test_a_number_that_float32_takes_for_zero(tmp_path: Path, key: str):
    meta = files.shipped_metadata() | {key: [1e-60] * files.ACTIONS}
    with pytest.raises(PolicyFileError, match=f"'{key}' .*1e-60"):
        onnx_policy.load(_save(tmp_path, meta))


def test_commands_that_are_no_list_matter_to_nobody(tmp_path: Path):
    meta = files.shipped_metadata() | {"observation_names": ["joint_pos"], "command_names": 3}
    with pytest.raises(PolicyFileError, match=r"'observation_layout' .*\d"):
        onnx_policy.load(_save(tmp_path, meta))


def test_a_pipe_is_no_policy(tmp_path: Path):
    os.mkfifo(tmp_path / "p.onnx")
    with pytest.raises(PolicyFileError, match="regular file"):
        onnx_policy.load(tmp_path / "p.onnx")


def test_metadata_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """Protobuf hands out bytes there, which do not sort beside text."""
    data = _save(tmp_path, files.shipped_metadata()).read_bytes()
    path = _write(tmp_path, data.replace(b"dof_names", b"dof\xff\x83ames", 1))
    with pytest.raises(PolicyFileError, match="not UTF-8"):
        onnx_policy.load(path)
