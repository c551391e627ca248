"""A config that came with an artifact imports nothing but this package, unless a person says more."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest

from holosoma_jax.config import compose, trust
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.trust import Saved

PAYLOAD = "import pathlib\npathlib.Path('payload_ran').touch()\n\n\ndef alive(view):\n    return 0\n"


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A saved config whose reward `alive` is a function of a module outside; importing it leaves a file."""
    (tmp_path / "outside_terms.py").write_text(PAYLOAD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "outside_terms", raising=False)
    config = compose.to_mapping(compose.load(["exp:g1-29dof"]))
    config["reward"]["terms"]["alive"]["func"] = "outside_terms:alive"
    return config


def test_code_of_a_saved_config_is_refused_before_it_is_imported(saved: dict[str, Any]):
    for attempt in (
        lambda: compose.load([], base=saved),
        lambda: compose.load(["--allow-code=other"], base=saved),
        lambda: compose.load(["--reward.terms.alive.weight=2"], base=Saved(saved)),
        lambda: compose.from_mapping(saved),
    ):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert "reward.terms.alive.func" in str(caught.value)
        assert "outside_terms:alive" in str(caught.value) and "--allow-code outside_terms" in str(
            caught.value
        )
    assert not Path("payload_ran").exists() and "outside_terms" not in sys.modules


@pytest.mark.parametrize(
    "key",
    [
        ("algo", "name"),
        ("task",),
        ("termination", "terms", "contact", "func"),
        ("observation", "groups", "actor_obs", "terms", "dof_pos", "func"),
        ("algo", "config", "loss"),
    ],
)
def test_every_key_that_names_code_is_looked_at(saved: dict[str, Any], key: tuple[str, ...]):
    node = saved
    node["reward"]["terms"]["alive"]["func"] = ""
    for name in key[:-1]:
        node = node[name]
    node[key[-1]] = "outside_terms:alive"
    with pytest.raises(ConfigError, match="outside_terms:alive"):
        compose.load([], base=saved)
    assert not Path("payload_ran").exists()


@pytest.mark.parametrize(
    "key",
    [
        ("reward", "terms"),
        ("termination", "terms"),
        ("observation", "groups", "actor_obs", "terms"),
        ("command", "setup_terms"),
        ("randomization", "reset_terms"),
        ("curriculum", "setup_terms"),
    ],
)
def test_a_term_called_after_its_function_names_code(saved: dict[str, Any], key: tuple[str, ...]):
    saved["reward"]["terms"]["alive"]["func"] = ""
    for name in ("outside_terms:alive", "outside-terms:alive"):
        config = copy.deepcopy(saved)
        node = config
        for part in key:
            node = node[part]
        node[name] = {"weight": 1.0} if key[0] == "reward" else {}
        with pytest.raises(ConfigError, match="--allow-code outside_terms"):
            compose.load([], base=config)
    assert not Path("payload_ran").exists()


TERM, TASK = "holosoma_jax.envs.terms.rewards:alive", "holosoma_jax.envs.tasks.locomotion:TASK"
LEARNER = "holosoma_jax.learn.ppo.record:LEARNER"


def _set(config: dict[str, Any], key: str, value: str) -> dict[str, Any]:
    config = copy.deepcopy(config)
    config["reward"]["terms"]["alive"]["func"] = ""
    node, path = config, key.split(".")
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("reward.terms.alive.func", "holosoma_jax.runs.run_dir:create"),
        ("reward.terms.alive.func", "holosoma_jax.train:main"),
        ("reward.terms.alive.func", "holosoma_jax.envs.terms.terminations:contact"),
        ("reward.terms.alive.func", "holosoma_jax.envs.terms.rewards:importlib"),
        ("termination.terms.contact.func", TERM),
        ("observation.groups.actor_obs.terms.dof_pos.func", TERM),
        ("command.setup_terms.locomotion_command.func", TERM),
        ("randomization.setup_terms.setup_action_delay_buffers.func", "holosoma_jax.parallel.launch:main"),
        ("curriculum.setup_terms.penalty_curriculum.func", TERM),
        ("task", TERM),
        ("task", LEARNER),
        ("algo.name", TASK),
        ("algo.name", "holosoma_jax.doctor:main"),
        ("algo.loss", "holosoma_jax.learn.ppo.loss:loss"),
        ("simulator.name", TASK),
        ("simulator.name", "holosoma_jax.experiment:build"),
        ("viewer.func", TERM),
    ],
)
def test_what_this_package_does_not_list_for_a_place_is_refused(saved: dict[str, Any], key: str, value: str):
    config = _set(saved, key, value)
    with pytest.raises(ConfigError, match="--allow-code holosoma_jax") as caught:
        compose.load([], base=config)
    assert key in str(caught.value) and value in str(caught.value)
    assert trust.outside(config) == ("holosoma_jax",) and trust.flags(config) == "--allow-code holosoma_jax"
    trust.require(Saved(config), ["holosoma_jax"], "saved config")
    trust.require(Saved(config, trusted=True), [], "saved config")


