"""The numbers of the presets are holosoma's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from holosoma_jax import robots
from holosoma_jax.config import compose
from tests.support.shared import shared_path

FIGURES = yaml.safe_load((Path(__file__).parents[1] / "data" / "locomotion_presets.yaml").read_text())
ROBOTS = {"g1-29dof": "g1_29dof", "t1-29dof": "t1_29dof", "k1-22dof": "k1_22dof"}


@pytest.fixture(
    params=[f"{robot}{learner}" for learner in ("", "-fast-sac") for robot in ROBOTS], scope="module"
)
def preset(request):
    """(config, key of the robot in the figures)."""
    return compose.load([f"exp:{request.param}"]), ROBOTS[request.param.removesuffix("-fast-sac")]


def task(config, robot: str) -> str:
    """Key of rewards and curriculum in the figures: FastSAC has its own, the same for all robots."""
    return "fast_sac" if config.algo.name == "fast_sac" else robot


def params(terms) -> dict:
    return {name: compose.to_mapping(term)["params"] for name, term in terms.items()}


def test_run(preset):
    config, _ = preset
    figures = FIGURES["presets"][config.exp]
    assert (config.training.num_envs, config.training.seed) == (figures["num_envs"], figures["seed"])
    assert config.simulator.name == "mujoco"  # ours; holosoma's is isaacgym
    sim = config.simulator.config.sim
    assert (sim.fps, sim.control_decimation, sim.max_episode_length_s) == (200, 4, 20.0)


@pytest.mark.parametrize("robot", ROBOTS)
def test_ppo(robot):
    config = compose.load([f"exp:{robot}"])
    figures = dict(FIGURES["presets"][config.exp]["algo"])
    ours = compose.to_mapping(config.algo.config)
    for role in ("actor", "critic"):
        optimizer = figures.pop(f"{role}_optimizer")
        assert optimizer == {"name": "AdamW", "weight_decay": ours[f"{role}_optimizer"]["weight_decay"]}
    figures["activation"] = figures["activation"].lower()
    assert {key: ours[key] for key in figures} == figures
    assert (ours["clip_value_loss"], ours["reshuffle_each_epoch"]) == (True, False)


@pytest.mark.parametrize("robot", ROBOTS)
def test_fast_sac(robot):
    config = compose.load([f"exp:{robot}-fast-sac"])
    figures = dict(FIGURES["presets"][config.exp]["algo"])
    ours = compose.to_mapping(config.algo.config)
    assert ours["num_critics"] == figures.pop("num_q_networks")
    decay = figures.pop("weight_decay")
    for role in ("actor", "critic"):
        assert ours[f"{role}_optimizer"] == {"weight_decay": decay, "b1": 0.9, "b2": 0.95, "eps": 1e-8}
    assert ours["alpha_optimizer"]["weight_decay"] == 0.0  # holosoma's 0.01 is an oversight
    assert (figures.pop("amp"), figures.pop("amp_dtype"), ours["bf16"]) == (True, "bf16", None)
    figures.pop("compile")  # of another framework
    assert {key: ours[key] for key in figures} == figures
    assert ours["init_at_random_ep_len"]  # holosoma starts all clocks together


def test_observations(preset):
    config, robot = preset
    figures = FIGURES["observations"][robot]
    assert config.observation.clip_observations == figures["clip_observations"]
    for name, group in config.observation.groups.items():
        wanted = figures[name]
        assert (group.enable_noise, group.history_length) == (
            wanted["enable_noise"],
            wanted["history_length"],
        )
        terms = [{"name": k, "scale": t.scale, "noise": t.noise} for k, t in group.terms.items()]
        assert terms == wanted["terms"]


def test_rewards(preset):
    config, robot = preset
    terms = [
        {
            "name": k,
            "weight": t.weight,
            "params": t.params,
            "penalty_curriculum": t.tags == ("penalty_curriculum",),
        }
        for k, t in config.reward.terms.items()
    ]
    wanted = [dict(term) for term in FIGURES["rewards"][task(config, robot)]]
    for term in wanted:
        if term["name"] == "pose":
            term["params"] = {"pose_weights": tuple(FIGURES["pose_weights"][robot])}
    if config.algo.name == "fast_sac":  # the order of a sum: holosoma has the G1's for all robots
        terms, wanted = (sorted(each, key=lambda term: term["name"]) for each in (terms, wanted))
    assert terms == wanted
    assert not config.reward.only_positive_rewards


def test_commands_and_curriculum(preset):
    config, robot = preset
    figures, gait = FIGURES["commands"][robot], FIGURES["commands"][robot]["gait"]
    assert params(config.command.setup_terms) == {
        "locomotion_command": {
            "command_ranges": figures["ranges"],
            "stand_prob": figures["stand_prob"],
            "resampling_time": figures["resampling_time_s"],
        },
        "locomotion_gait": {
            "gait_period": gait["gait_period_s"],
            "gait_period_randomization_width": gait["gait_frequency_half_width_hz"],
        },
    }
    curriculum = FIGURES["curriculum"][task(config, robot)]
    assert params(config.curriculum.setup_terms) == {
        "average_episode_tracker": {"num_compute_average_epl": 1000},
        "penalty_curriculum": curriculum["penalty"],
    }


def test_terminations(preset):
    config, _ = preset
    terms = {k: (t.is_timeout, t.params) for k, t in config.termination.terms.items()}
    assert terms == {"contact": (False, {"force_threshold": 1.0}), "timeout": (True, {})}


def test_randomization(preset):
    config, robot = preset
    figures = FIGURES["randomization"][robot]
    push, gains, mass, reset = (figures[k] for k in ("push", "pd_gain", "mass", "reset_dof"))
    assert config.randomization.ignore_unsupported == figures["ignore_unsupported"]
    assert params(config.randomization.setup_terms) == {
        "push_randomizer_state": {
            "push_interval_s": push["interval_s"],
            "max_push_vel": push["max_push_vel_xy"],
            "enabled": push["enabled"],
        },
        "setup_action_delay_buffers": {
            "ctrl_delay_step_range": figures["action_delay"]["delay_control_steps"],
            "enabled": figures["action_delay"]["enabled"],
        },
        "setup_torque_rfi": figures["torque_rfi"],
        "setup_dof_pos_bias": {
            "dof_pos_bias_range": figures["dof_pos_bias"]["range"],
            "enabled": figures["dof_pos_bias"]["enabled"],
        },
        "actuator_randomizer_state": {
            "kp_range": gains["kp_scale"],
            "kd_range": gains["kd_scale"],
            "rfi_lim_range": gains["rfi_lim_scale"],
            "enable_pd_gain": gains["enabled"],
            "enable_rfi_lim": gains["enable_rfi_lim"],
        },
        "mass_randomizer": {
            "enable_link_mass": mass["link_scale_enabled"],
            "link_mass_range": mass["link_scale"],
            "enable_base_mass": mass["base_add_enabled"],
            "added_mass_range": mass["base_add_kg"],
        },
        "randomize_friction_startup": {
            "friction_range": figures["friction"]["range"],
            "enabled": figures["friction"]["enabled"],
        },
        "randomize_base_com_startup": {
            "base_com_range": figures["base_com"]["offset_m"],
            "enabled": figures["base_com"]["enabled"],
        },
    }
    assert params(config.randomization.reset_terms) == {
        "randomize_dof_state": {
            "joint_pos_scale_range": reset["pos_scale"],
            "joint_pos_bias_range": reset["pos_bias"],
            "joint_vel_range": reset["vel"],
        },
        "randomize_root_state": {
            "lin_vel_range": figures["reset_root"]["lin_vel"],
            "ang_vel_range": figures["reset_root"]["ang_vel"],
            "yaw_range": [0.0, 0.0],
        },
    }


@pytest.mark.parametrize("name", ["plane", "mix"])
def test_terrain(name):
    config = compose.load(["exp:g1-29dof", f"terrain:terrain-locomotion-{name}"])
    figures = FIGURES["terrain"][f"terrain_locomotion_{name}"]
    ours = compose.to_mapping(config.terrain.terrain_term)
    figures["slope_threshold"] = figures["slope_treshold"]  # holosoma's spelling
    for key in (
        "obj_file_path",
        "up_axis",
        "stair_height_range",
        "stair_width",
    ):  # of kinds that neither preset has
        ours.pop(key)
    assert ours["spawn"].pop("at_world_origin") is False  # of a clip on its own ground
    for key in ("stairs_up", "stairs_down"):
        assert ours["terrain_config"].pop(key, 0.0) == 0.0
    assert ours == {key: figures[key] for key in ours}


def test_the_k1_starts_where_it_stands():
    # holosoma starts it at the T1's height, 0.68, about 0.13 m above the ground
    cfg = compose.load(["exp:k1-22dof"]).robot
    assert robots.configure(robots.load(cfg.asset), cfg).init_pos == (0.0, 0.0, 0.57)


EASIER = {
    "exp": "",
    "training.name": "",
    "terrain.": "plane instead of mix",
    "simulator.config.": "100 Hz with implicit damping instead of 200 Hz Euler",
    "termination.terms.tilt.": "0.7 rad of tilt",
    "termination.terms.low_base.": "below 0.5 m",
    "randomization.setup_terms.push_randomizer_state.params.enabled": "no pushes",
    "randomization.setup_terms.setup_action_delay_buffers.params.enabled": "no action delay",
    "randomization.setup_terms.mass_randomizer.params.enable_base_mass": "no added torso mass",
    "randomization.setup_terms.randomize_base_com_startup.params.enabled": "no shifted centre of mass",
    "randomization.reset_terms.randomize_dof_state.params.joint_pos_scale_range": "0.8 to 1.2",
    "randomization.reset_terms.randomize_root_state.": "root speeds within 0.2 m/s",
    "logger.video.interval": "first and the last policy",
}
"""Key, or start of keys, that a CPU preset changes -> words for it in the header of its file."""


@pytest.mark.parametrize(
    ("full", "stated"),
    [
        (
            "g1-29dof",
            {
                "training.num_envs": "512 instead of 4096",
                "algo.config.num_learning_iterations": "250 instead of 25000",
                "algo.config.num_learning_epochs": "5 instead of 8",
                "algo.config.save_interval": "50 instead of 100",
                "algo.config.desired_kl": "0.03 instead of 0.01",
                "algo.config.entropy_coef": "0.002 instead of 0.01",
                "algo.config.critic_learning_rate": "fixed rate of 1e-3",
                "algo.config.min_critic_learning_rate": "critic_learning_rate and its bounds",
                "algo.config.max_critic_learning_rate": "critic_learning_rate and its bounds",
                "algo.config.actor_hidden": "256-128-128 instead of 512-256-128",
                "algo.config.critic_hidden": "256-128-128 instead of 512-256-128",
                "curriculum.setup_terms.penalty_curriculum.params.initial_scale": "a fiftieth",
            },
        ),
        (
            "g1-29dof-fast-sac",
            {
                "training.num_envs": "128 instead of 4096",
                "algo.config.num_learning_iterations": "12000 steps instead of 50000",
                "algo.config.num_critics": "one instead of two",
                "algo.config.symmetric_networks": "instead of mirrored transitions",
                "algo.config.anneal_share": "fall linearly over the last 60 %",
                "algo.config.target_entropy_ratio": "half a nat less",
                "reward.terms.tracking_lin_vel.weight": "both rewards weigh twice as much",
                "reward.terms.tracking_ang_vel.weight": "both rewards weigh twice as much",
                "algo.config.num_updates": "4 a step instead of 8",
                "algo.config.bf16": "float32 everywhere",
                "algo.config.policy_frequency": "policy_frequency 2 instead of 4",
                "algo.config.batch_size": "256 transitions instead of 8192",
                "algo.config.actor_learning_rate": "1e-3 instead of 3e-4",
                "algo.config.critic_learning_rate": "1e-3 instead of 3e-4",
                "algo.config.alpha_learning_rate": "and temperature",
                "algo.config.actor_hidden_dim": "256-128-64 instead of 512-256-128",
                "algo.config.critic_hidden_dim": "and 768-384-192",
                "curriculum.setup_terms.penalty_curriculum.params.initial_scale": "a twentieth",
                "curriculum.setup_terms.penalty_curriculum.params.min_scale": "a twentieth",
                "curriculum.setup_terms.penalty_curriculum.params.degree": "2e-4 a step instead of 1e-3",
            },
        ),
    ],
)
def test_a_cpu_preset_differs_as_its_file_says(full, stated):
    """Every setting that differs from the full preset has its word in the header of the file."""
    stated = EASIER | stated
    before = flat(compose.to_mapping(compose.load([f"exp:{full}"])))
    cpu = flat(compose.to_mapping(compose.load([f"exp:{full}-cpu"])))
    text = Path(__file__).parents[2].joinpath(f"configs/exp/{full}-cpu.yaml").read_text()
    header = text.split("groups:")[0]
    assert f"differs from {full} in this" in header
    changed = {key for key in before | cpu if before.get(key) != cpu.get(key)}
    for key in changed:
        words = [said for prefix, said in stated.items() if key == prefix or key.startswith(prefix)]
        assert words and words[0] in header, f"{key} is not among the differences that the file states"
    for prefix in stated:
        assert any(key.startswith(prefix) for key in changed), f"{prefix} does not differ any more"


def flat(tree, path=""):
    """Dotted key -> value of every leaf."""
    if not isinstance(tree, dict) or not tree:
        return {path.removeprefix("."): tree}
    return {k: v for key, value in tree.items() for k, v in flat(value, f"{path}.{key}").items()}


def test_the_recorded_run_of_the_reference_used_these_numbers():
    recorded = json.loads(shared_path("golden/trace_g1_loco_ppo.json").read_text())
    config = compose.load(["exp:g1-29dof"])
    rewards = {
        name: {"weight": term.weight, "params": compose.to_mapping(term)["params"], "tags": list(term.tags)}
        for name, term in config.reward.terms.items()
    }
    assert rewards == recorded["reward_terms"]
    assert params(config.randomization.setup_terms) == recorded["randomization_setup"]
    ours = params(config.command.setup_terms)
    assert ours["locomotion_command"].pop("resampling_time") == 10.0  # holosoma keeps it elsewhere
    assert ours == recorded["command_terms"]
    curriculum = params(config.curriculum.setup_terms)
    assert curriculum["penalty_curriculum"] == recorded["curriculum"]["penalty_curriculum"]
