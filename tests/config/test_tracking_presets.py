"""The numbers of the tracking presets: the G1's are holosoma's, the others differ from them as their files say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from holosoma_jax import robots
from holosoma_jax.config import compose
from tests.config.test_presets import flat, params

EXPERIMENTS = Path(__file__).parents[2] / "configs" / "exp"
G1 = ("g1-29dof-wbt", "g1-29dof-wbt-fast-sac")
OTHERS = {"t1-29dof-wbt": "t1", "k1-22dof-wbt": "k1"}


def load(exp: str):
    return compose.load([f"exp:{exp}"])


@pytest.mark.parametrize("exp", G1)
def test_run(exp):
    config = load(exp)
    assert (config.training.num_envs, config.training.seed, config.task) == (4096, 42, "tracking")
    sim = config.simulator.config.sim
    assert (sim.fps, sim.control_decimation, sim.max_episode_length_s) == (200, 4, 10.0)
    assert config.terrain.terrain_term.mesh_type == "plane"
    assert config.robot.enable_self_collisions


def test_ppo():
    ours = compose.to_mapping(load("g1-29dof-wbt").algo.config)
    figures = {
        "num_learning_iterations": 30000,
        "num_steps_per_env": 24,
        "num_learning_epochs": 5,
        "num_mini_batches": 4,
        "gamma": 0.99,
        "lam": 0.95,
        "clip_param": 0.2,
        "value_loss_coef": 1.0,
        "entropy_coef": 0.005,
        "actor_learning_rate": 1e-3,
        "critic_learning_rate": 1e-3,
        "schedule": "adaptive",
        "desired_kl": 0.01,
        "max_grad_norm": 1.0,
        "init_noise_std": 1.0,
        "actor_hidden": [512, 256, 128],
        "critic_hidden": [512, 256, 128],
        "activation": "elu",
        "empirical_normalization": True,
        "use_symmetry": False,
        "init_at_random_ep_len": True,
        "save_interval": 4000,
    }
    assert {key: ours[key] for key in figures} == figures
    assert ours["actor_optimizer"]["weight_decay"] == ours["critic_optimizer"]["weight_decay"] == 0.0


def test_fast_sac():
    ours = compose.to_mapping(load("g1-29dof-wbt-fast-sac").algo.config)
    figures = {
        "num_learning_iterations": 400000,
        "num_updates": 4,
        "policy_frequency": 2,
        "gamma": 0.99,
        "tau": 0.05,
        "batch_size": 8192,
        "buffer_size": 1024,
        "num_steps": 1,
        "learning_starts": 10,
        "actor_learning_rate": 3e-4,
        "critic_learning_rate": 3e-4,
        "alpha_learning_rate": 3e-4,
        "max_grad_norm": 0.0,
        "alpha_init": 0.001,
        "use_autotune": True,
        "target_entropy_ratio": 0.5,
        "num_critics": 2,
        "num_atoms": 501,
        "v_min": -20.0,
        "v_max": 20.0,
        "actor_hidden_dim": 512,
        "critic_hidden_dim": 768,
        "use_layer_norm": True,
        "log_std_min": -5.0,
        "log_std_max": 0.0,
        "obs_normalization": True,
        "use_symmetry": False,
        "init_at_random_ep_len": False,
        "save_interval": 1000,
    }
    assert {key: ours[key] for key in figures} == figures
    for role in ("actor", "critic"):
        assert ours[f"{role}_optimizer"] == {"weight_decay": 0.001, "b1": 0.9, "b2": 0.95, "eps": 1e-8}


@pytest.mark.parametrize(
    ("exp", "place", "body_place", "smooth"),
    [("g1-29dof-wbt", 0.5, 1.0, -0.1), ("g1-29dof-wbt-fast-sac", 1.0, 2.0, -1.0)],
)
def test_rewards(exp, place, body_place, smooth):
    reward = load(exp).reward
    assert not reward.only_positive_rewards
    assert {name: (term.weight, term.params) for name, term in reward.terms.items()} == {
        "motion_global_ref_position_error_exp": (place, {"sigma": 0.3}),
        "motion_global_ref_orientation_error_exp": (0.5, {"sigma": 0.4}),
        "motion_relative_body_position_error_exp": (body_place, {"sigma": 0.3}),
        "motion_relative_body_orientation_error_exp": (1.0, {"sigma": 0.4}),
        "motion_global_body_lin_vel": (1.0, {"sigma": 1.0}),
        "motion_global_body_ang_vel": (1.0, {"sigma": 3.14}),
        "action_rate_l2": (smooth, {}),
        "limits_dof_pos": (-10.0, {"soft_dof_pos_limit": 0.9}),
        "undesired_contacts": (-0.1, {"threshold": 1.0}),
    }


@pytest.mark.parametrize("exp", G1)
def test_observations(exp):
    actor = {
        "actions": 0.0,
        "base_ang_vel": 0.2,
        "dof_pos": 0.01,
        "dof_vel": 0.5,
        "motion_command": 0.0,
        "motion_ref_ori_b": 0.05,
    }
    critic = {*actor, "base_lin_vel", "motion_ref_pos_b", "robot_body_ori_b", "robot_body_pos_b"}
    groups = load(exp).observation.groups
    assert {name: term.noise for name, term in groups["actor_obs"].terms.items()} == actor
    assert set(groups["critic_obs"].terms) == critic
    assert (groups["actor_obs"].enable_noise, groups["critic_obs"].enable_noise) == (True, False)
    for group in groups.values():
        assert group.history_length == 1
        assert {term.scale for term in group.terms.values()} == {1.0}


@pytest.mark.parametrize("exp", G1)
def test_terminations(exp):
    terms = load(exp).termination.terms
    assert {name: term.is_timeout for name, term in terms.items()} == {"timeout": True, "bad_tracking": False}
    assert compose.to_mapping(terms["bad_tracking"])["params"] == {
        "height_only": True,
        "bad_ref_pos_threshold": 0.5,
        "bad_ref_ori_threshold": 0.8,
        "bad_motion_body_pos_threshold": 0.25,
        "bad_motion_body_pos_body_names": None,
    }


@pytest.mark.parametrize("exp", G1)
def test_command_and_randomization(exp):
    config = load(exp)
    motion = params(config.command.setup_terms)["motion_command"]["motion_config"]
    assert motion["use_adaptive_timesteps_sampler"] and motion["clip_end"] == "resample"
    assert motion["noise_to_initial_pose"] == {
        "overall_noise_scale": 1.0,
        "dof_pos": 0.1,
        "root_pos": [0.05, 0.05, 0.01],
        "root_rot": [0.1, 0.1, 0.2],
        "root_lin_vel": [0.5, 0.5, 0.2],
        "root_ang_vel": [0.52, 0.52, 0.78],
    }
    terms = params(config.randomization.setup_terms)
    assert terms["push_randomizer_state"] == {
        "push_interval_s": [1.0, 3.0],
        "max_push_vel": [0.5, 0.5, 0.2, 0.52, 0.52, 0.78],
        "enabled": True,
    }
    assert terms["setup_dof_pos_bias"] == {"dof_pos_bias_range": [-0.01, 0.01], "enabled": True}
    com = {"x": [-0.025, 0.025], "y": [-0.05, 0.05], "z": [-0.05, 0.05]}
    assert terms["randomize_base_com_startup"] == {"base_com_range": com, "enabled": True}
    off = ("setup_action_delay_buffers", "setup_torque_rfi")
    assert not any(terms[name]["enabled"] for name in off)
    assert not terms["actuator_randomizer_state"]["enable_pd_gain"]


def test_the_robot():
    """A unit action asks for a quarter of each joint's torque limit; links are those of holosoma."""
    config = load("g1-29dof-wbt").robot
    robot = robots.configure(robots.load(config.asset), config)
    scale = dict(zip(robot.joint_names, robot.action_scale.tolist(), strict=True))
    assert scale["left_hip_pitch_joint"] == pytest.approx(0.547546465)
    assert scale["right_knee_joint"] == pytest.approx(0.350661466)
    assert scale["waist_roll_joint"] == pytest.approx(0.438577314)
    assert scale["left_wrist_yaw_joint"] == pytest.approx(0.07450087)
    assert robot.init_pos == (0.0, 0.0, 0.76)
    sides = [
        f"{side}_{part}"
        for side in ("left", "right")
        for part in ("hip_roll_link", "knee_link", "ankle_roll_link")
    ]
    arms = [
        f"{side}_{part}"
        for side in ("left", "right")
        for part in ("shoulder_roll_link", "elbow_link", "wrist_yaw_link")
    ]
    assert robot.tracked_bodies == ("pelvis", *sides, "torso_link", *arms)
    assert robot.end_bodies == (
        "left_ankle_roll_link",
        "right_ankle_roll_link",
        "left_wrist_yaw_link",
        "right_wrist_yaw_link",
    )


