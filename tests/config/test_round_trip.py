"""A config, its mapping and its file say the same."""

from __future__ import annotations

import json

import pytest
import yaml

from holosoma_jax.config import compose, files

PRESETS = files.names("exp")
AWKWARD = [
    "1e5",
    "007",
    "None",
    "no",
    "null",
    "true",
    "12:30",
    "a: b",
    "# a",
    "0x1F",
    "1_000",
    "ü",
    "~",
    ".5",
    "-",
]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_survives_mapping_json_and_yaml(preset, tmp_path):
    config = compose.load([f"exp:{preset}"])
    mapping = compose.to_mapping(config)
    assert compose.from_mapping(mapping) == config
    assert compose.from_mapping(json.loads(json.dumps(mapping))) == config
    saved = compose.save_yaml(config, tmp_path / "config.yaml")
    assert compose.load(["--config", str(saved)]) == config
    assert compose.from_mapping(yaml.safe_load(saved.read_text())) == config  # a plain YAML 1.1 reader
    assert compose.load([], base=files.read(saved)) == config


@pytest.mark.parametrize("text", AWKWARD)
def test_text_that_looks_like_something_else_stays_text(text, tmp_path):
    config = compose.load(["exp:g1-29dof", f"--training.name={text}", f"--logger.tags=['{text}']"])
    assert config.training.name == text
    assert config.logger.tags == (text,)
    saved = compose.save_yaml(config, tmp_path / "config.yaml")
    assert compose.load(["--config", str(saved)]) == config
    assert compose.from_mapping(yaml.safe_load(saved.read_text())) == config


def test_an_override_equals_the_same_value_in_a_file(tmp_path):
    flags = ["--training.seed=3", "--algo.config.actor-hidden=[8,8]", "--reward.terms.alive.weight=2"]
    file = tmp_path / "mine.yaml"
    file.write_text(
        "groups: {observation: g1-29dof-locomotion, reward: g1-29dof-locomotion}\n"
        "overrides:\n  training: {seed: 3}\n  algo: {config: {actor_hidden: [8, 8]}}\n"
        "  reward: {terms: {alive: {weight: 2}}}\n"
    )
    in_file = compose.to_mapping(compose.load(["--config", str(file)]))
    file.write_text("groups: {observation: g1-29dof-locomotion, reward: g1-29dof-locomotion}\n")
    assert compose.to_mapping(compose.load(["--config", str(file), *flags])) == in_file
