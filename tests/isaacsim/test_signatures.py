"""Every call of the worker against the signatures of Isaac Lab, which need not be here for that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridges.isaacsim import install
from docs.scripts import isaaclab_signatures as script

NOTED = json.loads(Path(__file__).with_name("signatures.json").read_text())
USES = script.uses(script.BACKEND.read_text())


def misfit(arguments: tuple[int, frozenset[str]], parameters: list[str]) -> str:
    """What is wrong with a call of these positional and keyword arguments, '' if nothing is."""
    count, keywords = arguments
    names = [p.strip("*=") for p in parameters]
    positional = [n for n, p in zip(names, parameters, strict=True) if not p.startswith("*")]
    needed = {n for n, p in zip(names, parameters, strict=True) if not p.endswith("=")}
    if count > len(positional):
        return f"{count} positional arguments"
    given = set(positional[:count]) | keywords
    if keywords - set(names):
        return f"unknown {sorted(keywords - set(names))}"
    return f"without {sorted(needed - given)}" if needed - given else ""


def test_the_signatures_are_of_the_version_that_is_installed_for_users():
    assert f"isaaclab=={NOTED['versions']['isaaclab']}" == install.PACKAGE


def test_every_use_is_noted():
    unknown = {use.name for use in USES} - NOTED["names"].keys()
    assert not unknown, "run docs/scripts/isaaclab_signatures.py with the Python that has Isaac Lab"
    assert NOTED["names"].keys() <= {use.name for use in USES}


def test_every_call_fits():
    checked, unfit = set(), []
    for use in USES:
        if use.arguments is None:
            continue
        for engine, parameters in NOTED["names"][use.name].items():
            wrong = "is not callable" if parameters is None else misfit(use.arguments, parameters)
            if wrong:
                unfit.append(f"line {use.line}: {use.name} {engine}: {wrong}")
            checked.add(use.name)
    assert not unfit
    assert len(checked) > 25  # it is seen that there are calls


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("robot.set_mass(masses=m)", "robot.set_mass"),
        ("self._robot.data.body_masses.torch", "robot.data.body_masses"),
        ("self._contact.data.net_force", "contact.data.net_force"),
        ("from isaaclab.sim import NoSuchCfg\nNoSuchCfg()", "isaaclab.sim.NoSuchCfg"),
    ],
)
def test_a_name_that_does_not_exist_is_found(line: str, name: str):
    assert name in {use.name for use in script.uses(line)} - NOTED["names"].keys()


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("robot.set_masses_index(m)", "1 positional"),
        ("robot.set_masses_index(mass=m)", "unknown"),
        ("robot.set_masses_index(env_ids=i)", "without"),
        ("robot.set_masses_index(masses=m, env_ids=i)", ""),
    ],
)
def test_a_call_that_does_not_fit_is_found(line: str, wrong: str):
    (use,) = [use for use in script.uses(line) if use.arguments]
    for parameters in NOTED["names"][use.name].values():
        found = misfit(use.arguments or (0, frozenset()), parameters)
        assert wrong in found and bool(wrong) == bool(found)
