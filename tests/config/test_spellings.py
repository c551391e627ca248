"""Every accepted way of typing a value, a key and a preset."""

from __future__ import annotations

from functools import reduce

import pytest

from holosoma_jax.config import compose
from holosoma_jax.config.command_line.tokens import parse


def at(config, dotted: str):
    """The value under a dotted path of attributes and keys."""
    return reduce(
        lambda node, key: node[key] if isinstance(node, dict) else getattr(node, key),
        dotted.split("."),
        config,
    )


VALUES = [
    (["--training.num-envs=64"], "training.num_envs", 64),
    (["--training.num_envs", "64"], "training.num_envs", 64),
    (["--training.num-envs=25_000"], "training.num_envs", 25_000),
    (["--training.headless=False"], "training.headless", False),
    (["--training.headless", "false"], "training.headless", False),
    (["--training.headless=true"], "training.headless", True),
    (["--training.multigpu"], "training.multigpu", True),
    (["--training.multigpu", "--training.seed=1"], "training.multigpu", True),
    (["--training.multigpu", "logger:console"], "training.multigpu", True),
    (["--training.torch-deterministic"], "training.deterministic", True),
    (["--training.torch_deterministic=True"], "training.deterministic", True),
    (["--training.max-eval-steps=null"], "training.max_eval_steps", None),
    (["--training.max-eval-steps=None"], "training.max_eval_steps", None),
    (["--training.checkpoint=logs/a b: c #1"], "training.checkpoint", "logs/a b: c #1"),
    (
        ["--training.checkpoint=wandb://me/project/run/model"],
        "training.checkpoint",
        "wandb://me/project/run/model",
    ),
    (["--training.checkpoint", "null"], "training.checkpoint", None),
    (["--training.checkpoint", "'null'"], "training.checkpoint", "null"),
    (["--training.name=007"], "training.name", "007"),
    (["--training.name=2024-01-01"], "training.name", "2024-01-01"),
    (["--training.name", "true"], "training.name", "true"),
    (['--training.name="with space"'], "training.name", "with space"),
    (["--logger.tags=[a,7,no]"], "logger.tags", ("a", "7", "no")),
    (["--logger.tags=[]"], "logger.tags", ()),
    (["--logger.entity=team"], "logger.entity", "team"),
    (["--logger.video.enabled=False"], "logger.video.enabled", False),
    (["--algo.config.actor-learning-rate=1e-4"], "algo.config.actor_learning_rate", 1e-4),
    (["--algo.config.actor-learning-rate", ".001"], "algo.config.actor_learning_rate", 1e-3),
    (["--algo.config.gamma=1"], "algo.config.gamma", 1.0),
    (["--algo.config.entropy-coef", "-0.5"], "algo.config.entropy_coef", -0.5),
    (["--algo.config.actor-hidden=[64,32]"], "algo.config.actor_hidden", (64, 32)),
    (["--algo.config.actor-hidden", "[64, 32]"], "algo.config.actor_hidden", (64, 32)),
    (["--algo.config.actor-hidden", "64", "32"], "algo.config.actor_hidden", (64, 32)),
    (["--algo.config.actor-hidden", "[64,", "32]"], "algo.config.actor_hidden", (64, 32)),
    (["--algo.config.actor-hidden=[64,", "32]"], "algo.config.actor_hidden", (64, 32)),
    (["--algo.config.actor-hidden=(64, 32)"], "algo.config.actor_hidden", (64, 32)),
    (["--robot.init-state.pos", "-0.5", "0", "0.9"], "robot.init_state.pos", (-0.5, 0.0, 0.9)),
    (["--algo.config.activation=tanh"], "algo.config.activation", "tanh"),
    (["--algo.config.activation='tanh'"], "algo.config.activation", "tanh"),
    (["--algo.config.use-symmetry=False"], "algo.config.use_symmetry", False),
    (["--algo.config.num-learning-iterations", "5"], "algo.config.num_learning_iterations", 5),
    # holosoma's names
    (["--robot.asset.enable-self-collisions=True"], "robot.enable_self_collisions", True),
    (["--logger.base-dir=elsewhere"], "training.output_dir", "elsewhere"),
    (
        ["--algo.config.module-dict.actor.layer-config.hidden-dims", "64", "32"],
        "algo.config.actor_hidden",
        (64, 32),
    ),
    (["--robot.init-state.pos=[0,0,0.9]"], "robot.init_state.pos", (0.0, 0.0, 0.9)),
    (["--simulator.config.sim.max-episode-length-s=10.0"], "simulator.config.sim.max_episode_length_s", 10.0),
    (["--terrain.terrain-term.scale-factor=0.5"], "terrain.terrain_term.scale_factor", 0.5),
    (["--terrain.terrain-term.slope-treshold=0.5"], "terrain.terrain_term.slope_threshold", 0.5),
    (
        ["--terrain.terrain-term.terrain-config.smooth-slope=1"],
        "terrain.terrain_term.terrain_config.smooth_slope",
        1.0,
    ),
    (
        ["--observation.groups.actor-obs.enable-noise=False"],
        "observation.groups.actor_obs.enable_noise",
        False,
    ),
    (
        ["--observation.groups.actor_obs.history-length", "4"],
        "observation.groups.actor_obs.history_length",
        4,
    ),
    (["--reward.terms.tracking-lin-vel.weight=2.5"], "reward.terms.tracking_lin_vel.weight", 2.5),
    (
        ["--reward.terms.feet-phase.params.swing-height=0.12"],
        "reward.terms.feet_phase.params.swing_height",
        0.12,
    ),
    (
        ["--curriculum.setup-terms.penalty-curriculum.params.enabled=False"],
        "curriculum.setup_terms.penalty_curriculum.params.enabled",
        False,
    ),
    (
        ["--curriculum.setup-terms.penalty-curriculum.params.level-up-threshold=350"],
        "curriculum.setup_terms.penalty_curriculum.params.level_up_threshold",
        350,
    ),
    (
        ["--randomization.setup-terms.push-randomizer-state.params.enabled=False"],
        "randomization.setup_terms.push_randomizer_state.params.enabled",
        False,
    ),
    (
        ["--randomization.setup-terms.setup-torque-rfi.params.enabled"],
        "randomization.setup_terms.setup_torque_rfi.params.enabled",
        True,
    ),
    (
        ["--randomization.setup-terms.mass-randomizer.params.added-mass-range=[-1.0,3.5]"],
        "randomization.setup_terms.mass_randomizer.params.added_mass_range",
        (-1.0, 3.5),
    ),
    (["--randomization.ignore_unsupported=True"], "randomization.ignore_unsupported", True),
    (
        ["--command.setup-terms.locomotion-command.params.command-ranges.lin-vel-x=[0,2]"],
        "command.setup_terms.locomotion_command.params.command_ranges.lin_vel_x",
        (0, 2),
    ),
]


