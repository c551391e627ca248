"""Policy files that hold a motion clip, as holosoma, BeyondMimic and mjlab write them: read, adapted, run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from holosoma_jax import envs, experiment, robots
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.evaluation import PolicyArgs
from holosoma_jax.envs.terms.motion.reference import ASSET
from holosoma_jax.evaluation import evaluate, perturbations
from holosoma_jax.motion import edit, reading
from holosoma_jax.motion.clip import Clip
from holosoma_jax.motion.formats import policy_graph
from holosoma_jax.motion.formats.onnx_graph import GraphIndex
from holosoma_jax.motion.kinematics import Skeleton
from holosoma_jax.policy import onnx_policy, policies
from holosoma_jax.robots import joint_order
from tests.support import tracking_files as files
from tests.support.onnx_files import Graph
from tests.support.tracking import KEY

G1 = robots.load("g1")
SKELETON = Skeleton(G1)
ISAACLAB = joint_order.breadth_first(G1)
KINDS = ("holosoma", "BeyondMimic", "mjlab")


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A squat, and the way down to the next."""
    return edit.cut(SKELETON, reading.read("g1_squat", SKELETON), 0, 250)


@pytest.fixture(scope="module")
def paths(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    return {
        "holosoma": files.holosoma_file(folder / "holosoma.onnx", clip, G1),
        "BeyondMimic": files.beyond_mimic_file(folder / "beyond.onnx", clip, G1, ISAACLAB),
        "mjlab": files.beyond_mimic_file(
            folder / "mjlab.onnx", clip, G1, G1.joint_names, estimates=False, observation_names=...
        ),
    }


def built(source: policies.PolicySource, *arguments: str, num_envs: int = 2) -> experiment.Setup:
    still = f"{KEY}noise-to-initial-pose.overall-noise-scale=0"
    cfg = compose.load([f"--training.num-envs={num_envs}", still, *arguments], base=source.config)
    cfg = envs.task_of(cfg).perturb(cfg, perturbations.MODES["clean"])
    return experiment.build(cfg, evaluation=True, adapt=source.adapt)


@pytest.mark.parametrize("kind", KINDS)
def test_the_clip_is_read_out_of_the_graph(kind: str, paths: dict[str, Path], clip: Clip) -> None:
    found = reading.read(paths[kind])
    assert (found.robot, found.fps, found.num_frames) == ("g1", 50.0, clip.num_frames)
    np.testing.assert_allclose(found.joint_pos, clip.joint_pos, atol=1e-6)
    np.testing.assert_allclose(found.body_pos, clip.body_pos, atol=1e-5)
    np.testing.assert_allclose(np.abs(np.sum(found.body_quat * clip.body_quat, -1)), 1.0, atol=1e-6)
    # as the policy was commanded, not differences of positions
    np.testing.assert_allclose(found.joint_vel, clip.joint_vel, atol=1e-6)


def test_the_anchor_is_another_body_where_the_file_says_so(tmp_path: Path, clip: Clip) -> None:
    """The pose belongs to it; the root's follows from it."""
    meta = {
        "motion_config": {"body_name_ref": ["torso_link"], "body_names_to_track": ["pelvis", "torso_link"]}
    }
    for key in ("params", "motion_command", "setup_terms", "command"):
        meta = {key: meta}
    path = files.holosoma_file(tmp_path / "p.onnx", clip, G1, experiment_config=meta)
    motion = compose.load([], base=policies.find(str(path)).config).command.setup_terms["motion_command"]
    assert motion.params["motion_config"]["body_names_to_track"] == ("pelvis", "torso_link")
    other = files.holosoma_file(tmp_path / "q.onnx", clip, G1, anchor_body_name="pelvis")
    away = reading.read(other).root_pos - clip.root_pos  # the torso's pose is taken for the pelvis's
    assert np.linalg.norm(away, axis=-1).min() > 0.03


@pytest.mark.parametrize("stated", [ISAACLAB, G1.joint_names])
def test_joints_without_names_are_told_apart_by_kinematics(tmp_path: Path, clip: Clip, stated: Any) -> None:
    path = files.beyond_mimic_file(tmp_path / "p.onnx", clip, G1, stated, joint_names=...)
    np.testing.assert_allclose(reading.read(path).joint_pos, clip.joint_pos, atol=1e-6)


def test_a_graph_without_table_ends_where_larger_numbers_change_nothing(tmp_path: Path) -> None:
    """Frames are functions of the number, which is held below 4."""
    graph = Graph()
    graph.add(
        "Gemm", "obs", graph.const(np.zeros((29, 154))), graph.const(np.zeros(29)), output="actions", transB=1
    )
    frame = graph.add("Min", "time_step", graph.const(4.0))
    graph.add("Mul", frame, graph.const(np.full((1, 29), 0.01)), output="joint_pos")
    graph.add("Mul", frame, graph.const(np.zeros((1, 29))), output="joint_vel")
    graph.add(
        "Mul",
        graph.add("Add", frame, graph.const(1.0)),
        graph.const(np.full((1, 3), 0.1)),
        output="ref_pos_xyz",
    )
    still = graph.const(np.array([[0.0, 0.0, 0.0, 1.0]]))
    graph.add("Add", graph.add("Mul", frame, graph.const(np.zeros((1, 4)))), still, output="ref_quat_xyzw")
    shapes = {"joint_pos": 29, "joint_vel": 29, "ref_pos_xyz": 3, "ref_quat_xyzw": 4}
    path = files.save(graph, tmp_path / "p.onnx", 154, shapes, {"dof_names": json.dumps(G1.joint_names)})
    found = reading.read(path)
    assert found.num_frames == 5
    np.testing.assert_allclose(found.joint_pos[-1], 0.04, atol=1e-6)


@pytest.mark.parametrize("kind", ["holosoma", "mjlab"])
@pytest.mark.parametrize(
    ("dtype", "shape", "bare"),
    [
        (TensorProto.FLOAT, (), False),
        (TensorProto.INT64, (1,), False),
        (TensorProto.INT64, (1, 1), True),
        (TensorProto.INT32, (1,), True),
        (TensorProto.DOUBLE, (1, 1), False),
    ],
)
def test_numbers_of_frames_and_outputs_of_other_shapes(
    tmp_path: Path,
    paths: dict[str, Path],
    clip: Clip,
    kind: str,
    dtype: int,
    shape: tuple[int, ...],
    bare: bool,
) -> None:
    """`time_step` [], [1] or [1, 1], of a float or an integer; outputs [1, n], or [n] where `bare`."""
    model = onnx.load(str(paths[kind]))
    graph = model.graph
    place = next(i for i, item in enumerate(graph.input) if item.name == "time_step")
    graph.input[place].CopyFrom(helper.make_tensor_value_info("time_step", dtype, shape))
    graph.initializer.append(numpy_helper.from_array(np.array([] if bare else [1], np.int64), "as"))
    cast = next(node for node in graph.node if "time_step" in node.input)
    gathers = [
        node
        for node in graph.node
        if node.op_type == "Gather" and node.output[0] in policy_graph.HOLOSOMA + policy_graph.MJLAB
    ]
    (clamped,) = {node.input[1] for node in gathers}
    for node in gathers:
        node.input[1] = "place"
    graph.node.insert(len(graph.node) - len(gathers), helper.make_node("Reshape", [clamped, "as"], ["place"]))
    for item in graph.output:
        if bare and item.name != "actions":
            del item.type.tensor_type.shape.dim[0]
    cast.attribute[0].i = TensorProto.INT64
    for node in graph.node:  # a number without an axis, or with one, is not squeezed
        if node.op_type == "Squeeze" and len(shape) < 2:
            node.op_type, node.input[:] = "Identity", node.input[:1]
    onnx.save(model, str(tmp_path / "p.onnx"))
    found = reading.read(tmp_path / "p.onnx")
    np.testing.assert_allclose(found.joint_pos, clip.joint_pos, atol=1e-6)
    np.testing.assert_allclose(found.body_pos, clip.body_pos, atol=1e-5)
    assert policies.find(str(tmp_path / "p.onnx")).config


def test_columns_put_in_another_order_behind_the_table(
    tmp_path: Path, paths: dict[str, Path], clip: Clip
) -> None:
    """Frames are those of the axis that the frame's number picks from, whatever a constant picks before or after."""
    model = onnx.load(str(paths["holosoma"]))
    graph = model.graph
    turned = np.arange(29)[::-1].copy()
    graph.initializer.append(numpy_helper.from_array(turned, "turned"))
    (gather,) = (node for node in graph.node if node.output[0] == "joint_pos")
    before = helper.make_node("Gather", [gather.input[0], "turned"], ["table"], axis=1)
    gather.input[0], gather.output[0] = "table", "row"
    graph.node.insert(0, before)
    graph.node.append(helper.make_node("Gather", ["row", "turned"], ["joint_pos"], axis=1))
    onnx.save(model, str(tmp_path / "p.onnx"))
    np.testing.assert_allclose(reading.read(tmp_path / "p.onnx").joint_pos, clip.joint_pos, atol=1e-6)

    assert GraphIndex(graph).table("joint_pos") is None
    graph.node.remove(before)
    gather.input[0] = before.input[0]
    found = GraphIndex(graph).table("joint_pos")
    assert found is not None and found[0].dims[found[1]] == 250


def test_tables_in_a_file_beside(tmp_path: Path, paths: dict[str, Path], clip: Clip) -> None:
    """As PyTorch's newer exporter writes them, shapes included."""
    model = onnx.load(str(paths["holosoma"]))
    onnx.save(
        model, str(tmp_path / "p.onnx"), save_as_external_data=True, location="p.data", size_threshold=0
    )
    np.testing.assert_allclose(reading.read(tmp_path / "p.onnx").joint_pos, clip.joint_pos, atol=1e-6)
    assert policies.find(str(tmp_path / "p.onnx")).config
    (tmp_path / "p.data").unlink()
    with pytest.raises(ConfigError, match=r"p\.onnx"):
        reading.read(tmp_path / "p.onnx")


def test_inputs_and_outputs_are_told_by_their_names(tmp_path: Path, paths: dict[str, Path]) -> None:
    model = onnx.load(str(paths["mjlab"]))
    for field in (model.graph.input, model.graph.output):
        turned = [type(item).FromString(item.SerializeToString()) for item in reversed(field)]
        del field[:]
        field.extend(turned)
    assert model.graph.input[0].name == "time_step" and model.graph.output[0].name == "body_ang_vel_w"
    onnx.save(model, str(tmp_path / "p.onnx"))
    rows = np.random.default_rng(0).standard_normal((3, 154)).astype(np.float32)
    np.testing.assert_array_equal(
        onnx_policy.load(tmp_path / "p.onnx")(rows), onnx_policy.load(paths["mjlab"])(rows)
    )


def _small(path: Path, table: np.ndarray, axis: int) -> Path:
    """A file of holosoma's signature whose `joint_pos` is gathered from `table` along `axis`."""
    graph = Graph()
    graph.add(
        "Gemm", "obs", graph.const(np.zeros((29, 2))), graph.const(np.zeros(29)), output="actions", transB=1
    )
    frame = graph.add("Cast", "time_step", to=TensorProto.INT64)
    frame = graph.add("Squeeze", frame, graph.const([-1], np.int64))
    frame = graph.add("Min", frame, graph.const(table.shape[axis] - 1, np.int64))
    rows = graph.add("Gather", graph.const(table), frame, axis=axis)
    lead = [graph.const([0], np.int64)] if axis else []
    graph.add("Unsqueeze" if axis else "Identity", rows, *lead, output="joint_pos")
    for name, width in (("joint_vel", 29), ("ref_pos_xyz", 3), ("ref_quat_xyzw", 4)):
        graph.add("Identity", graph.const(np.eye(1, width)), output=name)
    shapes = {"joint_pos": table.shape[1 - axis], "joint_vel": 29, "ref_pos_xyz": 3, "ref_quat_xyzw": 4}
    return files.save(graph, path, 2, shapes, {})


@pytest.mark.parametrize(
    ("table", "axis", "named"),
    [(np.zeros((0, 5)), 1, "joint_vel"), (np.zeros((1_000_001, 1)), 0, r"1000001 .*1000000\b")],
)
def test_a_table_without_an_end_is_refused_at_once(
    tmp_path: Path, table: np.ndarray, axis: int, named: str
) -> None:
    """An empty table, and one of more frames than a clip may have."""
    with pytest.raises(ConfigError, match=named):
        reading.read(_small(tmp_path / "p.onnx", table, axis))


@pytest.mark.parametrize(
    "stated", ["[5]", '[["a"]]', '[["a", null]]', '[["a", 5], ["b", -1], ["c", 246]]', "[" * 100_000]
)
def test_damaged_names_of_clips_leave_one_clip(tmp_path: Path, clip: Clip, stated: str) -> None:
    path = files.beyond_mimic_file(tmp_path / "p.onnx", clip, G1, G1.joint_names, motion_clips=stated)
    assert reading.read(path, "g1").num_frames == 250
    (whole,) = policy_graph.parse(path)
    assert whole.name == "p" and len(whole.root_pos) == 250


@pytest.mark.parametrize("kind", KINDS)
def test_clip_layout_and_gains_are_the_files(kind: str, paths: dict[str, Path], clip: Clip) -> None:
    """With no clip named, the policy commands the clip's joints: it reads them where its layout has them."""
    source = policies.find(str(paths[kind]))
    cfg = compose.load([], base=source.config)
    motion = cfg.command.setup_terms["motion_command"].params["motion_config"]
    assert cfg.task == "tracking" and motion["motion_file"] == str(paths[kind])
    robot = source.adapt(G1)
    np.testing.assert_allclose(robot.kp, files.KP, atol=6e-4)
    np.testing.assert_allclose(robot.action_scale, files.SCALE, atol=6e-4)

    setup = built(source)
    try:
        spec, tracked = setup.env.spec, setup.env.mdp.scene.assets[ASSET]
        assert tracked.bodies == files.BODIES and tracked.bodies[tracked.anchor] == "torso_link"
        place = next(t for t in spec.layout if t.group == "actor_obs" and t.name == "motion_command")
        obs = np.zeros((2, spec.obs_dims["actor_obs"]), np.float32)
        obs[:, place.start : place.start + 29] = clip.joint_pos[[10, 200]]
        targets = source.policy(setup).act(obs) * robot.action_scale + robot.default_joint_pos
        np.testing.assert_allclose(targets, clip.joint_pos[[10, 200]], atol=2e-3)
    finally:
        setup.bridge.close()


def test_another_clip_can_be_named(paths: dict[str, Path]) -> None:
    source = policies.find(str(paths["holosoma"]))
    setup = built(source, f"{KEY}motion-file=g1_arm_waves")
    setup.bridge.close()
    assert setup.env.spec.max_episode_steps == 601


def test_actions_within_the_joints_ranges_are_radians(tmp_path: Path, clip: Clip) -> None:
    """holosoma's FastSAC files that state no scale: b tanh(x), b how far each joint reaches."""
    stated = files.holosoma_file(tmp_path / "p.onnx", clip, G1, action_scale=...)
    np.testing.assert_array_equal(policies.find(str(stated)).adapt(G1).action_scale, G1.action_scale)
    reach = G1.action_reach * G1.action_scale
    bounded = files.holosoma_file(tmp_path / "q.onnx", clip, G1, bound=reach, action_scale=...)
    np.testing.assert_array_equal(policies.find(str(bounded)).adapt(G1).action_scale, np.ones(29))
    given = policies.find(str(bounded), PolicyArgs(action_scale=0.3)).adapt(G1).action_scale
    np.testing.assert_allclose(given, np.full(29, 0.3))
    other = files.holosoma_file(tmp_path / "r.onnx", clip, G1, bound=reach / 0.25, action_scale=...)
    np.testing.assert_array_equal(policies.find(str(other)).adapt(G1).action_scale, G1.action_scale)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"joint_names": ...}, ["joint_names", "--policy.joint-names"]),
        ({"observation_names": "command,smell"}, ["'smell'", "--policy.observation-names"]),
        ({"observation_names": "command,joint_pos"}, ["87", "160", "--policy.observation-names"]),
        ({"joint_names": ",".join(f"j{i}" for i in range(29))}, ["j0", "--robot.asset"]),
        ({"joint_stiffness": "1,2,3"}, ["'kp'", "3 entries", "--policy.kp"]),
    ],
)  # fmt: skip
def test_what_a_file_does_not_say_is_asked_for_by_flag(
    tmp_path: Path, clip: Clip, changed: dict[str, Any], named: list[str]
) -> None:
    path = files.beyond_mimic_file(tmp_path / "p.onnx", clip, G1, ISAACLAB, **changed)
    with pytest.raises(ConfigError) as caught:
        policies.find(str(path))
    text = str(caught.value)
    assert "\n" not in text and all(part in text.replace("dof_names", "joint_names") for part in named), text


