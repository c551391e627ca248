"""The table of optional packages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from holosoma_jax.config import extras
from holosoma_jax.config.errors import ConfigError


def test_extras_are_those_of_the_project():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    declared = {
        name: {re.split(r"[\[><=]", line)[0] for line in lines}
        for name, lines in project["optional-dependencies"].items()
        if name not in ("dev", "cuda12", "cuda13")
    }
    assert {name: set(packages) for name, packages in extras.EXTRAS.items()} == declared


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("mujoco_warp", "warp"),
        ("warp.context", "warp"),
        ("torch", "isaac"),
        ("tensorboardX", "tensorboard"),
        ("json", None),
        ("isaacgym", None),
    ],
)
def test_the_extra_of_a_module(module: str, extra: str | None):
    assert extras.extra_of(module) == extra


def test_a_missing_module_is_one_line_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    extras.require("this", "json")
    monkeypatch.setattr(extras, "is_installed", lambda module: False)
    with pytest.raises(ConfigError) as error:
        extras.require("logger:wandb", "wandb", "Or choose logger:console.")
    line = str(error.value)
    assert line.startswith("logger:wandb ") and "'holosoma-jax[wandb]'" in line and "\n" not in line
    assert line.endswith("Or choose logger:console.")
    assert "Isaac Gym Preview 4" in str(extras.explain_missing("this", "isaacgym"))
    assert extras.explain_missing("this", "json") is None