ROBOT = (
    "exp",
    "training.name",
    "robot.",
    "command.setup_terms.motion_command.params.motion_config.motion_file",
)
SMALLER = (
    "termination.terms.bad_tracking.params.bad_ref_pos_threshold",
    "termination.terms.bad_tracking.params.bad_motion_body_pos_threshold",
    "randomization.setup_terms.randomize_base_com_startup.params.base_com_range.",
)
"""Lengths that the K1 has smaller."""


@pytest.mark.parametrize("exp", OTHERS)
def test_other_robots_differ_from_the_g1_in_themselves_only(exp):
    before, ours = (flat(compose.to_mapping(load(e))) for e in ("g1-29dof-wbt", exp))
    changed = {key for key in before | ours if before.get(key) != ours.get(key)}
    allowed = ROBOT + (SMALLER if exp == "k1-22dof-wbt" else ())
    assert {key for key in changed if not key.startswith(allowed)} == set()
    for key in SMALLER if exp == "k1-22dof-wbt" else ():
        theirs = [before[k] for k in before if k.startswith(key)]
        mine = [ours[k] for k in ours if k.startswith(key)]
        ratio = [m / t for m, t in zip(numbers(mine), numbers(theirs), strict=True)]
        assert ratio == pytest.approx([0.7] * len(ratio), abs=0.03)