@pytest.mark.parametrize(("flags", "key", "value"), VALUES, ids=[" ".join(case[0]) for case in VALUES])
def test_a_flag_sets_its_key_and_no_other(flags, key, value):
    before = compose.load(["exp:g1-29dof"])
    config = compose.load(["exp:g1-29dof", *flags])
    assert at(config, key) == value
    assert type(at(config, key)) is type(value)
    given = {key} | {".".join(override.path) for override in parse(flags).overrides} | {"logger.type"}
    assert set(compose.diff_from_preset(config)) <= given
    assert config != before or at(before, key) == value


@pytest.mark.parametrize("token", ["exp:g1_29dof", "exp:g1-29dof", "EXP:g1-29dof"])
def test_spellings_of_a_preset(token):
    assert compose.load([token]).exp == "g1-29dof"


@pytest.mark.parametrize("name", ["mujoco", "mjwarp", "isaacgym", "isaacsim"])
def test_every_simulator_is_a_group(name):
    assert compose.load(["exp:g1-29dof", f"simulator:{name}"]).simulator.name == name


def test_wandb_offline_is_a_logger():
    logger = compose.load(["exp:g1-29dof", "logger:wandb-offline"]).logger
    assert (logger.type, logger.mode) == ("wandb", "offline")


@pytest.mark.parametrize("name", ["wandb", "tensorboard", "console", "disabled"])
def test_every_logger_is_a_group(name):
    assert compose.load([f"logger:{name}", "exp:g1-29dof"]).logger.type == name


def test_names_in_files_may_have_dashes(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "groups: {observation: g1_29dof_locomotion, reward: g1-29dof-locomotion}\n"
        "overrides:\n  training: {num-envs: 64, torch-deterministic: true}\n"
        "  reward: {terms: {feet-phase: {params: {swing-height: 0.1}}}}\n"
    )
    config = compose.load(["--config", str(file)])
    assert (config.training.num_envs, config.training.deterministic) == (64, True)
    assert config.reward.terms["feet_phase"].params == {"swing_height": 0.1, "tracking_sigma": 0.008}
    assert next(iter(config.reward.terms)) == "tracking_lin_vel"  # the group's order is kept