def test_a_config_of_the_other_task_is_one_line(paths: dict[str, Path]) -> None:
    config = compose.to_mapping(compose.load(["exp:g1-29dof"]))
    with pytest.raises(ConfigError, match="motion_command"):
        policies.find(str(paths["holosoma"]), config=config)


def test_a_policy_without_clip_is_no_motion(tmp_path: Path, paths: dict[str, Path]) -> None:
    graph = Graph()
    graph.gemm("actor_obs", 100, 29, output="action")
    with pytest.raises(ConfigError, match="time_step"):
        reading.read(graph.save(tmp_path / "walk.onnx"))
    damaged = tmp_path / "damaged.onnx"
    shutil.copy(paths["holosoma"], damaged)
    damaged.write_bytes(damaged.read_bytes()[:5000])
    with pytest.raises(ConfigError, match=r"damaged\.onnx"):
        reading.read(damaged)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_they_track_their_clips(kind: str, paths: dict[str, Path]) -> None:
    """Stiff gains hold the robot on the clip that the scripted policy repeats: 3 cm."""
    source = policies.find(str(paths[kind]))
    setup = built(source, num_envs=1)
    try:
        steps = setup.env.spec.max_episode_steps - 1
        scores = evaluate.run(setup, source.policy(setup), None, steps, jax.random.key(0))
    finally:
        setup.bridge.close()
    mpkpe, joints = scores.first["mpkpe"], scores.first["joint_rms"]
    assert scores.survival_rate == 1.0
    assert mpkpe is not None and mpkpe < 0.04
    assert joints is not None and joints < 0.05
