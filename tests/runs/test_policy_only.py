"""Runs that hold a policy alone, and the names of those that come with the package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.runs import checkpoint, meta, policy_only, pretrained, saved_steps
from holosoma_jax.runs.open_run import open_run
from holosoma_jax.runs.run_config import saved_config
from tests.support import toy

LEARNER = {"actor": {"w": jnp.arange(6.0).reshape(2, 3)}, "critic": {"w": jnp.full(4, 5.0)}}
FRESH = {"actor": {"w": jnp.zeros((2, 3))}, "critic": {"w": jnp.full(4, -1.0)}}
LEAVES = frozenset({"actor/w"})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that holds the actor of `LEARNER`."""
    folder = tmp_path / "pretrained" / "walker"
    meta = checkpoint.Meta(7, "toy", "toy", 16, 3, 1.5, compose.to_mapping(toy.config()))
    policy_only.save(folder, meta, LEARNER, LEAVES)
    return folder


def test_the_policy_is_as_saved_and_the_rest_as_in_the_template(run: Path) -> None:
    path = saved_steps.resolve(run)
    assert path == run / "checkpoints" / "7" and policy_only.is_alone(checkpoint.read_meta(path))
    found = policy_only.load(path, FRESH, LEAVES)
    chex.assert_trees_all_equal(found, {"actor": LEARNER["actor"], "critic": FRESH["critic"]})


def test_a_whole_checkpoint_is_read_whole(tmp_path: Path) -> None:
    meta = checkpoint.Meta(7, "toy", "toy", 16, 3, 1.5, compose.to_mapping(toy.config()))
    path = checkpoint.save(tmp_path / "checkpoints", {"learner": LEARNER}, meta)
    chex.assert_trees_all_equal(policy_only.load(path, FRESH, LEAVES), LEARNER)


def test_what_does_not_fit_is_named(run: Path) -> None:
    path = saved_steps.resolve(run)
    wider = {**FRESH, "actor": {"w": jnp.zeros((2, 4))}}
    with pytest.raises(ConfigError, match=r"'actor/w' is float32\[2, 3\] .*float32\[2, 4\]"):
        policy_only.load(path, wider, LEAVES)
    with pytest.raises(ConfigError, match="'critic/w' is absent"):
        policy_only.load(path, FRESH, {*LEAVES, "critic/w"})


def test_damage_is_found(run: Path) -> None:
    path = saved_steps.resolve(run)
    np.savez_compressed(path / policy_only.FILE, **{"actor/w": np.zeros((2, 3), np.float32)})
    with pytest.raises(checkpoint.DamagedCheckpoint, match=policy_only.FILE):
        policy_only.load(path, FRESH, LEAVES)


def test_an_archive_larger_than_its_arrays_is_not_unpacked(run: Path) -> None:
    path = saved_steps.resolve(run)
    with np.load(path / policy_only.FILE) as file:
        arrays = dict(file)
    np.savez_compressed(path / policy_only.FILE, **arrays, more=np.zeros(1_000_000))
    meta.seal(path, replace(checkpoint.read_meta(path), files={}))
    with pytest.raises(checkpoint.DamagedCheckpoint, match=r"80\d{5} bytes.*at most"):
        policy_only.load(path, FRESH, LEAVES)


def test_it_cannot_be_resumed_and_nothing_is_written_to_it(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for where in (run, run / "checkpoints" / "7"):
        cfg = toy.config(checkpoint=str(where))
        with pytest.raises(ConfigError, match=rf"--training\.warm-start {where}"), open_run(cfg):
            pass
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_names_of_the_package(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "folder", lambda: run.parent)
    assert pretrained.find("pretrained:walker") == run
    with pytest.raises(ConfigError, match=r"training.warm_start: no policy 'pretrained:walkre'.*'walker'"):
        pretrained.find("pretrained:walkre", "training.warm_start")
    assert saved_config("pretrained:walker").config["training"]["name"] == toy.config().training.name
    cfg = toy.config(output_dir=str(tmp_path / "logs"), warm_start="pretrained:walker")
    with open_run(cfg) as opened:
        assert opened.warm_start == run / "checkpoints" / "7"
    resumed = replace(cfg, training=replace(cfg.training, checkpoint="pretrained:walker"))
    with pytest.raises(ConfigError, match=r"--training\.warm-start pretrained:walker"), open_run(resumed):
        pass


def test_without_any_the_name_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "folder", lambda: tmp_path)
    with pytest.raises(ConfigError, match=r"--checkpoint: 'pretrained:g1'"):
        pretrained.find("pretrained:g1")