STATED = {
    "exp": "",
    "training.name": "",
    "command.setup_terms.motion_command.params.motion_config.motion_file": "g1_squat",
    "command.setup_terms.motion_command.params.motion_config.clip_end": "clip_end timeout",
    "command.setup_terms.motion_command.params.motion_config.sampler.uniform_ratio": "uniform_ratio 0.5",
    "simulator.config.": "100 Hz with implicit damping instead of 200 Hz Euler",
    "robot.enable_self_collisions": "links do not collide",
    "training.num_envs": "512 instead of 4096",
    "algo.config.actor_hidden": "256-128-128 instead of 512-256-128",
    "algo.config.critic_hidden": "256-128-128 instead of 512-256-128",
    "algo.config.num_learning_iterations": "250 instead of 30000",
    "algo.config.save_interval": "50 instead of 4000",
    "algo.config.reference_action": "added to the clip's joint angles",
    "algo.config.desired_kl": "0.03 instead of 0.01",
    "algo.config.min_critic_learning_rate": "fixed rate of 1e-3",
    "algo.config.max_critic_learning_rate": "critic_learning_rate and its bounds",
    "algo.config.entropy_coef": "0.002 instead of 0.005",
    "algo.config.init_noise_std": "0.3 instead of 1.0",
    "command.setup_terms.motion_command.params.motion_config.noise_to_initial_pose.": "half of the noise",
    "randomization.setup_terms.push_randomizer_state.params.enabled": "no pushes",
    "randomization.setup_terms.randomize_friction_startup.params.enabled": "friction",
    "randomization.setup_terms.randomize_base_com_startup.params.enabled": "centre of mass",
    "randomization.setup_terms.setup_dof_pos_bias.params.enabled": "joint bias",
    "observation.groups.actor_obs.enable_noise": "no observation noise",
    "logger.video.interval": "first and the last policy",
}
"""Key, or start of keys, that the CPU preset changes -> words for it in the header of its file."""


