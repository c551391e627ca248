"""What docs/configuration.md shows works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
COMMANDS = [
    line.removeprefix("python -m holosoma_jax.train ")
    for kind, text in BLOCKS
    if kind == "bash"
    for line in text.strip().splitlines()
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_line_changes_something_or_names_a_preset(command, monkeypatch):
    monkeypatch.chdir(PAGE.parents[1])
    config = compose.load(shlex.split(command))
    changed = compose.diff_from_preset(config)
    # [-1.0, 3.0] is what the preset says already
    assert changed or "--" not in command.replace("--config", "") or "added-mass-range" in command


def test_the_preset_and_the_term_of_ones_own(tmp_path, monkeypatch):
    for _, text in BLOCKS:
        if name := re.match(r"# ([\w-]+\.(?:py|yaml))\n", text):
            (tmp_path / name[1]).write_text(text)
    assert {p.name for p in tmp_path.iterdir()} == {"slow-walk.yaml", "my_terms.py"}
    monkeypatch.syspath_prepend(tmp_path)
    config = compose.load(["--config", str(tmp_path / "slow-walk.yaml")])
    assert config.reward.terms["penalty_torso_height"].func == "my_terms:torso_height"
    assert list(config.reward.terms)[:-1] == list(compose.load(["exp:g1-29dof"]).reward.terms)
    with pytest.raises(ConfigError, match=r"penalty-torso-height\.params\.targt: "):
        compose.load(
            [
                "--config",
                str(tmp_path / "slow-walk.yaml"),
                "--reward.terms.penalty-torso-height.params.targt=1",
            ]
        )


def test_the_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = [text for kind, text in BLOCKS if kind == "python" and "compose." in text]
    assert len(examples) == 2
    for text in examples:
        exec(compile(text, str(PAGE), "exec", dont_inherit=True), {"__name__": "example"})


def test_the_other_starts_of_an_evaluation_change_starts_and_physics_alone():
    page = (PAGE.parent / "evaluation.md").read_text()
    (command,) = re.findall(r"--commands sweep \\\n(.*?)\n```", page, re.DOTALL)
    overrides = shlex.split(command.replace("\\\n", " "))
    base = compose.load(["exp:g1-29dof-fast-sac-cpu"])
    config = compose.load(overrides, base=compose.to_mapping(base))
    root = config.randomization.reset_terms["randomize_root_state"].params
    full = compose.load(["exp:g1-29dof-fast-sac"]).randomization.reset_terms
    assert root == {**full["randomize_root_state"].params, "height_range": (-0.05, 0.0)}
    assert config.randomization.reset_terms["randomize_dof_state"] == full["randomize_dof_state"]
    sim = config.simulator.config.sim
    assert (sim.fps, sim.fps / sim.control_decimation) == (200, 50)
