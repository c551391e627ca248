"""holosoma's configuration keys and its saved `holosoma_config.yaml`."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from holosoma_jax.config import compose, holosoma, keys
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from tests.support.messages import tells

G1, SAC = "exp:g1-29dof", "exp:g1-29dof-fast-sac"


@pytest.mark.parametrize(
    ("exp", "flag", "ours"),
    [
        (SAC, "--algo.config.num-q-networks=4", "algo.config.num_critics"),
        (SAC, "--algo.config.amp=False", "algo.config.bf16"),
        (G1, "--algo.config.module-dict.critic.layer-config.hidden-dims=[64]", "algo.config.critic_hidden"),
        (G1, "--simulator.config.name=mjwarp", "simulator.name"),
        (
            G1,
            "--command.params.locomotion-command-resampling-time=5.0",
            "command.setup_terms.locomotion_command.params.resampling_time",
        ),
    ],
)
def test_a_key_of_another_name_is_taken_for_ours(exp: str, flag: str, ours: str):
    assert ours in compose.diff_from_preset(compose.load([exp, flag]))


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--simulator.config.virtual-gantry.apply-force=5", "spring and damper"),
        ("--terrain.terrain-term.tile-mesh=False", "loaded once"),
        ("--simulator.config.mujoco-backend=warp", "simulator:mjwarp"),
        ("--algo.config.weight-decay=0.1", "--algo.config.critic-optimizer.weight-decay"),
        ("--algo.config.compile=False", "compiled"),
        ("--robot.control.stiffness.hip_yaw=100", "docs/new_robot.md"),
        ("--terrain.terrain-term.static-friction=0.5", "friction-range"),
        ("--logger.resume=allow", "resumed"),
        ("--eval-overrides.num-envs=4", "holosoma_jax.eval"),
        ("--nightly.iterations=3", "benchmarks/"),
    ],
)
def test_a_key_without_a_place_here_says_what_to_do(flag: str, says: str):
    with pytest.raises(ConfigError) as caught:
        compose.load([SAC, flag])
    message = str(caught.value)
    assert message.startswith(flag.partition("=")[0]) and says in message


def test_a_suggestion_stays_in_its_section():
    with pytest.raises(ConfigError) as caught:
        compose.load([G1, "--simulator.config.enabled=True"])
    assert "--logger" not in str(caught.value) and "--randomization" not in str(caught.value)


def test_every_target_of_the_table_exists():
    known: set[tuple[str, ...]] = set()
    for exp in (G1, SAC):
        known |= {path for path, _ in keys.walk(Config, compose.to_mapping(compose.load([exp])))}
    targets = {*holosoma.RENAMED.values()} - {("algo", "config", "loss")}
    # the parameter is optional in the preset
    optional = ("command", "setup_terms", "locomotion_command", "params", "resampling_time")
    assert targets - known <= {optional}


@pytest.fixture
def theirs() -> dict[str, Any]:
    """The parts of a `holosoma_config.yaml` that matter here, written as holosoma writes it."""
    mapping = compose.to_mapping(compose.load([G1]))
    terms = "holosoma.managers.{}.terms.locomotion:{}"
    reward = {
        name: {"func": terms.format("reward", name), "weight": t["weight"], "params": t["params"], "tags": []}
        for name, t in mapping["reward"]["terms"].items()
    }
    return {
        "env_class": "holosoma.envs.locomotion.locomotion_manager.LeggedRobotLocomotionManager",
        "training": {"num_envs": 512, "seed": 7, "torch_deterministic": True, "name": "g1_29dof_manager"},
        "algo": {
            "_target_": "holosoma.agents.ppo.ppo.PPO",
            "_recursive_": False,
            "config": {
                "gamma": 0.9,
                "module_dict": {"actor": {"layer_config": {"hidden_dims": [64, 32], "activation": "ELU"}}},
                "eval_callbacks": None,
            },
        },
        "robot": {"asset": {"robot_type": "g1_29dof", "enable_self_collisions": True}, "num_bodies": 30},
        "simulator": {
            "config": {"name": "mujoco", "mujoco_backend": "warp", "sim": {"fps": 100, "substeps": 1}}
        },
        "reward": {"terms": reward},
        "nightly": {"iterations": 5000},
    }


def load(tmp_path: Path, mapping: dict[str, Any], *argv: str) -> Config:
    (tmp_path / "holosoma_config.yaml").write_text(yaml.safe_dump(mapping))
    return compose.load(["--config", str(tmp_path / "holosoma_config.yaml"), *argv])


def test_a_saved_config_of_holosoma(theirs: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture):
    del theirs["reward"]["terms"]["alive"]
    theirs["reward"]["terms"]["pose"]["weight"] = -0.25
    with caplog.at_level(logging.WARNING):
        config = load(tmp_path, theirs, "--training.seed=8")
    assert (config.training.num_envs, config.training.seed, config.training.deterministic) == (512, 8, True)
    assert (config.algo.ppo.gamma, config.algo.ppo.actor_hidden) == (0.9, (64, 32))
    assert (config.simulator.name, config.simulator.config.sim.fps) == ("mjwarp", 100)
    assert config.robot.enable_self_collisions
    assert "alive" not in config.reward.terms and config.reward.terms["pose"].weight == -0.25
    assert not config.reward.terms["pose"].func.startswith("holosoma.")
    (record,) = caplog.records
    for left in ("nightly", "robot: num_bodies"):
        assert left in record.getMessage()
    assert "eval_callbacks" not in record.getMessage()  # null
    assert "reward" not in record.getMessage()


def test_what_is_no_config_for_here_is_one_line(theirs: dict[str, Any], tmp_path: Path):
    other = copy.deepcopy(theirs)
    other["robot"]["asset"]["robot_type"] = "h1"
    with pytest.raises(ConfigError, match="'h1'"):
        load(tmp_path, other)
    other["robot"]["asset"]["robot_type"] = ["g1_29dof"]
    with pytest.raises(ConfigError, match="g1_29dof"):
        load(tmp_path, other)


SECTIONS = [
    *("algo", "robot", "robot.asset", "training", "algo.config", "simulator", "simulator.config.sim"),
    *("reward", "reward.terms", "reward.terms.pose", "reward.terms.pose.params"),
]


@pytest.mark.parametrize("value", [[1], ["alive"], "alive", 3, True], ids=str)
@pytest.mark.parametrize("section", SECTIONS)
def test_a_value_in_the_place_of_a_section_is_one_line(
    theirs: dict[str, Any], tmp_path: Path, section: str, value: Any
):
    *above, last = section.split(".")
    keys.at(theirs, tuple(above))[last] = value
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, theirs)
    assert tells(str(caught.value), f"holosoma_config.yaml: {section}: got ... wanted a mapping")


@pytest.mark.parametrize("nothing", [None, {}, []], ids=str)
def test_the_file_that_takes_all_terms_away_is_blamed(theirs: dict[str, Any], tmp_path: Path, nothing: Any):
    theirs["reward"] = nothing
    with pytest.raises(ConfigError, match=r"holosoma_config\.yaml: reward\.terms: "):
        load(tmp_path, theirs)


SAVED = Path(__file__).parents[1] / "data" / "holosoma"


def test_a_whole_file_of_a_locomotion_run(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """As holosoma writes it: nulls where it finds a value by itself, and keys of its own by the hundred."""
    mapping = yaml.safe_load((SAVED / "saved_fast_sac.yaml").read_text())
    mapping["algo"]["config"] |= {"gamma": 0.9, "num_q_networks": 3}
    mapping["training"]["checkpoint"] = "logs/model_00100.pt"
    del mapping["randomization"]["setup_terms"]["push_randomizer_state"]
    mapping["curriculum"] = None
    with caplog.at_level(logging.WARNING):
        config = load(tmp_path, mapping)
    plain = compose.load([SAC])
    assert config.algo.fast_sac.gamma == 0.9 and config.algo.fast_sac.num_critics == 3
    assert config.simulator.name == "isaacgym" and config.training.checkpoint is None
    assert config.simulator.config.mujoco_warp == plain.simulator.config.mujoco_warp  # null there
    left = {"push_randomizer_state"}
    assert set(config.randomization.setup_terms) == set(plain.randomization.setup_terms) - left
    assert config.curriculum.setup_terms == {}
    assert config.reward == plain.reward and config.termination == plain.termination
    (record,) = caplog.records
    said = record.getMessage()
    for key in ("weight_decay", "robot.control: ", "training: checkpoint", "stiffness", "nightly", "viewer"):
        assert key in said
    for key in ("null", "_target_", "_recursive_", "env_class", "hidden_dims", "func"):
        assert key not in said


def test_a_whole_file_of_a_tracking_run(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    mapping = yaml.safe_load((SAVED / "saved_wbt_w_object.yaml").read_text())
    with caplog.at_level(logging.WARNING):
        config = load(tmp_path, mapping)
    preset = compose.load(["exp:g1-29dof-wbt-w-object"])
    motion = config.command.setup_terms["motion_command"].params["motion_config"]
    assert config.task == "tracking" and config.robot.object.enabled
    assert config.training.num_envs == 8192 and config.simulator.name == "isaacsim"
    assert motion["motion_file"] == "g1_carry_box"  # theirs is not on this machine
    assert motion["enable_default_pose_prepend"] and len(motion["body_names_to_track"]) == 14
    assert "motion_config: motion_file" in caplog.text
    assert set(config.reward.terms) <= set(preset.reward.terms)
    clip = tmp_path / "clip.npz"
    clip.touch()
    inner = mapping["command"]["setup_terms"]["motion_command"]["params"]["motion_config"]
    inner["motion_file"] = 300 * "x"  # longer than a name can be
    assert load(tmp_path, mapping).command == config.command
    inner["motion_file"] = str(clip)
    motion = load(tmp_path, mapping).command.setup_terms["motion_command"].params["motion_config"]
    assert motion["motion_file"] == str(clip)


def test_groups_beside_a_saved_config_win(theirs: dict[str, Any], tmp_path: Path):
    """As over a config of our own; what they do not mention stays."""
    config = load(tmp_path, theirs, "simulator:mujoco", "logger:disabled", "terrain:terrain-locomotion-plane")
    assert (config.simulator.name, config.logger.type) == ("mujoco", "disabled")
    assert config.simulator.config.sim.fps == 100
    assert config.terrain.terrain_term.mesh_type == "plane"
    assert config.algo.ppo.gamma == 0.9


def test_the_page_lists_the_tables():
    page = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()
    for old, new in holosoma.RENAMED.items():
        assert f"| `{'.'.join(old)}` | `{'.'.join(new)}` |" in page
    for old, advice in holosoma.DIFFERENT.items():
        assert f"| `{'.'.join(old)}` | {advice} |" in page
