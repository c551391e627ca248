"""Each learner has its own settings; its name, which comes with a preset, decides which they are."""

from __future__ import annotations

import json

import pytest
import yaml

from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import AlgoConfig, FastSacConfig, PpoConfig
from tests.support.messages import tells
from tests.support.shared import shared_path

SAC = ["exp:g1-29dof", "algo:fast-sac-locomotion"]


def test_the_preset_chooses_the_settings():
    assert isinstance(compose.load(["exp:g1-29dof"]).algo.config, PpoConfig)
    sac = compose.load([*SAC, "--algo.config.num-updates=4", "--algo.config.gamma=0.9"]).algo
    assert (sac.name, sac.fast_sac.num_updates, sac.fast_sac.gamma) == ("fast_sac", 4, 0.9)
    with pytest.raises(TypeError, match=r"'fast_sac'.*PpoConfig"):
        _ = sac.ppo
    with pytest.raises(ValueError, match="holds a FastSacConfig; wanted PpoConfig"):
        AlgoConfig("ppo", FastSacConfig())


def test_the_settings_survive_mapping_json_and_yaml(tmp_path):
    config = compose.load(
        [*SAC, "--algo.config.bf16=true", "--algo.config.alpha-optimizer.weight-decay=0.01"]
    )
    mapping = compose.to_mapping(config)
    assert compose.from_mapping(json.loads(json.dumps(mapping))) == config
    saved = compose.save_yaml(config, tmp_path / "config.yaml")
    assert compose.load(["--config", str(saved)]) == config
    assert compose.diff_from_preset(config)["algo.config.num_updates"] == (None, 8)


def test_another_learners_preset_over_a_saved_config_replaces_all_settings():
    saved = compose.to_mapping(compose.load(["exp:g1-29dof", "--algo.config.gamma=0.5"]))
    assert compose.load(["algo:fast-sac-locomotion"], base=saved) == compose.load([*SAC])
    saved = compose.to_mapping(compose.load([*SAC, "--algo.config.tau=0.5"]))
    assert compose.load(["algo:ppo-locomotion"], base=saved) == compose.load(["exp:g1-29dof"])
    assert compose.load(["--algo.config.tau=0.25"], base=saved).algo.fast_sac.tau == 0.25


def test_a_preset_may_state_the_learner_in_its_overrides(tmp_path):
    file = tmp_path / "mine.yaml"
    head = (
        "groups: {observation: g1-29dof-locomotion, reward: g1-29dof-locomotion, algo: fast-sac-locomotion}"
    )
    file.write_text(head + "\noverrides: {algo: {config: {num_updates: 2}}}")
    assert compose.load(["--config", str(file)]).algo.fast_sac.num_updates == 2
    file.write_text(head + "\noverrides: {algo: {name: ppo, config: {lam: 0.5}}}")
    with pytest.raises(ConfigError, match=r"mine\.yaml: .*algo\.name: .*'ppo'"):
        compose.load(["--config", str(file)])
    file.write_text(head.replace("fast-sac-locomotion", "./own.yaml"))
    (tmp_path / "own.yaml").write_text("config: {lam: 0.5}")  # without a name: the default learner
    assert compose.load(["--config", str(file)]).algo.ppo.lam == 0.5
    (tmp_path / "own.yaml").write_text("name: fast_sac")
    assert compose.load(["--config", str(file)]).algo.config == FastSacConfig()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--algo.name=ppo", "--algo.name: got 'ppo', "),
        ("--algo.name=sac", "--algo.name: ... 'sac' ... ppo, fast_sac"),
        ("--algo.config.lam=0.9", "--algo.config.lam: unknown key ... num_learning_iterations"),
        (
            "--algo.config.policy-frequency=1",
            "--algo.config.policy-frequency: ... '1' ... 2 ... num_updates is 8",
        ),
        ("--algo.config.num-steps=2000", "--algo.config.num-steps: ... '2000' ... at most buffer_size"),
        ("--algo.config.v-min=20", "--algo.config.v-min: ... '20' ... v_max = 20.0"),
        ("--algo.config.log-std-max=-5", "algo.config.log_std_min: ... -5.0 ... log_std_max"),
        (
            "--algo.config.final-target-entropy-ratio=1",
            "--algo.config.final-target-entropy-ratio: ... '1' ... null",
        ),
        ("--algo.config.actor-hidden-dim=30", "'30' ... >= 4, a multiple of 4"),
        ("--algo.config.num-atoms=1", "'1' ... >= 2"),
    ],
)
def test_mistakes_are_one_line(flag, message):
    with pytest.raises(ConfigError) as caught:
        compose.load([*SAC, flag])
    assert tells(str(caught.value), message) and "\n" not in str(caught.value)


def test_one_update_may_move_the_actor_at_every_step():
    flags = ["--algo.config.num-updates=1", "--algo.config.policy-frequency=1"]
    assert compose.load([*SAC, *flags]).algo.fast_sac.policy_frequency == 1