@pytest.mark.parametrize(
    ("key", "value"), [("reward.terms.alive.func", TERM), ("task", TASK), ("algo.name", LEARNER)]
)
def test_what_this_package_lists_is_accepted(saved: dict[str, Any], key: str, value: str):
    config = _set(saved, key, value)
    trust.require(Saved(config), [], "saved config")
    assert trust.outside(config) == ()


def test_a_term_called_after_an_unlisted_function_of_this_package_is_refused(saved: dict[str, Any]):
    saved["reward"]["terms"]["alive"]["func"] = ""
    saved["reward"]["terms"]["holosoma-jax.runs.run_dir:create"] = {"weight": 1.0}
    with pytest.raises(ConfigError, match="--allow-code holosoma_jax"):
        compose.load([], base=saved)


def test_a_person_may_allow_a_package(saved: dict[str, Any]):
    assert compose.load(["--allow-code", "outside_terms"], base=saved).reward.terms["alive"].func
    assert Path("payload_ran").exists()
    assert compose.load(["--allow-code=a,outside_terms"], base=saved)
    assert compose.from_mapping(saved, allow_code=["outside_terms"])
    assert compose.from_mapping(Saved(saved, trusted=True))
    with pytest.raises(ConfigError, match="allow-code: got 'a b'"):
        compose.load(["--allow-code=a b"], base=saved)


def test_what_has_to_be_allowed_is_known(saved: dict[str, Any]):
    assert trust.outside(saved) == ("outside_terms",)
    assert trust.outside(compose.to_mapping(compose.load(["exp:g1-29dof"]))) == ()


def test_a_module_inside_of_the_artifact_is_never_imported(saved: dict[str, Any], tmp_path: Path):
    (tmp_path / "gotrun" / "inner").mkdir(parents=True)
    for place in (tmp_path / "gotrun" / "payload.py", tmp_path / "gotrun" / "inner" / "payload.py"):
        place.write_text(PAYLOAD)
    for module in ("gotrun.payload", "gotrun.inner.payload"):
        saved["reward"]["terms"]["alive"]["func"] = f"{module}:alive"
        with pytest.raises(ConfigError, match="inside of"):
            compose.load(["--allow-code=gotrun"], base=Saved(saved, tmp_path / "gotrun"))
    assert not Path("payload_ran").exists()


def test_what_a_person_writes_is_trusted(saved: dict[str, Any], tmp_path: Path):
    compose.save_yaml(compose.from_mapping(saved, allow_code=["outside_terms"]), tmp_path / "mine.yaml")
    assert compose.load(["--config", "mine.yaml"])
    assert compose.load(["exp:g1-29dof", "--reward.terms.alive.func=outside_terms:alive"])


@pytest.mark.parametrize(
    "func",
    [
        "os:system",
        "os:abort",
        "os:sep",
        "subprocess:run",
        "shutil:rmtree",
        ".x:y",
        "os:",
        "a b:c",
        "checkpoints.7.payload:alive",
        "no_such_module:f",
    ],
)
def test_what_is_no_term_is_one_line(func: str):
    with pytest.raises(ConfigError, match=r"--reward.terms.alive.func"):
        compose.load(["exp:g1-29dof", f"--reward.terms.alive.func={func}"])
