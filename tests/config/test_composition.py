"""Which file or flag decides a value, in whatever order they are given."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from holosoma_jax.config import compose, files
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config

REPOSITORY = Path(__file__).resolve().parents[2]


def test_group_then_experiment_then_command_line(tmp_path):
    # epochs: the algo group says 8, the experiment 5, the command line 2; each layer shows without the next
    file = tmp_path / "mine.yaml"
    groups = "groups: {algo: ppo-locomotion, observation: g1-29dof-locomotion, reward: g1-29dof-locomotion}\n"
    file.write_text(groups)
    assert compose.load(["--config", str(file)]).algo.config.num_learning_epochs == 8
    file.write_text(groups + "overrides: {algo: {config: {num_learning_epochs: 5}}}\n")
    assert compose.load(["--config", str(file)]).algo.config.num_learning_epochs == 5
    flags = ["--config", str(file), "--algo.config.num-learning-epochs=2"]
    assert compose.load(flags).algo.config.num_learning_epochs == 2


def test_a_group_token_replaces_the_experiments_choice_but_not_its_overrides():
    plane = compose.load(["exp:g1-29dof", "terrain:terrain-locomotion-plane"])
    mix = compose.load(["exp:g1-29dof"])
    assert (plane.terrain.terrain_term.mesh_type, mix.terrain.terrain_term.mesh_type) == ("plane", "trimesh")
    assert plane.terrain.terrain_term.terrain_config == {}  # nothing of the other group is left
    assert plane.training == mix.training


def test_tokens_come_in_any_order():
    tokens = ["exp:g1-29dof", "simulator:mjwarp", "logger:wandb", "--training.seed=7"]
    configs = [compose.load(order) for order in itertools.permutations(tokens)]
    assert all(config == configs[0] for config in configs)
    assert configs[0].simulator.name == "mjwarp"
    assert configs[0].logger.type == "wandb"
    assert configs[0].training.seed == 7


def test_config_takes_an_experiment_or_a_resolved_config(tmp_path):
    by_name = compose.load(["exp:g1-29dof"])
    by_file = compose.load(["--config", str(REPOSITORY / "configs/exp/g1-29dof.yaml")])
    saved = compose.save_yaml(by_name, tmp_path / "config.yaml")
    assert by_file == by_name
    assert compose.load([f"--config={saved}"]) == by_name


def test_an_experiment_may_name_group_files_beside_it(tmp_path):
    (tmp_path / "my-reward.yaml").write_text("terms: {alive: {weight: 3.0}}\n")
    exp = tmp_path / "mine.yaml"
    exp.write_text("groups: {observation: g1-29dof-locomotion, reward: ./my-reward.yaml}\n")
    config = compose.load(["--config", str(exp)])
    assert {name: term.weight for name, term in config.reward.terms.items()} == {"alive": 3.0}
    assert config.exp == str(exp)


def test_mappings_merge_lists_are_replaced_and_null_removes_a_term():
    config = compose.load(
        [
            "exp:g1-29dof",
            "--command.setup-terms.locomotion-command.params.command-ranges={lin-vel-x: [0, 2]}",
            "--algo.config.actor-hidden=[64]",
            "--reward.terms.pose=null",
        ]
    )
    ranges = config.command.setup_terms["locomotion_command"].params["command_ranges"]
    assert ranges["lin_vel_x"] == (0, 2)
    assert ranges["lin_vel_y"] == (-1.0, 1.0)
    assert config.algo.config.actor_hidden == (64,)
    assert len(config.reward.terms) == 9
    assert "pose" not in config.reward.terms


def test_an_empty_section_in_a_file_changes_nothing(tmp_path):
    file = tmp_path / "mine.yaml"
    text = (REPOSITORY / "configs/exp/g1-29dof.yaml").read_text()
    file.write_text(text.replace("overrides:\n", "overrides:\n  reward:\n  algo: {config: }\n"))
    assert replace(compose.load(["--config", str(file)]), exp="g1-29dof") == compose.load(["exp:g1-29dof"])


def test_a_group_on_a_saved_config_keeps_what_its_file_does_not_mention():
    saved = compose.to_mapping(
        compose.load(["exp:g1-29dof", "--simulator.config.sim.max-episode-length-s=7", "--training.seed=3"])
    )
    config = compose.load(["simulator:mjwarp", "reward:t1-29dof-locomotion"], base=saved)
    assert config.simulator.name == "mjwarp"
    assert config.simulator.config.sim.max_episode_length_s == 7.0
    assert config.training.seed == 3
    # terms are not mixed: all of them are the T1's
    assert config.reward == compose.load(["exp:t1-29dof"]).reward


@pytest.mark.parametrize(("simulator", "section"), [("mujoco", "mujoco"), ("mjwarp", "mujoco_warp")])
def test_another_mujoco_keeps_the_numerics_of_the_run(simulator: str, section: str):
    trained = compose.load(
        [
            "exp:g1-29dof",
            "--simulator.config.mujoco.integrator=implicitfast",
            "--simulator.config.mujoco.iterations=7",
        ]
    )
    config = compose.load([f"simulator:{simulator}"], base=compose.to_mapping(trained)).simulator
    numerics = getattr(config.config, section)
    assert (config.name, numerics.integrator, numerics.iterations) == (simulator, "implicitfast", 7)


def test_overrides_reach_terms_of_a_saved_config():
    saved = compose.to_mapping(compose.load(["exp:g1-29dof"]))
    config = compose.load(["--reward.terms.alive.weight=0.5"], base=saved)
    assert config.reward.terms["alive"].weight == 0.5
    assert compose.load([], base=saved) == compose.from_mapping(saved)


def test_the_difference_from_the_preset_is_what_was_changed():
    assert compose.diff_from_preset(compose.load(["exp:t1-29dof"])) == {}
    tokens = ["exp:g1-29dof", "--training.num-envs=64", "--reward.terms.pose=null", "--training.seed=42"]
    changed = compose.diff_from_preset(compose.load(tokens))
    assert changed["training.num_envs"] == (4096, 64)
    assert changed["reward.terms.pose.weight"] == (-0.5, None)
    assert "training.seed" not in changed  # given, but equal
    assert all(key == "training.num_envs" or key.startswith("reward.terms.pose.") for key in changed)


def test_presets_are_found_in_a_checkout_and_in_an_installed_package(tmp_path):
    # a wheel puts configs/ inside the package; a checkout beside it
    shutil.copytree(REPOSITORY / "holosoma_jax" / "config", tmp_path / "holosoma_jax" / "config")
    shutil.copy(REPOSITORY / "holosoma_jax" / "files.py", tmp_path / "holosoma_jax")
    (tmp_path / "holosoma_jax" / "__init__.py").touch()
    with pytest.raises(ConfigError, match="no presets"):
        files.root(tmp_path / "holosoma_jax")
    shutil.copytree(REPOSITORY / "configs", tmp_path / "holosoma_jax" / "configs")
    assert files.root(tmp_path / "holosoma_jax") == tmp_path / "holosoma_jax" / "configs"
    assert files.root() == REPOSITORY / "configs"
    script = (
        "from holosoma_jax.config import compose, files, layers; from holosoma_jax.config.validation import validate\n"
        "from holosoma_jax.config.schema import Config\n"
        "from holosoma_jax.config.command_line.tokens import parse\n"
        "config = validate.build(Config, *layers.compose(parse(['exp:g1-29dof']), None))\n"
        "print(files.root(), config.exp, config.training.num_envs)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(tmp_path / "holosoma_jax" / "configs"), "g1-29dof", "4096"]


@dataclass(frozen=True)
class Settings:
    """How to evaluate."""

    num_steps: int = 100
    """Control steps."""


@dataclass(frozen=True)
class Arguments:
    """What to evaluate."""

    checkpoint: str
    """A run directory."""
    eval: Settings = field(default_factory=Settings)


def test_a_command_has_flags_of_its_own_and_takes_its_config_from_them():
    seen = []

    def saved(arguments: Arguments) -> dict:
        seen.append(arguments.checkpoint)
        return compose.to_mapping(compose.load(["exp:g1-29dof", "--training.seed=5"]))

    argv = ["--eval.num-steps=7", "--training.num-envs", "4", "--checkpoint", "runs/a", "simulator:mjwarp"]
    config, arguments = compose.load_with_extra(argv, Arguments, base=saved)
    assert seen == ["runs/a"]
    assert arguments == Arguments("runs/a", Settings(7))
    assert (config.training.num_envs, config.training.seed, config.simulator.name) == (4, 5, "mjwarp")


def test_own_flags_can_be_split_off_first():
    argv = ["exp:g1-29dof", "--checkpoint=a", "--training.headless", "--eval.num-steps", "3"]
    arguments, rest = compose.split_extra(argv, Arguments)
    assert arguments == Arguments("a", Settings(3))
    assert rest == ["exp:g1-29dof", "--training.headless"]


def test_own_flags_may_not_shadow_the_configs():
    @dataclass(frozen=True)
    class Clash:
        training: int = 0

    with pytest.raises(ValueError, match="'training'"):
        compose.split_extra([], Clash)


def test_the_config_cannot_be_changed():
    config = compose.load(["exp:g1-29dof"])
    assert isinstance(config, Config)
    assert isinstance(config.reward.terms["pose"].params["pose_weights"], tuple)
    with pytest.raises(AttributeError):
        config.training.num_envs = 1  # type: ignore[misc]
