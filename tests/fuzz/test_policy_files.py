"""Policies: ONNX files of ours and of others, and the YAML files beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from holosoma_jax import robots
from holosoma_jax.config import compose
from holosoma_jax.policy import deployment, onnx_digest, onnx_policy, policies
from holosoma_jax.policy.foreign import stated
from holosoma_jax.policy.loaded import LoadedPolicy, PolicyFileError
from tests.support.fuzzing import TEXTS, damaged, fuzz, mutated, read_or_refused
from tests.support.onnx_files import Graph

pytestmark = pytest.mark.slow

OBS = 100
ROBOT = robots.load("g1")
JOINTS = ROBOT.num_joints
TERMS = {
    "base_ang_vel": 3,
    "projected_gravity": 3,
    "command_lin_vel": 2,
    "command_ang_vel": 1,
    "dof_pos": JOINTS,
}
TERMS |= {"dof_vel": JOINTS, "actions": JOINTS, "sin_phase": 2, "cos_phase": 2}
METADATA: dict[str, Any] = {
    "dof_names": list(ROBOT.joint_names),
    "kp": ROBOT.kp.tolist(),
    "kd": ROBOT.kd.tolist(),
    "action_scale": [0.25] * JOINTS,
    "default_joint_pos": ROBOT.default_joint_pos.tolist(),
    "command_ranges": {"lin_vel_x": [-1.0, 1.0]},
    "observation_layout": [
        {"name": k, "dim": d, "history_length": 1, "scale": 1.0} for k, d in TERMS.items()
    ],
    "action_clip": 100.0,
    "control_dt": 0.02,
    "iteration": 3,
    "robot": "g1",
}
FOREIGN: dict[str, Any] = {
    "joint_names": ",".join(ROBOT.joint_names),
    "joint_stiffness": ",".join(f"{k:g}" for k in ROBOT.kp),
    "joint_damping": ",".join(f"{k:g}" for k in ROBOT.kd),
    "default_joint_pos": ",".join(f"{k:g}" for k in ROBOT.default_joint_pos),
    "action_scale": ",".join(["0.25"] * JOINTS),
    "observation_names": "base_ang_vel,projected_gravity,joint_pos,joint_vel,actions",
    "command_names": "twist",
}


def model(path: Path) -> onnx.ModelProto:
    """A linear policy without metadata."""
    graph = Graph()
    weight = 0.1 * graph.rng.standard_normal((JOINTS, OBS))
    bias = graph.const(np.zeros(JOINTS))
    graph.add("Gemm", "actor_obs", graph.const(weight), bias, output="action", transB=1)
    return onnx.load(str(graph.save(path, inputs={"actor_obs": (1, OBS)}, output_shape=(1, JOINTS))))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return model(tmp_path_factory.mktemp("policy") / "policy.onnx")


def with_metadata(model: onnx.ModelProto, entries: dict[str, str], *, ours: bool = False) -> bytes:
    """`model` with these entries; as we export it, with a digest, where `ours`."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for key, value in entries.items():
        made.metadata_props.add(key=key, value=value)
    if ours:
        made.producer_name, made.model_version = onnx_digest.PRODUCER, onnx_digest.DIGESTED
        made.metadata_props.add(key=onnx_digest.DIGEST, value=json.dumps(onnx_digest.digest(made)))
    return made.SerializeToString()


def valid(found: LoadedPolicy | None) -> None:
    """It acts: finite rows of the right width, on gains above 0."""
    if found is None:
        return
    assert len(found.dof_names) == found.action_dim == len(set(found.dof_names))
    assert all(isinstance(name, str) and name for name in found.dof_names)
    rows = np.random.default_rng(0).standard_normal((3, found.obs_dim))
    action = found(rows)
    assert action.shape == (3, found.action_dim) and action.dtype == np.float32 and np.isfinite(action).all()
    for name in ("kp", "kd", "action_scale"):
        numbers = getattr(found, name)
        assert numbers is None or (numbers.shape == (found.action_dim,) and np.isfinite(numbers).all()), name
        assert numbers is None or (numbers > 0).all(), name
    if found.observation_layout is not None:
        assert sum(t["dim"] * t["history_length"] for t in found.observation_layout) == found.obs_dim
    assert found.iteration is None or found.iteration >= 0


