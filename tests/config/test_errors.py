"""Bad input: one line that names the key as it was typed, what was given, what is wanted, what was meant."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from holosoma_jax.config import compose, files, keys
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from tests.support.messages import tells

G1 = "exp:g1-29dof"

FLAGS = [
    # a misspelt key, at any depth, or in the wrong place
    ("--training.num-env=3", "--training.num-env", "Did you mean --training.num-envs?"),
    ("--trainng.num-envs=3", "--trainng.num-envs", "Did you mean --training.num-envs?"),
    ("--num-envs=3", "--num-envs", "Did you mean --training.num-envs?"),
    ("--seed=3", "--seed", "Did you mean --training.seed?"),
    (
        "--training.num-learning-iterations=3",
        "--training.num-learning-iterations",
        "--algo.config.num-learning-iterations?",
    ),
    ("--algo.num-learning-epochs=3", "--algo.num-learning-epochs", "--algo.config.num-learning-epochs?"),
    (
        "--algo.config.actor-optimiser.b1=0.9",
        "--algo.config.actor-optimiser.b1",
        "--algo.config.actor-optimizer.b1?",
    ),
    ("--simulator.sim.fps=100", "--simulator.sim.fps", "--simulator.config.sim.fps?"),
    ("--terrain.scale-factor=2", "--terrain.scale-factor", "--terrain.terrain-term.scale-factor?"),
    ("--terrain.terrain-term.terrain-config.ruogh=1", "ruogh", "terrain-config.rough?"),
    ("--logger.vidoe.width=3", "--logger.vidoe.width", "--logger.video.width?"),
    ("--colour=red", "--colour", "unknown key"),
    ("--checkpoint=logs/a", "--checkpoint", "Did you mean --training.checkpoint?"),
    # what other frameworks call it
    ("--max_iterations=3", "--max_iterations", "Did you mean --algo.config.num-learning-iterations?"),
    ("--training.resume=logs/a", "--training.resume", "Did you mean --training.checkpoint?"),
    # terms and their parameters
    ("--reward.terms.feet-fase.weight=1", "feet-fase", "Did you mean --reward.terms.feet-phase.weight?"),
    ("--reward.feet-phase.weight=1", "--reward.feet-phase.weight", "--reward.terms.feet-phase.weight?"),
    ("--reward.terms.feet-phase.wieght=1", "wieght", "--reward.terms.feet-phase.weight?"),
    ("--reward.terms.feet-phase.params.swing-hight=1", "swing-hight", "Did you mean 'swing_height'?"),
    ("--reward.terms.alive.params.bonus=1", "--reward.terms.alive.params.bonus", "unknown parameter"),
    ("--reward.terms.brand-new.weight=1", "brand_new", "New terms are written in a YAML file."),
    (
        "--observation.groups.actor.enable-noise=False",
        "groups.actor",
        "--observation.groups.actor-obs.enable-noise?",
    ),
    ("--observation.groups.actor-obs.terms.dof-poss.noise=1", "dof-poss", "terms.dof-pos.noise?"),
    (
        "--termination.terms.contakt.params.force-threshold=1",
        "contakt",
        "terms.contact.params.force-threshold?",
    ),
    (
        "--command.setup-terms.locomotion-command.params.command-ranges.lin-vel-z=[0,1]",
        "lin-vel-z",
        "command-ranges.lin-vel-y?",
    ),
    ("--reward.terms.feet-phase.params.swing-height.x=1", "swing-height.x", "there is nothing below it"),
    ("--reward.terms.feet-phase.params.swing-height=tall", "got 'tall'", "number"),
    ("--curriculum.setup-terms.penalty-curriculum.params.enabled=7", "params.enabled", "got 7"),
    # the wrong type
    ("--training.num-envs=abc", "--training.num-envs: got 'abc'", "wanted an integer >= 1."),
    ("--training.num-envs=1.5", "got '1.5'", "wanted an integer >= 1."),
    ("--training.num-envs=True", "got 'True'", "wanted an integer >= 1."),
    ("--training.num-envs=null", "got 'null'", "wanted an integer >= 1."),
    ("--training.num-envs=[1]", "got '[1]'", "wanted an integer >= 1."),
    ("--training.headless=maybe", "got 'maybe'", "wanted true or false."),
    ("--training.headless=1", "got '1'", "wanted true or false."),
    ("--algo.config.gamma=high", "got 'high'", "wanted a number from 0 to 1."),
    ("--algo.config.gamma=true", "got 'true'", "wanted a number from 0 to 1."),
    ("--algo.config.actor-hidden=64", "got '64'", "wanted a list of integers >= 1. A list is written [64]."),
    ("--algo.config.actor-hidden=[64,x]", "got '[64,x]'", "wanted a list of integers >= 1."),
    ("--robot.init-state.pos=[0,0]", "got '[0,0]'", "wanted a list of 3 numbers, or null."),
    ("--logger.tags=a", "got 'a'", "A list is written [a]."),
    ("--robot.init-state.pos=0,0,1", "got '0,0,1'", "or null. A list is written [0,0,1]."),
    # out of range
    ("--training.num-envs=-3", "got '-3'", "wanted an integer >= 1."),
    ("--training.num-envs=0", "got '0'", "wanted an integer >= 1."),
    ("--training.seed=-1", "got '-1'", "from 0 to 2147483647"),
    ("--training.seed=99999999999999999999", "--training.seed", "from 0 to 2147483647"),
    ("--algo.config.gamma=1.5", "got '1.5'", "from 0 to 1"),
    ("--algo.config.clip-param=0", "got '0'", "wanted a number > 0."),
    ("--algo.config.entropy-coef=.nan", "got '.nan'", "wanted a number from -1e+06 to 1e+06."),
    ("--algo.config.entropy-coef=1e999", "got '1e999'", "wanted a number from -1e+06 to 1e+06."),
    ("--algo.config.actor-hidden=[64,0]", "got '[64,0]'", "wanted a list of integers >= 1."),
    ("--training.num-envs=1\n2\n", "got '1 2 '", "wanted an integer >= 1."),
    ("--training.name=a/b", "got 'a/b'", "wanted a folder name, no slashes"),
    ("--training.name=..", "got '..'", "wanted a folder name, no slashes"),
    ("--simulator.name=mujco", "got 'mujco'", "Did you mean 'mujoco'?"),
    (
        "--algo.config.activation=gelu",
        "got 'gelu'",
        "wanted one of elu, relu, silu, tanh. Did you mean 'elu'?",
    ),
    ("--logger.mode=null", "got 'null'", "wanted one of online, offline, disabled."),
    ("--algo.config.phase-mirror=reference", "got 'reference'", "write holosoma."),  # as it was called before
    # missing, doubled, or half a value
    ("--training.seed", "--training.seed: the value is missing", "wanted an integer"),
    ("--training.seed=", "--training.seed: the value is missing", "--training.seed=VALUE"),
    ("--algo.config.actor-hidden=[64,", "--algo.config.actor-hidden: cannot read '[64,'", "in quotes"),
    ("--training={seed: 1}", "--training: holds other keys", "set one of num_envs, seed"),
    ("--reward.terms={}", "--reward.terms: holds other keys", "tracking_lin_vel"),
    ("--reward.terms.alive=1", "--reward.terms.alive: holds other keys", "weight"),
    ("--training.seed.x=1", "--training.seed.x", "there is nothing below it"),
    ("--reward.terms.feet-phase.params=3", "--reward.terms.feet-phase.params: got 3", "a mapping"),
    ("--training..seed=1", "'--training..seed'", "not a key"),
    ("--reward.terms.alive.params={a: &x [*x]}", "--reward.terms.alive.params", "references"),
    # relations between fields
    (
        "--algo.config.num-mini-batches=1000000",
        "got '1000000'",
        "at most num_envs * num_steps_per_env = 98304",
    ),
    (
        "--algo.config.min-actor-learning-rate=1",
        "min-actor-learning-rate: got '1'",
        "at most the initial rate",
    ),
    ("--algo.config.max-critic-learning-rate=1e-9", "got '1e-9'", "at least the initial rate"),
    ("--simulator.config.sim.max-episode-length-s=0.001", "got '0.001'", "at least one control step, 0.02 s"),
    ("--terrain.terrain-term.amplitude-range=[1,0]", "got '[1,0]'", "[low, high]"),
    (
        "--randomization.setup-terms.mass-randomizer.params.added-mass-range=[3,-1]",
        "added-mass-range: got '[3,-1]'",
        "[low, high]",
    ),
    # presets written as options
    ("--exp=g1-29dof", "--exp", "Did you mean exp:g1-29dof?"),
    ("--simulator=mujoco", "--simulator: holds other keys", "A preset is chosen with simulator:mujoco."),
    ("--simulator:mujoco", "'--simulator:mujoco'", "Did you mean simulator:mujoco?"),
]

COMMANDS = [
    ([], "no preset chosen", "Presets: g1-29dof, g1-29dof-cpu"),
    (["--training.seed=1"], "no preset chosen", "exp:NAME or --config FILE"),
    (["exp:g1-29do"], "exp:g1-29do", "Did you mean 'g1-29dof'?"),
    (["exp:nothing-like-it"], "exp:nothing-like-it", "Known: g1-29dof"),
    (["exp:"], "'exp:'", "the name after ':' is missing"),
    ([G1, "exp:t1-29dof"], "exp:g1-29dof and exp:t1-29dof", "given twice"),
    ([G1, "--config", "x.yaml"], "exp:g1-29dof and --config x.yaml", "given twice"),
    ([G1, "simulator:mujco"], "simulator:mujco", "Did you mean 'mujoco'?"),
    ([G1, "simulator:mujoco", "simulator:mjwarp"], "simulator:mujoco and simulator:mjwarp", "given twice"),
    ([G1, "simulater:mujoco"], "'simulater:mujoco'", "Did you mean 'simulator'?"),
    ([G1, "training:big"], "'training:big'", "no group 'training'"),
    ([G1, "--training.seed=1", "--training.seed=2"], "--training.seed", "given twice"),
    (
        [G1, "--training.num-envs=1", "--training.num_envs=1"],
        "--training.num-envs and --training.num_envs",
        "twice",
    ),
    (
        [G1, "--training.deterministic", "--training.torch-deterministic"],
        "torch-deterministic",
        "given twice",
    ),
    (
        [G1, "--reward.terms.pose=null", "--reward.terms.pose.weight=1"],
        "--reward.terms.pose.weight",
        "contradicts",
    ),
    ([G1, "--training.seed", "64", "32"], "'32'", "unexpected after --training.seed"),
    ([G1, "--training.seed", "1", "t1-29dof"], "'t1-29dof'", "unexpected after --training.seed"),
    # what Hydra's users type
    ([G1, "training.seed=3"], "'training.seed=3'", "Did you mean --training.seed=3?"),
    ([G1, "+training.seed=3"], "'+training.seed=3'", "Did you mean --training.seed=3?"),
    ([G1, "simulator=mujoco"], "'simulator=mujoco'", "Did you mean simulator:mujoco?"),
    ([G1, "~reward.terms.pose"], "'~reward.terms.pose'", "--reward.terms.pose=null"),
    ([G1, "-m"], "'-m'", "one run"),
    ([G1, "--multirun"], "'multirun'", "one run"),
    (["--config-name=g1-29dof"], "config-name", "exp:NAME"),
    ([G1, "hydra.run.dir=out"], "hydra.run.dir", "--training.output-dir"),
    ([G1, "-training.seed=3"], "'-training.seed=3'", "two dashes"),
    (["g1-29dof"], "'g1-29dof'", "Did you mean 'exp:g1-29dof'?"),
    (
        ["configs/exp/g1-29dof.yaml"],
        "'configs/exp/g1-29dof.yaml'",
        "Did you mean --config configs/exp/g1-29dof.yaml?",
    ),
    (["--config"], "--config", "the file is missing"),
    ([G1, "--training.name", "--training.seed=1"], "--training.name", "the value is missing"),
]


def line(argv: list[str], **kwargs) -> str:
    """The one line that `argv` is answered with."""
    with pytest.raises(ConfigError) as caught:
        compose.load(argv, **kwargs)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


@pytest.mark.parametrize(("flag", "names", "says"), FLAGS, ids=[case[0] for case in FLAGS])
def test_a_bad_flag_is_one_line(flag, names, says):
    text = line([G1, flag])
    assert names in text
    assert says in text


@pytest.mark.parametrize(
    ("argv", "names", "says"), COMMANDS, ids=[" ".join(case[0]) or "nothing" for case in COMMANDS]
)
def test_a_bad_command_line_is_one_line(argv, names, says):
    text = line(argv)
    assert names in text
    assert says in text


FILES = [
    ("", "is empty"),
    ("# only a comment\n", "is empty"),
    ("- a\n- b\n", "wanted keys like `training:`"),
    ("groups: {robot: g1-29dof\n", "line 2: not valid YAML"),
    ("groups:\n  robot: g1-29dof\n robot: x\n", "line 3: not valid YAML"),
    ("training: {seed: 1, seed: 2}\n", "line 1: not valid YAML: the key 'seed' is given twice"),
    ("training: {num-envs: 1, num_envs: 2}\n", "the key 'num_envs' is given twice"),
    ("training: {1: 2}\n", "the key 1 is not text"),
    ("training: *nothing\n", "references like *name are not supported"),
    ("training: {deterministic: true, torch_deterministic: true}\n", "is given twice"),
    (
        "group: {robot: g1-29dof}\noverrides: {}\n",
        "unknown key 'group'; an experiment has 'groups' and 'overrides'",
    ),
    (
        "groups: {}\ntraining: {seed: 1}\n",
        "unknown key 'training'; an experiment has 'groups' and 'overrides'; put it",
    ),
    ("groups: [g1-29dof]\n", 'groups: got ["g1-29dof"]; wanted lines like `robot: g1-29dof`'),
    ("groups: {robott: g1-29dof}\n", "unknown group 'robott'. Did you mean 'robot'?"),
    ("groups: {robot: g1-29do}\n", "robot:g1-29do: there is no such preset. Did you mean 'g1-29dof'?"),
    ("groups: {robot: 3}\n", "groups.robot: got 3; wanted the name of a preset"),
    ("groups: {reward: ./gone.yaml}\n", "gone.yaml: no such file"),
    ("trainng: {seed: 1}\n", "unknown key 'trainng'. Did you mean 'training'?"),
    ("groups: {}\noverrides: {training: {sed: 1}}\n", "unknown key 'training.sed'. Did you mean 'seed'?"),
    ("groups: {}\noverrides: {training: 3}\n", "training: got 3; wanted keys below it"),
    ("groups: {}\noverrides: {training: {seed: x}}\n", "training.seed: got 'x'; wanted an integer from 0"),
    ("reward: {terms: {alive: {func: alive}}}\n", "reward.terms.alive.weight: missing; wanted a number"),
    ("reward: {terms: {alive: 3}}\n", "reward.terms.alive: got 3; wanted keys below it: weight"),
    (
        "observation: {groups: {actor_obs: {terms: {dof_pos: {}}}}}\n",
        "wanted exactly the groups actor_obs and critic_obs",
    ),
    (
        "observation: {groups: {actor_obs: {terms: {dof_pos: }}, critic_obs: {}}}\n",
        "observation.groups.actor_obs.terms: got {}; wanted at least one term",
    ),
    (
        "algo: {config: {num_learning_epochs: 2.0}}\n",
        "algo.config.num_learning_epochs: got 2.0; wanted an integer >= 1",
    ),
]


@pytest.mark.parametrize(("text", "says"), FILES, ids=[case[0] for case in FILES])
def test_a_bad_file_is_one_line_that_names_it(tmp_path, text, says):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    message = line(["--config", str(file)])
    assert says in message
    assert "mine.yaml" in message or "gone.yaml" in message or message.startswith("robot:")


def test_a_misspelt_term_in_a_file_is_named(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "groups: {observation: g1-29dof-locomotion, reward: g1-29dof-locomotion}\n"
        "overrides: {reward: {terms: {alife: {weight: 2}}}}\n"
    )
    message = line(["--config", str(file)])
    assert f"{file}: reward.terms.alife" in message
    assert "Did you mean 'alive'?" in message


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_bytes(b"training: \xff\n")
    assert "not UTF-8 text" in line(["--config", str(tmp_path / "mine.yaml")])
    assert "is a folder" in line(["--config", str(tmp_path)])
    message = line(["--config", str(tmp_path / "mien.yaml")])
    assert "no such file. Did you mean" in message
    assert "mine.yaml" in message
    assert "exp:g1-29dof." in line(["--config", "nowhere/g1-29dof.yaml"])
    assert "cannot be read (File name too long)" in line(["--config", "x" * 300 + ".yaml"])

    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert "cannot be read (Permission denied)" in line(["--config", str(tmp_path / "mine.yaml")])


def test_a_saved_config_excludes_an_experiment_and_is_named_in_errors():
    saved = compose.to_mapping(compose.load([G1]))
    assert "checkpoint" in line([G1], base=saved)
    assert "checkpoint" in line(["--config=x.yaml"], base=saved)
    saved["training"]["num_envs"] = -1
    assert tells(line([], base=saved), "saved config: training.num_envs: ... -1 ... >= 1")
    with pytest.raises(ConfigError, match=r"run 7: .*'algos'"):
        compose.from_mapping({"algos": {}}, "run 7")


@pytest.mark.parametrize(
    "section", ["reward.terms", "observation.groups.actor_obs.terms", "observation.groups"]
)
def test_the_last_file_that_changed_a_mapping_is_blamed_for_it(tmp_path: Path, section: str):
    path = tuple(section.split("."))
    layer: Any = dict.fromkeys(keys.at(compose.to_mapping(compose.load([G1])), path))
    for name in reversed(path):
        layer = {name: layer}
    experiment = yaml.safe_load((files.root() / "exp" / "g1-29dof.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"groups": experiment["groups"], "overrides": layer}))
    assert tells(line(["--config", str(tmp_path / "mine.yaml")]), f"mine.yaml: {section}: got ")


def test_every_error_of_a_mutated_flag_names_the_flag():
    """Real flags with a letter dropped, doubled or swapped, and real keys with absurd values."""
    rng = random.Random(0)
    config = compose.load([G1])
    known = [
        keys.as_flag(path) for path, _ in keys.walk(Config, compose.to_mapping(config)) if path != ("exp",)
    ]
    absurd = [
        "",
        "x",
        "-1",
        "[",
        "{a: b}",
        "null",
        "1e999",
        "[1,2,3,4,5]",
        "true",
        "@",
        "'",
        "!!python/name:os.system",
    ]
    for _ in range(300):
        flag = rng.choice(known)
        if rng.random() < 0.5:
            at = rng.randrange(2, len(flag))
            flag = rng.choice(
                [flag[:at] + flag[at + 1 :], flag[:at] + flag[at] + flag[at:], flag[:at] + "q" + flag[at:]]
            )
        argument = f"{flag}={rng.choice(absurd)}"
        try:
            compose.load([G1, argument])
        except ConfigError as error:
            text = str(error)
            assert "\n" not in text, argument
            assert flag in text or flag.replace("-", "_") in text.replace("-", "_"), (argument, text)


RANGES = "command: {setup_terms: {locomotion_command: {params: {command_ranges: {lin_vel_xx: [0, 9]}}}}}"


def test_a_misspelt_key_inside_a_mapping_is_named(tmp_path):
    flag = "--command.setup-terms.locomotion-command.params"
    whole = f"{flag}.command-ranges={{lin_vel_xx: [0, 9], lin_vel_x: [0, 1], lin_vel_y: [0, 1], ang_vel_yaw: [0, 1]}}"
    assert "Did you mean 'lin_vel_x'?" in line([G1, whole])
    file = tmp_path / "mine.yaml"
    groups = (Path(__file__).parents[2] / "configs/exp/g1-29dof.yaml").read_text().partition("overrides:")[0]
    file.write_text(f"{groups}\noverrides: {{{RANGES}}}\n")
    message = line(["--config", str(file)])
    assert "command_ranges.lin_vel_xx" in message and "Did you mean 'lin_vel_x'?" in message
