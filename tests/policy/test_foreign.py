"""Policies as other projects export them: which config they get, and what reaches the network and the joints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import yaml

from holosoma_jax import experiment, robots
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.evaluation import PolicyArgs
from holosoma_jax.envs.env import EnvSpec, ObservationTerm
from holosoma_jax.policy import policies
from holosoma_jax.policy.foreign import adapter, stated
from holosoma_jax.robots import joint_order
from tests.support.onnx_files import Graph

G1 = robots.load("g1")
BREADTH_FIRST = [
    *(
        0,
        6,
        12,
        1,
        7,
        13,
        2,
        8,
        14,
        3,
        9,
        15,
        22,
        4,
        10,
        16,
        23,
        5,
        11,
        17,
        24,
        18,
        25,
        19,
        26,
        20,
        27,
        21,
        28,
    )
]
"""`joint_ids_map` of the deploy.yaml that unitree_rl_lab writes for the G1 of 29 joints"""
ISAACLAB = [G1.joint_names[i] for i in BREADTH_FIRST]
MJLAB = ("base_lin_vel", "base_ang_vel", "projected_gravity", "joint_pos", "joint_vel", "actions", "command")

Write = Callable[..., Path]


@pytest.fixture
def picking(tmp_path: Path) -> Write:
    """Writes a policy whose action i is entry `picks[i]` of its observation: what goes in, comes out."""

    def write(obs_dim: int, picks: list[int], name: str = "policy.onnx", **raw: str) -> Path:
        graph = Graph()
        weight = np.zeros((len(picks), obs_dim))
        weight[np.arange(len(picks)), picks] = 1.0
        bias = graph.const(np.zeros(len(picks)))
        graph.add("Gemm", "obs", graph.const(weight), bias, output="actions", transB=1)
        return graph.save(
            tmp_path / name,
            raw=raw,
            inputs={"obs": (1, obs_dim)},
            output="actions",
            output_shape=(1, len(picks)),
        )

    return write


def separated(values: Any) -> str:
    """Comma-separated text, three decimals, as mjlab and BeyondMimic write it."""
    return ",".join(v if isinstance(v, str) else f"{v:.3f}" for v in values)


def mjlab_metadata(names: list[str]) -> dict[str, str]:
    order = [G1.joint_names.index(name) for name in names]
    return {
        "run_path": "someone/mjlab/abc123",
        "joint_names": separated(names),
        "joint_stiffness": separated(2.0 * G1.kp[order]),
        "joint_damping": separated(G1.kd[order]),
        "default_joint_pos": separated(0.01 * np.arange(29)),
        "command_names": "twist",
        "observation_names": separated(MJLAB),
        "action_scale": separated(np.linspace(0.2, 0.6, 29)),
    }


def built(source: policies.PolicySource, *arguments: str) -> experiment.Setup:
    cfg = compose.load(["--training.num-envs=2", *arguments], base=source.config)
    return experiment.build(cfg, evaluation=True, adapt=source.adapt)


def rows(setup: experiment.Setup) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Observations [2, D] whose entries tell where they are, and every term's block [2, frames, dim]."""
    spec = setup.env.spec
    obs = np.arange(2 * spec.obs_dims["actor_obs"], dtype=np.float32).reshape(2, -1) / 64.0
    blocks = {
        t.name: obs[:, t.start : t.start + t.dim * t.history_length].reshape(2, t.history_length, t.dim)
        for t in spec.layout
        if t.group == "actor_obs"
    }
    return obs, blocks


def test_breadth_first_is_the_order_of_isaac_lab() -> None:
    assert list(joint_order.breadth_first(G1)) == ISAACLAB