def check(path: Path, data: bytes, *, config: bool = False) -> LoadedPolicy | None:
    """Read it as evaluation does: the policy, and if asked for, the config that it is run with."""
    path.write_bytes(data)
    found = read_or_refused(lambda: onnx_policy.load(path), PolicyFileError)
    valid(found)
    if found is not None and config:
        read_or_refused(lambda: deployment.problems(path))
        source = read_or_refused(lambda: policies.find(str(path)))
        if source is not None:
            read_or_refused(lambda: compose.from_mapping(source.config))
            read_or_refused(lambda: source.adapt(ROBOT))
    return found


def encoded(entries: dict[str, Any], texts: bool) -> dict[str, str]:
    return {
        key.encode("utf-8", "replace").decode(): value.encode("utf-8", "replace").decode()
        if texts and isinstance(value, str)
        else json.dumps(value)
        for key, value in entries.items()
    }


@pytest.mark.parametrize(
    ("entries", "texts", "ours"), [(METADATA, False, False), (METADATA, False, True), (FOREIGN, True, False)]
)
def test_what_is_exported_is_accepted(
    entries: Any, texts: bool, ours: bool, plain: onnx.ModelProto, folder: Path
) -> None:
    if entries is FOREIGN:
        entries = {key: value for key, value in entries.items() if key != "observation_names"}
    assert check(folder / "policy.onnx", with_metadata(plain, encoded(entries, texts), ours=ours)) is not None


@fuzz(600)
@given(data=st.data())
def test_metadata(data: st.DataObject, plain: onnx.ModelProto, folder: Path) -> None:
    whole, texts = data.draw(st.sampled_from([(METADATA, False), (METADATA, True), (FOREIGN, True)]))
    entries = data.draw(mutated(whole))
    check(folder / "policy.onnx", with_metadata(plain, encoded(entries, texts)), config=True)


CONFIG = compose.to_mapping(compose.load(["exp:g1-29dof", "terrain:terrain-locomotion-plane"]))


@fuzz(150)
@given(config=mutated(CONFIG))
def test_the_config_inside(config: Any, plain: onnx.ModelProto, folder: Path) -> None:
    entries = METADATA | {"holosoma_jax_version": "0", "experiment_config": config}
    check(folder / "policy.onnx", with_metadata(plain, encoded(entries, False), ours=True), config=True)


@fuzz(600)
@given(data=st.data())
def test_bytes(data: st.DataObject, plain: onnx.ModelProto, folder: Path) -> None:
    """A damaged file of ours is the same policy or refused; one of others may be another policy, but a sound one."""
    ours = data.draw(st.booleans())
    whole = with_metadata(plain, encoded(METADATA, False), ours=ours)
    reach = data.draw(st.sampled_from([None, 200]))
    made = data.draw(damaged(whole, reach))
    if not reach and data.draw(st.booleans()):  # the end holds names and metadata, the middle is weights
        at = data.draw(st.integers(1, 6000))
        made = whole[:-at] + bytes([data.draw(st.integers(0, 255))]) + whole[len(whole) - at + 1 :]
    found = check(folder / "policy.onnx", made)
    if found is not None and ours:
        rows = np.ones((2, OBS), np.float32)
        (folder / "whole.onnx").write_bytes(whole)
        np.testing.assert_array_equal(found(rows), onnx_policy.load(folder / "whole.onnx")(rows))


