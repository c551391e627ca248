"""Which config, robot and observations a policy file leads to."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax import robots
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.policy import policies
from holosoma_jax.policy.foreign import file_config
from holosoma_jax.runs import checkpoint
from holosoma_jax.runs.open_run import open_run
from holosoma_jax.runs.run_config import saved_config
from tests.runs.test_robot_files import folder  # noqa: F401
from tests.support import toy
from tests.support.policy_file import PolicyFile

OBS_DIM = {"g1": 100, "t1": 100, "k1": 79}


@pytest.mark.parametrize("robot", file_config.PRESETS)
def test_a_file_of_holosoma_gets_the_preset_of_its_robot(policy_file: PolicyFile, robot: str) -> None:
    source = policies.find(str(policy_file(robot, OBS_DIM[robot])))
    cfg = compose.load([], base=source.config)
    preset = compose.load([f"exp:{file_config.PRESETS[robot]}"])
    assert cfg.robot == preset.robot
    assert cfg.observation == preset.observation
    assert cfg.terrain.terrain_term.mesh_type == "plane"
    assert cfg.simulator.name == "mujoco"


def test_gains_and_scales_of_the_file_replace_the_record(policy_file: PolicyFile) -> None:
    g1 = robots.load("g1")
    stiff = (2.0 * g1.kp).tolist()
    adapted = policies.find(str(policy_file(kp=stiff, action_scale=0.4))).adapt(g1)
    np.testing.assert_allclose(adapted.kp, 2.0 * g1.kp)
    np.testing.assert_allclose(adapted.kd, g1.kd)
    np.testing.assert_allclose(adapted.action_scale, np.full(29, 0.4))
    without = policies.find(str(policy_file())).adapt(g1)
    np.testing.assert_allclose(without.action_scale, g1.action_scale)


def layout(**changes: dict[str, object]) -> list[dict[str, object]]:
    """The G1 preset's actor observations, as holosoma's exporter lists them."""
    terms = compose.load(["exp:g1-29dof"]).observation.groups["actor_obs"].terms
    dims = {"actions": 29, "dof_pos": 29, "dof_vel": 29, "base_ang_vel": 3, "projected_gravity": 3}
    dims |= {"command_ang_vel": 1, "command_lin_vel": 2, "cos_phase": 2, "sin_phase": 2}
    return [
        {
            "group": "actor_obs",
            "name": name,
            "func": f"reference.observations:{name}",
            "dim": dims[name],
            "history_length": 1,
            "scale": term.scale,
            "clip": None,
            "params": {},
        }
        | changes.get(name, {})
        for name, term in sorted(terms.items())
    ]


def test_scales_and_history_of_the_file_are_observed(policy_file: PolicyFile) -> None:
    frames = {term["name"]: {"history_length": 3} for term in layout()}
    frames["dof_vel"] |= {"scale": 0.1}
    file = policy_file(obs_dim=300, observation_layout=layout(**frames))
    group = compose.load([], base=policies.find(str(file)).config).observation.groups["actor_obs"]
    assert group.history_length == 3
    assert group.terms["dof_vel"].scale == 0.1
    assert group.terms["dof_pos"].scale == 1.0


def test_what_a_file_leaves_out_is_the_presets(policy_file: PolicyFile) -> None:
    terms = [{k: v for k, v in term.items() if k not in ("scale", "clip")} for term in layout()]
    file = str(policy_file(kp=None, kd=None, observation_layout=terms, observation_clip=5.0))
    source = policies.find(file)
    observation = compose.load([], base=source.config).observation
    assert observation.groups["actor_obs"].terms["dof_vel"].scale == 0.05
    assert observation.clip_observations == 5.0
    np.testing.assert_array_equal(source.adapt(robots.load("g1")).kp, robots.load("g1").kp)


def test_a_term_of_the_critic_may_be_the_policys(policy_file: PolicyFile) -> None:
    terms = layout(base_ang_vel={"name": "base_lin_vel"})
    base = policies.find(str(policy_file(observation_layout=terms))).config
    assert "base_lin_vel" in compose.load([], base=base).observation.groups["actor_obs"].terms


def test_command_ranges_of_the_file_are_drawn_from(policy_file: PolicyFile) -> None:
    ranges = {"lin_vel_x": [0.0, 2.0], "lin_vel_y": [0.0, 0.0]}
    cfg = compose.load([], base=policies.find(str(policy_file(command_ranges=ranges))).config)
    assert cfg.command.setup_terms["locomotion_command"].params["command_ranges"] == {
        "ang_vel_yaw": (-1.0, 1.0),  # the preset's
        "heading": (-3.14, 3.14),
    } | {name: tuple(pair) for name, pair in ranges.items()}


def error_of(file: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        policies.find(str(file))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_joints_of_no_known_robot_are_refused(policy_file: PolicyFile) -> None:
    names = [f"servo_{i}" for i in range(29)]
    line = error_of(policy_file(dof_names=names))
    assert "29 joints (servo_0, ...)" in line and "g1 (29 joints)" in line


def test_joints_in_another_order_are_those_of_the_same_robot(policy_file: PolicyFile) -> None:
    g1 = robots.load("g1")
    file = policy_file(dof_names=list(reversed(g1.joint_names)), kp=[float(i) for i in range(1, 30)])
    source = policies.find(str(file))
    assert compose.load([], base=source.config).robot.asset == "g1"
    np.testing.assert_array_equal(source.adapt(g1).kp, np.arange(29, 0, -1))


def test_a_term_that_nobody_knows_is_named(policy_file: PolicyFile) -> None:
    odd = layout(sin_phase={"name": "smell"})
    assert "'smell'" in error_of(policy_file(observation_layout=odd))


def test_the_longest_history_is_observed(policy_file: PolicyFile) -> None:
    mixed = layout(actions={"history_length": 2})
    source = policies.find(str(policy_file(obs_dim=129, observation_layout=mixed)))
    assert compose.load([], base=source.config).observation.groups["actor_obs"].history_length == 2


def test_terms_are_observed_in_the_order_of_the_file(policy_file: PolicyFile) -> None:
    backward = list(reversed(layout()))
    source = policies.find(str(policy_file(observation_layout=backward)))
    group = compose.load([], base=source.config).observation.groups["actor_obs"]
    assert group.order == tuple(term["name"] for term in backward)


def test_the_action_clip_of_the_file_is_used(policy_file: PolicyFile) -> None:
    source = policies.find(str(policy_file(action_clip=5.0)))
    assert compose.load([], base=source.config).robot.control.action_clip_value == 5.0


def test_another_robot_cannot_take_the_gains(policy_file: PolicyFile) -> None:
    source = policies.find(str(policy_file()))
    with pytest.raises(ConfigError, match=r"\b29\b.*'t1' \(AAHead_yaw, "):
        source.adapt(robots.load("t1"))


def test_a_run_from_elsewhere_brings_its_robot_and_no_settings_of_its_machine(
    folder: Path,  # noqa: F811
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cfg = toy.config(output_dir=str(tmp_path / "logs"))
    cfg = replace(
        cfg,
        robot=replace(cfg.robot, asset=str(folder)),
        training=replace(cfg.training, headless=False),
        viewer=replace(cfg.viewer, host="0.0.0.0"),
    )
    with open_run(cfg) as run:
        meta = checkpoint.Meta(
            step=5,
            robot="mybot",
            simulator="mujoco",
            num_envs=1,
            seed=0,
            elapsed_s=0.0,
            config=compose.to_mapping(cfg),
        )
        checkpoint.save(run.folder.checkpoints, {"learner": {"bias": jnp.zeros(1)}}, meta)
    shutil.rmtree(folder)
    copy = shutil.copytree(run.folder.path, tmp_path / "copy")
    for path in (copy, copy / "checkpoints" / "5"):
        caplog.clear()
        source = policies.find(str(path))
        assert (source.path, source.folder) == (copy / "checkpoints" / "5", copy)
        assert source.config == saved_config(path)
        assert robots.load(source.config.config["robot"]["asset"]).name == "mybot"
        assert source.config.config["training"]["headless"] is True
        assert source.config.config["viewer"]["host"] == "127.0.0.1"
        assert "viewer.host '0.0.0.0'" in caplog.text
    # Where it was begun, too, the robot is the one that was trained.
    here = policies.find(str(run.folder.path)).config.config
    assert here["robot"]["asset"] == str(run.folder.path / "robot")
    assert here["viewer"]["host"] == "0.0.0.0"


def test_a_file_decides_neither_what_is_imported_nor_what_is_started(
    policy_file: PolicyFile, caplog: pytest.LogCaptureFixture
) -> None:
    config = compose.to_mapping(compose.load(["exp:g1-29dof"]))
    config["simulator"]["config"]["remote"]["python"] = "./run_me"
    ours = {"holosoma_jax_version": "9.9", "experiment_config": config}
    cfg = compose.load([], base=policies.find(str(policy_file(**ours))).config)
    assert cfg.simulator.config.remote.python == "" and "remote.python './run_me'" in caplog.text
    config["reward"]["terms"]["outside_terms:alive"] = {"weight": 1.0}
    with pytest.raises(ConfigError, match="--allow-code outside_terms"):
        compose.load([], base=policies.find(str(policy_file(**ours))).config)