def test_the_cpu_preset_differs_as_its_file_says():
    before, cpu = (flat(compose.to_mapping(load(e))) for e in ("g1-29dof-wbt", "g1-29dof-wbt-cpu"))
    header = (EXPERIMENTS / "g1-29dof-wbt-cpu.yaml").read_text().split("groups:")[0].replace("\n#", "")
    changed = {key for key in before | cpu if before.get(key) != cpu.get(key)}
    for key in changed:
        words = [said for prefix, said in STATED.items() if key == prefix or key.startswith(prefix)]
        assert words and words[0] in header, f"{key} is not among the differences that the file states"
    for prefix in STATED:
        assert any(key.startswith(prefix) for key in changed), f"{prefix} does not differ any more"


OBJECT = (
    "exp",
    "training.name",
    "robot.object.",
    "command.setup_terms.motion_command.params.motion_config.motion_file",
    "command.setup_terms.motion_command.params.motion_config.noise_to_initial_pose.object_pos",
    "observation.groups.critic_obs.terms.obj_",
    "reward.terms.object_global_ref_",
    "termination.terms.bad_object.",
    "randomization.setup_terms.randomize_object_startup.",
)
"""Start of the keys that the object presets add or change."""


@pytest.mark.parametrize("exp", G1)
def test_the_object_presets_add_the_object(exp):
    before, ours = (flat(compose.to_mapping(load(e))) for e in (exp, f"{exp}-w-object"))
    changed = {key for key in before | ours if before.get(key) != ours.get(key)}
    rewards = {key for key in changed if key.startswith("reward.terms.motion_") or "action_rate" in key}
    assert {key for key in changed - rewards if not key.startswith(OBJECT)} == set()
    config = load(f"{exp}-w-object")
    terms = {name: (term.weight, term.params) for name, term in config.reward.terms.items()}
    assert terms.pop("object_global_ref_position_error_exp") == (1.0, {"sigma": 0.3})
    assert terms.pop("object_global_ref_orientation_error_exp") == (1.0, {"sigma": 0.4})
    ppo = load("g1-29dof-wbt").reward.terms  # FastSAC's object preset has PPO's weights, too
    assert terms == {name: (term.weight, term.params) for name, term in ppo.items()}
    assert params(config.termination.terms)["bad_object"] == {
        "bad_object_pos_threshold": 0.25,
        "bad_object_ori_threshold": 0.8,
    }
    box = config.robot.object
    assert (box.enabled, box.mass, box.inertia) == (True, 0.1, (0.002, 0.002, 0.002))
    assert box.size == pytest.approx((0.471154, 0.45873, 0.407895), abs=5e-4)
    motion = params(config.command.setup_terms)["motion_command"]["motion_config"]
    assert motion["noise_to_initial_pose"]["object_pos"] == [0.05, 0.05, 0.0]
    drawn = params(config.randomization.setup_terms)["randomize_object_startup"]
    assert (drawn["added_mass_range"], drawn["inertia_ratio_range"]) == ([1.0, 4.0], {"Ixx": [0.5, 1.5]})


PAGE = Path(__file__).parents[2] / "docs" / "tracking_objects.md"
COMMANDS = re.findall(r"^python -m holosoma_jax\.train ((?:.*\\\n)*.*)$", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_every_command_of_the_page_is_a_config(command):
    config = compose.load(shlex.split(command.replace("\\\n", " ")))
    assert config.task == "tracking"


def numbers(values: list[Any]) -> list[float]:
    return [n for v in values for n in (v if isinstance(v, list) else [v])]