@pytest.mark.parametrize("name", ["policy.onnx", "POLICY.ONNX"])
def test_mjlab_states_joints_gains_and_observations_as_text(picking: Write, name: str) -> None:
    names = list(reversed(G1.joint_names))
    # three of base_lin_vel, three of base_ang_vel, gravity, then joint positions from entry 9 on
    file = picking(99, list(range(9, 38)), name, **mjlab_metadata(names))
    source = policies.find(str(file))
    group = compose.load([], base=source.config).observation.groups["actor_obs"]
    assert group.order == (
        *("base_lin_vel", "base_ang_vel", "projected_gravity", "dof_pos", "dof_vel", "actions"),
        *("command_lin_vel", "command_ang_vel"),
    )
    assert {term.scale for term in group.terms.values()} == {1.0}
    robot = source.adapt(G1)
    np.testing.assert_allclose(robot.kp, 2.0 * G1.kp, atol=6e-4)
    np.testing.assert_allclose(robot.default_joint_pos[::-1], 0.01 * np.arange(29), atol=6e-4)
    np.testing.assert_allclose(robot.action_scale[::-1], np.linspace(0.2, 0.6, 29), atol=6e-4)

    setup = built(source)
    try:
        obs, blocks = rows(setup)
        # Joint positions in, actions out, both in the file's order: here they are in the robot's, both times.
        np.testing.assert_allclose(source.policy(setup).act(obs), blocks["dof_pos"][:, 0])
    finally:
        setup.bridge.close()


def deploy_yaml(history: int) -> dict[str, Any]:
    """As unitree_rl_lab writes it: gains by motor, everything else by the policy's joints."""
    pose = (0.01 * np.arange(29)).round(3).tolist()
    names = (
        "base_ang_vel",
        "projected_gravity",
        "velocity_commands",
        "joint_pos_rel",
        "joint_vel_rel",
        "last_action",
    )
    scales = {"base_ang_vel": [0.2] * 3, "joint_vel_rel": [0.05] * 29, "velocity_commands": [2.0, 2.0, 0.25]}
    dims = {"joint_pos_rel": 29, "joint_vel_rel": 29, "last_action": 29}
    return {
        "joint_ids_map": BREADTH_FIRST,
        "step_dt": 0.02,
        "stiffness": (10.0 + np.arange(29)).tolist(),
        "damping": [2.0] * 29,
        "default_joint_pos": pose,
        "commands": {"base_velocity": {"ranges": {"lin_vel_x": [-0.5, 1.0], "ang_vel_z": [-0.2, 0.2]}}},
        "actions": {
            "JointPositionAction": {
                "clip": None,
                "joint_names": [".*"],
                "scale": [0.25] * 29,
                "offset": pose,
                "joint_ids": None,
            }
        },
        "observations": {
            name: {
                "params": {},
                "clip": [-100.0, 100.0],
                "scale": scales.get(name, [1.0] * dims.get(name, 3)),
                "history_length": history,
            }
            for name in names
        },
    }


@pytest.mark.parametrize(
    ("place", "damping", "integrator"),
    # 0.0036 kg m^2 of armature: at 200 Hz, explicit damping diverges above 1.44 N m s/rad
    [("deploy.yaml", 1.4, "euler"), ("../params/deploy.yaml", 10.0, "implicitfast")],
)
def test_unitree_states_everything_in_a_file_beside(
    picking: Write, tmp_path: Path, place: str, damping: float, integrator: str
) -> None:
    history, frame = 5, 96
    # the newest frame of the joint positions: behind 5 x (3 + 3 + 3) entries and four older frames
    start = history * 9 + 4 * 29
    file = picking(history * frame, list(range(start, start + 29)), "exported.onnx")
    beside = (tmp_path / place).resolve()
    if place != "deploy.yaml":
        (tmp_path / "exported").mkdir()
        file = file.rename(tmp_path / "exported" / "policy.onnx")
        beside = tmp_path / "params" / "deploy.yaml"
        beside.parent.mkdir()
    text = yaml.safe_dump(deploy_yaml(history) | {"damping": [damping] * 29}, sort_keys=False)
    # as PyYAML writes the slice of all joints that some releases keep there
    whole = "joint_ids: !!python/object/apply:builtins.slice [null, null, null]"
    beside.write_text(text.replace("joint_ids: null", whole))
    source = policies.find(str(file))
    cfg = compose.load([], base=source.config)
    group = cfg.observation.groups["actor_obs"]
    assert (group.history_length, group.history_fill) == (history, "first")
    assert group.terms["dof_vel"].scale == 0.05 and group.terms["base_ang_vel"].scale == 0.2
    ranges = cfg.command.setup_terms["locomotion_command"].params["command_ranges"]
    assert (ranges["lin_vel_x"], ranges["ang_vel_yaw"]) == ((-0.5, 1.0), (-0.2, 0.2))
    assert cfg.simulator.config.mujoco.integrator == integrator
    robot = source.adapt(G1)
    np.testing.assert_array_equal(robot.kp, 10.0 + np.arange(29))  # motors are in our order
    np.testing.assert_allclose(robot.default_joint_pos[BREADTH_FIRST], 0.01 * np.arange(29), atol=1e-6)

    setup = built(source)
    try:
        obs, blocks = rows(setup)
        np.testing.assert_allclose(source.policy(setup).act(obs), blocks["dof_pos"][:, -1])
    finally:
        setup.bridge.close()


