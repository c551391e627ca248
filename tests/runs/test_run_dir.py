from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import pytest

from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.runs import checkpoint, run_dir
from holosoma_jax.runs.run_dir import RunDir
from tests.support import toy


@pytest.fixture
def cfg(tmp_path: Path) -> Config:
    return toy.config(output_dir=str(tmp_path / "logs"), name="walk")


def resuming(cfg: Config, path: Path, **changes) -> Config:
    return replace(cfg, training=replace(cfg.training, checkpoint=str(path), **changes))


def save(run: RunDir, cfg: Config, step: int) -> Path:
    meta = checkpoint.Meta(step, "toy", "toy", 16, 3, 0.0, compose.to_mapping(cfg))
    return checkpoint.save(run.checkpoints, {"learner": {"w": jnp.ones(2)}}, meta)


def test_new_run_has_its_config_and_a_name_of_its_own(cfg, tmp_path):
    starts = [run_dir.begin(cfg) for _ in range(3)]  # two of them within the same second
    paths = [start.run.path for start in starts]
    assert len(set(paths)) == 3
    for start in starts:
        assert start.checkpoint is None
        assert start.run.path.parent == tmp_path / "logs" / "toy"
        assert "-walk" in start.run.path.name
        assert compose.load(["--config", str(start.run.config)]) == cfg
    assert not list((tmp_path / "logs" / "toy").glob(".*"))


def test_run_directory_continues_in_place(cfg):
    run = run_dir.begin(cfg).run
    newest = [save(run, cfg, step) for step in (5, 10)][-1]
    (run.checkpoints / ".15.partial").mkdir()  # killed while saving
    before = sorted(run.path.rglob("*"))
    for path in (run.path, run.checkpoints):
        longer = replace(resuming(cfg, path), exp="longer")
        assert run_dir.begin(longer) == run_dir.Start(run, newest)
    assert sorted(run.path.rglob("*")) == before
    assert compose.load(["--config", str(run.config)]) == cfg
    run_dir.reopen(run, longer)
    assert not (run.checkpoints / ".15.partial").exists()
    assert compose.load(["--config", str(run.config)]) == replace(cfg, exp="longer")


def test_run_directory_without_checkpoint_begins_again_in_place(cfg):
    run = run_dir.begin(cfg).run
    assert run_dir.begin(resuming(cfg, run.path)) == run_dir.Start(run, None)


def test_one_checkpoint_starts_a_new_run(cfg):
    run = run_dir.begin(cfg).run
    earlier, later = save(run, cfg, 5), save(run, cfg, 10)
    before = sorted(run.path.rglob("*"))
    start = run_dir.begin(resuming(cfg, earlier))
    assert start.checkpoint == earlier
    assert start.run.path != run.path
    assert sorted(run.path.rglob("*")) == before
    assert later.exists()


def test_warm_start_counts_where_there_is_no_checkpoint(cfg):
    old = run_dir.begin(cfg).run
    warm = replace(cfg, training=replace(cfg.training, warm_start=str(old.path)))
    with pytest.raises(ConfigError, match=r"training.warm_start: .* has saved no checkpoint yet"):
        run_dir.begin(warm)
    first = save(old, cfg, 5)
    start = run_dir.begin(warm)
    assert (start.checkpoint, start.warm) == (None, first) and start.run.path != old.path
    assert run_dir.begin(resuming(warm, start.run.path)) == start  # killed before it saved
    own = save(start.run, warm, 2)
    assert run_dir.begin(resuming(warm, start.run.path)) == run_dir.Start(start.run, own)
    with pytest.raises(ConfigError, match=r"training.warm_start: no such folder"):
        run_dir.begin(replace(cfg, training=replace(cfg.training, warm_start="nowhere")))


def test_saved_config_of_run_checkpoint_and_unsaved_run(cfg, tmp_path):
    run = run_dir.begin(cfg).run
    assert run_dir.saved_config(run.path) == compose.to_mapping(cfg)  # from config.yaml
    changed = replace(cfg, exp="changed")
    step = save(run, changed, 5)
    assert run_dir.saved_config(run.path) == run_dir.saved_config(step) == compose.to_mapping(changed)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ConfigError, match="no complete checkpoint and no config"):
        run_dir.saved_config(tmp_path)


def test_output_that_cannot_be_written_is_one_sentence(cfg, tmp_path):
    (tmp_path / "file").write_text("")
    refused = replace(cfg, training=replace(cfg.training, output_dir=str(tmp_path / "file")))
    with pytest.raises(
        ConfigError, match=r"training.output_dir: cannot write to .*file.*--training.output-dir"
    ):
        run_dir.begin(refused)


def test_folder_without_write_permission(cfg, tmp_path, monkeypatch):
    """As root nothing is read-only, so the refusal is the operating system's error, raised by hand."""

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    run = run_dir.begin(cfg).run
    save(run, cfg, 5)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ConfigError, match=r"training.output_dir: cannot write to .*\(Permission denied\)"):
        run_dir.begin(cfg)
    with pytest.raises(ConfigError, match=r"training.output_dir: cannot write to .*\(Permission denied\)"):
        run_dir.require(cfg)
    monkeypatch.setattr(run_dir.os, "replace", refuse)
    with pytest.raises(ConfigError, match=r"training.output_dir: cannot write to .*\(Permission denied\)"):
        run_dir.reopen(run, cfg)  # a new run: there is nothing to continue elsewhere
    resumed = replace(cfg, training=replace(cfg.training, checkpoint=str(run.path)))
    run_dir.require(resumed)
    with pytest.raises(ConfigError, match=r"training.checkpoint: cannot write to .*checkpoints/<step>"):
        run_dir.reopen(run, resumed)
    assert not list(run.path.glob(".config*"))