@st.composite
def another_graph(draw: st.DrawFn, whole: onnx.ModelProto) -> onnx.ModelProto:
    """Other inputs, outputs, types, sizes, nodes, or constants."""
    made = onnx.ModelProto()
    made.CopyFrom(whole)
    graph = made.graph
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(
            st.sampled_from(
                ["input", "dim", "type", "op", "weight", "output", "drop", "external", "name", "version"]
            )
        )
        value = (
            draw(st.sampled_from([graph.input[0], graph.output[0]])) if graph.input and graph.output else None
        )
        size = draw(st.sampled_from([-1, 0, 1, 2, JOINTS, OBS, 10**9, 2**62]))
        if kind == "input":
            shape = draw(st.lists(st.sampled_from(["batch", 1, 0, OBS]), max_size=3))
            name = draw(st.sampled_from(["time_step", "h_in", "actor_obs"]))
            graph.input.append(
                onnx.helper.make_tensor_value_info(name, draw(st.sampled_from([1, 7, 8, 10])), shape)
            )
        elif kind == "dim" and value is not None and len(value.type.tensor_type.shape.dim):
            dims = value.type.tensor_type.shape.dim
            dims[draw(st.integers(0, len(dims) - 1))].dim_value = size
        elif kind == "type" and value is not None:
            value.type.tensor_type.elem_type = draw(st.integers(-1, 30))
        elif kind == "op" and graph.node:
            graph.node[0].op_type = draw(
                st.sampled_from(["Add", "MatMul", "Loop", "Nope", "RandomNormal", "Log", "Reshape", "Tile"])
            )
        elif kind == "weight" and graph.initializer and not graph.initializer[0].external_data:
            tensor = graph.initializer[draw(st.integers(0, len(graph.initializer) - 1))]
            array = onnx.numpy_helper.to_array(tensor).copy()
            array.reshape(-1)[: draw(st.integers(0, array.size))] = draw(st.floats(width=32))
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
        elif kind == "output" and graph.output:
            graph.output.append(graph.output[0])
        elif kind == "drop":
            del draw(st.sampled_from([graph.input, graph.output, graph.node, graph.initializer]))[:]
        elif kind == "external" and graph.initializer:
            tensor = graph.initializer[0]
            tensor.data_location = onnx.TensorProto.EXTERNAL
            place = draw(
                st.one_of(TEXTS, st.sampled_from(["weights", "../weights", "/etc/passwd", "policy.onnx"]))
            )
            tensor.external_data.add(key="location", value=place.encode("utf-8", "replace").decode())
            tensor.external_data.add(key="length", value=str(size))
        elif kind == "name" and value is not None:
            value.name = draw(st.sampled_from(["", "obs", "c0", "action", "é\x1b"]))
        elif kind == "version":
            made.ir_version = draw(st.sampled_from([0, 3, 99, 2**60]))
    return made


@fuzz(500)
@given(data=st.data())
def test_graphs(data: st.DataObject, plain: onnx.ModelProto, folder: Path) -> None:
    made = data.draw(another_graph(plain))
    check(folder / "policy.onnx", with_metadata(made, encoded(METADATA, False)))


BESIDE = {"joint_order": "mjcf", "kp": 40.0, "kd": [1.0] * JOINTS, "action_scale": 0.25, "control_dt": 0.02}
DEPLOY: dict[str, Any] = {
    "joint_ids_map": list(range(JOINTS)),
    "step_dt": 0.02,
    "stiffness": ROBOT.kp.tolist(),
    "damping": ROBOT.kd.tolist(),
    "default_joint_pos": ROBOT.default_joint_pos.tolist(),
    "commands": {"base_velocity": {"ranges": {"lin_vel_x": [-0.5, 1.0], "heading": None}}},
    "actions": {
        "JointPositionAction": {
            "scale": [0.25] * JOINTS,
            "offset": ROBOT.default_joint_pos.tolist(),
            "clip": None,
            "joint_ids": None,
        }
    },
    "observations": {
        "base_ang_vel": {"scale": [0.2] * 3, "clip": [-100.0, 100.0], "history_length": 5, "params": {}}
    },
}


@fuzz(300)
@given(data=st.data())
def test_yaml_beside_a_policy(data: st.DataObject, plain: onnx.ModelProto, folder: Path) -> None:
    whole, name = data.draw(st.sampled_from([(BESIDE, "beside.yaml"), (DEPLOY, "deploy.yaml")]))
    place = folder / "beside"
    place.mkdir(exist_ok=True)
    for other in place.glob("*.yaml"):
        other.unlink()
    text = yaml.safe_dump(data.draw(mutated(whole)), allow_unicode=True).encode("utf-8", "surrogatepass")
    if data.draw(st.booleans()):
        text = data.draw(damaged(text))
    if data.draw(st.integers(0, 9)) == 0:
        text += data.draw(
            st.sampled_from(
                [
                    b"kp: !!bool maybe\n",
                    b"a: &a [*a]\n",
                    b"? [1]\n: 2\n",
                    b"kd: !!int x\n",
                    b"- 1\n",
                    b"[" * 3000,
                ]
            )
        )
    (place / name).write_bytes(text)
    path = place / "beside.onnx"
    path.write_bytes(with_metadata(plain, {}))
    told = read_or_refused(lambda: stated.gather(path))
    if told is not None:
        valid(read_or_refused(lambda: onnx_policy.load(path, told)))