def test_the_terms_that_a_flag_or_our_file_lists_come_before_a_deploy_yaml(tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").write_text(yaml.safe_dump(deploy_yaml(5)))
    file = tmp_path / "policy.onnx"
    assert len(stated.gather(file)["observation_layout"]) == 6
    named = stated.gather(file, PolicyArgs(observation_names=("gyro", "gravity")))
    assert named["observation_names"] == ["gyro", "gravity"] and "observation_layout" not in named
    assert named["kp"][0] == 10.0  # which nothing else says
    frames = stated.gather(file, PolicyArgs(observation_history=2))
    assert frames["observation_history"] == 2 and len(frames["observation_layout"]) == 6
    (tmp_path / "policy.yaml").write_text("observation_names: [gyro]\nobservation_scales: [0.25]\n")
    assert stated.gather(file)["observation_scales"] == [0.25]
    flag = stated.gather(file, PolicyArgs(observation_names=("gyro", "gravity")))
    assert flag["observation_names"] == ["gyro", "gravity"] and "observation_scales" not in flag


def spec_of(*terms: tuple[str, int, int, float]) -> EnvSpec:
    """An environment that observes (name, dim, frames, scale)."""
    layout, start = [], 0
    for name, dim, frames, scale in terms:
        layout.append(ObservationTerm("g", name, name, dim, frames, scale, 0.0, start, (), ()))
        start += dim * frames
    return cast(EnvSpec, SimpleNamespace(layout=tuple(layout), obs_dims={"g": start}))


def adapted(
    layout: list[dict[str, Any]], spec: EnvSpec, joints: list[int], num_joints: int = 3
) -> np.ndarray:
    made = adapter.make("p", layout, spec, "g", np.array(joints), num_joints)
    return made.observation(np.arange(spec.obs_dims["g"], dtype=np.float32)[None])[0]


def test_commands_of_three_entries_are_taken_frame_by_frame() -> None:
    # Ours: (vx vy) of two frames, then (wz) of two; theirs: (vx vy wz) of each frame, with a scale an entry.
    spec = spec_of(("command_ang_vel", 1, 2, 1.0), ("command_lin_vel", 2, 2, 1.0))
    layout = [{"name": "velocity_commands", "dim": 3, "history_length": 2, "scale": [1.0, 1.0, 0.5]}]
    assert adapted(layout, spec, [0]).tolist() == [2, 3, 0, 4, 5, 0.5]


def test_terms_may_keep_different_histories_of_which_the_newest_are_taken() -> None:
    spec = spec_of(("base_ang_vel", 3, 2, 1.0), ("dof_pos", 3, 2, 1.0))
    layout: list[Mapping[str, Any]] = [
        {"name": "joint_pos", "dim": 2, "history_length": 2, "scale": 1.0},  # joints 2 and 0 of three
        {"name": "gyro", "dim": 3, "history_length": 1, "scale": 1.0},
    ]
    assert adapted(cast(Any, layout), spec, [2, 0]).tolist() == [8, 6, 11, 9, 3, 4, 5]


def test_joints_that_the_policy_does_not_move_get_no_action() -> None:
    spec = spec_of(("dof_pos", 3, 1, 1.0))
    layout = [{"name": "dof_pos", "dim": 2, "history_length": 1}]
    made = adapter.make("p", layout, spec, "g", np.array([2, 0]), 3)
    assert made.action(np.array([[5.0, 7.0]])).tolist() == [[7.0, 0.0, 5.0]]


def test_flags_replace_what_a_layout_of_the_files_own_says(picking: Write) -> None:
    layout = [{"name": "dof_vel", "scale": 1.0}, {"name": "base_ang_vel", "scale": 0.2, "history_length": 1}]
    stated = {"dof_names": json.dumps(G1.joint_names), "observation_layout": json.dumps(layout)}
    file = picking(64, list(range(29)), **stated, observation_scales="any", observation_history="[7]")
    args = PolicyArgs(
        observation_history=2, observation_history_fill="first", observation_scales=(0.05, 0.5)
    )  # fmt: skip
    group = compose.load([], base=policies.find(str(file), args).config).observation.groups["actor_obs"]
    assert (group.history_length, group.history_fill) == (2, "first")
    assert [group.terms[name].scale for name in ("dof_vel", "base_ang_vel")] == [0.05, 0.5]
    with pytest.raises(ConfigError, match=r"1 entries.* 2 terms"):
        policies.find(str(file), PolicyArgs(observation_scales=(1.0,)))


@pytest.mark.parametrize(
    "history",
    [
        {"observation_history": "[2]"},
        {"observation_history": '{"joint_pos": []}'},
        {"observation_history_lengths": "inf"},
        {"observation_history_lengths": "[[1]]"},
    ],
)
def test_a_history_that_is_no_number_of_frames_is_one_line(picking: Write, history: dict[str, str]) -> None:
    stated = mjlab_metadata(list(G1.joint_names)) | {"observation_names": "joint_pos"} | history
    with pytest.raises(ConfigError, match=r"policy\.onnx.*'joint_pos'") as caught:
        policies.find(str(picking(29, list(range(29)), **stated)))
    assert "\n" not in str(caught.value)


def test_deep_metadata_is_an_error_only_where_it_matters(picking: Write) -> None:
    stated = mjlab_metadata(list(G1.joint_names)) | {"observation_names": "joint_pos"}
    deep = "[" * 100_000
    file = picking(29, list(range(29)), **stated, notes=deep, observation_history='{"joint_pos": null}')
    assert policies.find(str(file)).adapt(G1).kp.shape == (29,)
    with pytest.raises(ConfigError, match="'kp'"):
        policies.find(str(picking(29, list(range(29)), **stated, kp=deep)))


def test_flags_state_what_a_file_of_isaac_lab_leaves_out(picking: Write) -> None:
    args = PolicyArgs(
        joint_order="isaaclab",
        observation_names=(
            *("base_ang_vel", "projected_gravity", "velocity_commands"),
            *("joint_pos", "joint_vel", "actions"),
        ),
        observation_scales=(0.2, 1.0, 1.0, 1.0, 0.05, 1.0),
        kp=40.0,
        kd=2.0,
        action_scale=0.25,
        control_dt=0.01,
        action_clip=7.0,
    )  # fmt: skip
    file = picking(96, list(range(9, 38)))
    with pytest.raises(ConfigError, match=r"--policy\.joint-names"):
        policies.find(str(file))
    source = policies.find(str(file), args)
    cfg = compose.load([], base=source.config)
    assert cfg.simulator.config.sim.control_decimation == 2
    assert cfg.robot.control.action_clip_value == 7.0
    assert cfg.observation.groups["actor_obs"].terms["dof_vel"].scale == 0.05
    robot = source.adapt(G1)
    assert set(robot.kp.tolist()) == {40.0} and set(robot.kd.tolist()) == {2.0}
    # The same in a file beside it; flags win.
    stated = {
        "joint_order": "isaaclab",
        "kp": 30.0,
        "kd": 2.0,
        "observation_names": list(args.observation_names or ()),
    }
    file.with_suffix(".yaml").write_text(yaml.safe_dump(stated))
    assert set(policies.find(str(file)).adapt(G1).kp.tolist()) == {30.0}
    assert set(policies.find(str(file), PolicyArgs(kp=35.0)).adapt(G1).kp.tolist()) == {35.0}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"kpp": 1.0}, "unknown key 'kpp'"),
        ([1, 2], "got list"),
        ({"joint_order": "sdk"}, "got 'sdk'"),
        ({"joint_order": "mjcf", "joint_names": ["a"]}, "joint_order and joint_names"),
        ({"joint_order": "mjcf", "observation_names": ["joint_pos", "smell"]}, "'smell'"),
        (
            {"joint_order": "mjcf", "observation_names": ["joint_pos"], "observation_scales": [1, 2]},
            "2 entries",
        ),
        ({"joint_order": "mjcf", "observation_names": ["joint_pos"], "observation_scales": "x"}, "'x'"),
        ({"joint_order": "mjcf", "observation_names": ["gyro"], "observation_scales": [{"a": 1}]}, "'gyro'"),
        ({"joint_order": "mjcf", "kp": 1e300}, "'kp'"),
        ({"joint_order": "mjcf", "kp": -1.0}, "'kp' has the entry -1.0"),
        ({"joint_order": "mjcf", "control_dt": 0.013}, "0.013 s"),
        ({"joint_ids_map": [0, 1]}, "deploy.yaml"),
        ({"joint_ids_map": [float("inf")]}, "deploy.yaml"),
        ("kp: !!bool maybe", "cannot be read"),
        ("kp: !!int x", "cannot be read"),
        ("[" * 5000, "cannot be read"),
        ("#" * 2_000_000, "2 MB"),
    ],
)
def test_what_is_wrong_beside_a_file_is_one_line(picking: Write, content: Any, expected: str) -> None:
    file = picking(29, list(range(29)))
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    file.with_suffix(".yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        policies.find(str(file))
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_no_other_python_value_is_made_of_a_yaml_file(picking: Write) -> None:
    file = picking(29, list(range(29)))
    file.with_suffix(".yaml").write_text("kp: !!python/object/apply:os.getcwd []")
    with pytest.raises(ConfigError, match=r"os\.getcwd"):
        policies.find(str(file))


def test_a_robot_of_ones_own_is_named(picking: Write, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for item in G1.mjcf.parent.glob("*.*"):
        (folder / item.name).write_bytes(item.read_bytes())
    record = folder / "robot.yaml"
    model = folder / G1.mjcf.name
    for path in (record, model):
        path.write_text(path.read_text().replace("left_knee_joint", "left_servo"))
    mine = robots.load(str(folder))
    stated = mjlab_metadata(list(G1.joint_names)) | {"observation_names": "joint_pos"}
    file = picking(29, list(range(29)), **stated | {"joint_names": separated(mine.joint_names)})
    with pytest.raises(ConfigError, match=r"--robot\.asset"):
        policies.find(str(file))
    source = policies.find(str(file), asset=str(folder))
    assert source.config.config["robot"]["asset"] == str(folder)
    assert source.adapt(mine).kp.shape == (29,)


def test_frames_before_the_episode_are_as_the_policy_states() -> None:
    """One that does not say takes ours; another filling is another observation, but for a single frame."""
    spec = spec_of(("dof_pos", 2, 3, 1.0))
    term: dict[str, Any] = {"name": "dof_pos", "dim": 2, "history_length": 3}
    for filled in (
        term,
        term | {"history_fill": "zero"},
        term | {"history_fill": "first", "history_length": 1},
    ):
        assert adapted([filled], spec, [0, 1]).size == 2 * filled["history_length"]
    with pytest.raises(ConfigError, match="history_fill first"):
        adapted([term | {"history_fill": "first"}], spec, [0, 1])