def test_an_unknown_learner_in_a_file_is_one_line(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("name: fast-sac\nconfig: {num_updates: 4}")
    with pytest.raises(ConfigError, match=r"own.yaml: name: .*'fast-sac'.*ppo, fast_sac.*Did you"):
        compose.load(["exp:g1-29dof", f"algo:{file}"])


@pytest.fixture
def own_learner(tmp_path, monkeypatch) -> str:
    """The address of a learner outside of the package."""
    (tmp_path / "outside_learner.py").write_text(
        "from dataclasses import dataclass\n"
        "from types import SimpleNamespace\n\n\n"
        "@dataclass(frozen=True)\n"
        "class Settings:\n"
        '    """Settings."""\n\n'
        "    rate: float = 0.5\n"
        '    """Step size."""\n'
        "    num_learning_iterations: int = 3\n"
        '    """Iterations."""\n'
        "    batch_size: int = 8\n"
        '    """Rows."""\n'
        "    actor_hidden: int = 32\n"
        '    """Width; in PPO it is a list."""\n\n\n'
        "def check(config, refuse):\n"
        "    if config.algo.config.rate > config.training.num_envs:\n"
        '        refuse("algo.config.rate", config.algo.config.rate, "at most num_envs")\n\n\n'
        "LEARNER = SimpleNamespace(config=Settings, check=check)\n"
        "NOTHING = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "outside_learner:LEARNER"


def test_a_learner_of_ones_own_brings_its_settings_and_checks(own_learner, tmp_path):
    config = compose.load(["exp:g1-29dof", f"algo:{own_learner}"])
    assert (config.algo.name, config.algo.config.rate) == (own_learner, 0.5)
    config = compose.load([f"algo:{own_learner}", "exp:g1-29dof", "--algo.config.rate=0.25"])
    assert config.algo.config.rate == 0.25
    saved = compose.save_yaml(config, tmp_path / "config.yaml")
    assert compose.load(["--config", str(saved)]) == config
    with pytest.raises(ConfigError, match=r"--algo.config.rate: got '5000'; .*num_envs"):
        compose.load(["exp:g1-29dof", f"algo:{own_learner}", "--algo.config.rate=5000"])
    with pytest.raises(ConfigError, match=r"--algo.config.rat: .*--algo.config.rate"):
        compose.load(["exp:g1-29dof", f"algo:{own_learner}", "--algo.config.rat=5000"])
    with pytest.raises(ConfigError, match=r"algo.name: 'outside_learner:NOTHING'"):
        compose.load(["exp:g1-29dof", "algo:outside_learner:NOTHING"])


def test_a_file_may_name_a_learner_of_ones_own(own_learner, tmp_path):
    file = tmp_path / "mine.yaml"
    groups = "{observation: g1-29dof-locomotion, reward: g1-29dof-locomotion"
    file.write_text(
        f"groups: {groups}, algo: '{own_learner}'}}\noverrides: {{algo: {{config: {{rate: 2}}}}}}\n"
    )
    assert compose.load(["--config", str(file)]).algo.config.rate == 2.0


@pytest.mark.parametrize("argv", [["task:outside:TASK"], ["--task=outside:TASK"], ["--task", "outside:TASK"]])
def test_the_task_may_be_outside_of_the_package(argv):
    assert compose.load(["exp:g1-29dof"]).task == "locomotion"
    assert compose.load(["exp:g1-29dof", *argv]).task == "outside:TASK"
    with pytest.raises(ConfigError, match=r"'locomotoin'.*Did you mean 'locomotion'"):
        compose.load(["exp:g1-29dof", "task:locomotoin"])


def test_help_shows_the_chosen_learners_keys(capsys):
    with pytest.raises(SystemExit):
        compose.parse_or_exit([*SAC, "--help"], "prog")
    text = capsys.readouterr().out
    assert "--algo.config.policy-frequency = 4" in text and "--algo.config.lam" not in text


def test_the_numbers_are_the_references():
    figures = yaml.safe_load(shared_path("spec/algo_figures.yaml").read_text())["presets"][
        "g1_29dof_fast_sac"
    ]
    sac = compose.load(SAC).algo.fast_sac
    names = {
        "num_learning_iterations": "num_iterations",
        "batch_size": "batch_size_global",
        "buffer_size": "buffer_size_per_env",
        "num_critics": "num_q_networks",
        "actor_learning_rate": "actor_lr",
        "critic_learning_rate": "critic_lr",
        "alpha_learning_rate": "alpha_lr",
        "save_interval": "save_interval_env_steps",
        "logging_interval": "logging_interval_env_steps",
    }
    same = "gamma num_steps tau learning_starts num_updates policy_frequency num_atoms v_min v_max alpha_init"
    same += " actor_hidden_dim critic_hidden_dim use_layer_norm use_tanh log_std_min log_std_max use_autotune"
    same += " target_entropy_ratio max_grad_norm obs_normalization use_symmetry"
    names |= {name: name for name in same.split()}
    assert {k: getattr(sac, k) for k in names} == {k: figures[v] for k, v in names.items()}
    for role in ("actor", "critic"):
        adam = getattr(sac, f"{role}_optimizer")
        assert (adam.b1, adam.b2, adam.eps) == (figures["adam_b1"], figures["adam_b2"], figures["adam_eps"])
        assert adam.weight_decay == figures[f"{role}_weight_decay"]
    # without a preset the defaults are the same
    assert sac == FastSacConfig()
