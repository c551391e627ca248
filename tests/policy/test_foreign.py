"""Policies as other projects export them: which config they get, and what reaches the network and the joints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from holosoma_jax import experiment
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.evaluation import PolicyArgs
from holosoma_jax.policy import policies
from holosoma_jax.policy.foreign import observed_terms, stated
from holosoma_jax.policy.foreign.metadata import decode
from holosoma_jax.robots import joint_order
from tests.support.foreign_files import BREADTH_FIRST, G1, Write, deploy_yaml, mjlab_metadata, separated

ISAACLAB = [G1.joint_names[i] for i in BREADTH_FIRST]


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


def test_mjlab_states_scale_history_and_clip_of_each_term(picking: Write) -> None:
    """A scale for each entry between semicolons; a history of 0 is one frame; the group keeps the longest."""
    stated = mjlab_metadata(list(G1.joint_names)) | {
        "observation_names": "joint_vel,base_ang_vel,joint_pos",
        "observation_terms_scale": "0.050,0.200;0.200;0.400,1.000",
        "observation_terms_clip": "-inf;inf,-100.000;100.000,-inf;inf",
        "observation_terms_history_length": "0.000,2.000,0.000",
        "observation_terms_flatten_history_dim": "1.000,1.000,1.000",
    }
    source = policies.find(str(picking(29 + 2 * 3 + 29, [*range(23), *range(29, 35)], **stated)))
    group = compose.load([], base=source.config).observation.groups["actor_obs"]
    assert (group.history_length, group.history_fill) == (2, "first")
    assert group.terms["dof_vel"].scale == 0.05

    setup = built(source)
    try:
        obs, blocks = rows(setup)
        found = source.policy(setup).act(obs)
        np.testing.assert_allclose(found[:, :23], blocks["dof_vel"][:, -1, :23])
        turned = blocks["base_ang_vel"] * np.float32([0.2, 0.2, 0.4])
        np.testing.assert_allclose(found[:, 23:], turned.reshape(2, 6), rtol=1e-6)
    finally:
        setup.bridge.close()


def test_histories_by_name_and_terms_that_a_flag_lists(picking: Write) -> None:
    stated = mjlab_metadata(list(G1.joint_names)) | {
        "observation_names": "joint_vel,joint_pos",
        "observation_history_lengths": '{"joint_pos": 2}',
    }
    layout = observed_terms.layout(decode(stated), "actor_obs", 29)
    assert [(term["name"], term["history_length"]) for term in layout] == [("joint_vel", 1), ("joint_pos", 2)]
    # what the file says of its own terms is not laid over those of the flag
    scales = {"observation_names": "smell,joint_pos", "observation_terms_scale": "2.000,3.000"}
    file = picking(29, list(range(29)), **mjlab_metadata(list(G1.joint_names)) | scales)
    group = compose.load(
        [], base=policies.find(str(file), PolicyArgs(observation_names=("joint_pos",))).config
    ).observation.groups["actor_obs"]
    assert {name: term.scale for name, term in group.terms.items()} == {"dof_pos": 1.0}


def test_joints_may_be_named_without_their_suffix_and_below_a_robot(picking: Write) -> None:
    for names in ([n.removesuffix("_joint") for n in G1.joint_names], [f"robot/{n}" for n in G1.joint_names]):
        stated = mjlab_metadata(list(G1.joint_names)) | {"observation_names": "joint_pos"}
        file = picking(29, list(range(29)), **stated | {"joint_names": ",".join(names)})
        np.testing.assert_allclose(policies.find(str(file)).adapt(G1).kp, 2.0 * G1.kp, atol=6e-4)


def test_holosomas_keys_may_hold_text_with_commas(picking: Write) -> None:
    lists = {"dof_names": ",".join(G1.joint_names), "kp": separated(2.0 * G1.kp), "kd": separated(G1.kd)}
    robot = policies.find(str(picking(100, list(range(29)), **lists))).adapt(G1)
    np.testing.assert_allclose(robot.kp, 2.0 * G1.kp, atol=6e-4)


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
