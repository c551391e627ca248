"""What `open_run` finds, makes, locks and puts back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.runs import lock, saved_steps
from holosoma_jax.runs.open_run import OpenedRun, open_run
from holosoma_jax.runs.run_config import saved_config
from tests.support.child import ROOT
from tests.support.opened_runs import opened, resuming, save, snapshot


def test_new_run_has_its_config_and_a_name_of_its_own(cfg, tmp_path):
    runs = [opened(cfg) for _ in range(3)]  # two of them within the same second
    assert len({run.folder.path for run in runs}) == 3
    for run in runs:
        assert (run.checkpoint, run.warm_start, run.config) == (None, None, cfg)
        assert run.folder.path.parent == tmp_path / "logs" / "toy"
        assert "-walk" in run.folder.path.name
        assert compose.load(["--config", str(run.folder.config)]) == cfg
        assert [path.name for path in run.folder.path.glob("[!.]*")] == ["config.yaml"]
    assert not list((tmp_path / "logs" / "toy").glob(".*"))


def test_run_directory_continues_in_place(cfg):
    run = opened(cfg).folder
    newest = [save(run, cfg, step) for step in (5, 10)][-1]
    for path in (run.path, run.checkpoints):
        longer = replace(resuming(cfg, path), exp="longer")
        recorded = replace(cfg, exp="longer")
        assert opened(longer) == OpenedRun(run, newest, None, recorded)
        assert compose.load(["--config", str(run.config)]) == recorded


def test_run_directory_without_checkpoint_begins_again_in_place(cfg):
    run = opened(cfg).folder
    assert opened(resuming(cfg, run.path)) == OpenedRun(run, None, None, cfg)


def test_one_checkpoint_starts_a_new_run(cfg):
    run = opened(cfg).folder
    earlier, _ = (save(run, cfg, step) for step in (5, 10))
    before = snapshot(run.path)
    branch = opened(resuming(cfg, earlier))
    assert branch.checkpoint == earlier
    assert branch.folder.path != run.path
    assert snapshot(run.path) == before


def test_warm_start_counts_where_there_is_no_checkpoint(cfg):
    old = opened(cfg).folder
    warm = replace(cfg, training=replace(cfg.training, warm_start=str(old.path)))
    with pytest.raises(ConfigError, match=r"training.warm_start: .*no checkpoint"):
        opened(warm)
    first = save(old, cfg, 5)
    run = opened(warm)
    assert (run.checkpoint, run.warm_start) == (None, first) and run.folder.path != old.path
    assert opened(resuming(warm, run.folder.path)) == run  # killed before it saved
    own = save(run.folder, warm, 2)
    assert opened(resuming(warm, run.folder.path)) == replace(run, checkpoint=own, warm_start=None)
    with pytest.raises(ConfigError, match=r"training.warm_start: .*folder"):
        opened(replace(cfg, training=replace(cfg.training, warm_start="nowhere")))


def test_a_new_run_that_leaves_nothing_is_removed(cfg, tmp_path):
    with pytest.raises(KeyboardInterrupt), open_run(cfg) as run:
        (run.folder.path / "metrics.jsonl").touch()
        raise KeyboardInterrupt
    assert not run.folder.path.exists()
    with pytest.raises(RuntimeError), open_run(cfg) as run:
        run.folder.metrics.write_text('{"step": 1}\n')
        raise RuntimeError
    assert run.folder.metrics.exists() and run.folder.config.exists()


@pytest.mark.usefixtures("default_signals")
def test_sigterm_before_the_first_iteration_leaves_no_run(cfg, tmp_path):
    """As while it compiles: no handler of Python's runs by then."""
    compose.save_yaml(cfg, tmp_path / "config.yaml")
    code = (
        "import hashlib, sys\nfrom holosoma_jax.config import compose\n"
        "from holosoma_jax.runs.open_run import open_run\n"
        "with open_run(compose.load(['--config', sys.argv[1]])) as run:\n    print(run.folder.path, flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'a', b'b', 30_000_000)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "config.yaml")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.is_dir() and folder.parent.is_relative_to(tmp_path)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    assert not folder.exists()


def test_a_continued_run_that_refuses_the_settings_is_as_it_was(cfg):
    run = opened(cfg).folder
    save(run, cfg, 5)
    before = snapshot(run.path)
    with pytest.raises(ConfigError), open_run(replace(resuming(cfg, run.path), exp="other")):
        assert snapshot(run.path) != before
        raise ConfigError("does not fit")
    assert snapshot(run.path) == before


def damage(step: Path) -> None:
    """Cut the largest file of a checkpoint."""
    file = max(step.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    file.write_bytes(file.read_bytes()[:-1])


def test_a_run_continues_from_its_newest_sound_checkpoint(cfg, caplog):
    run = opened(cfg).folder
    first, second, third = (save(run, cfg, step) for step in (5, 10, 15))
    (third / "meta.json").write_text("{")
    damage(second)
    before = snapshot(run.path)
    with pytest.raises(ConfigError), open_run(resuming(cfg, run.path)):
        raise ConfigError("does not fit")
    assert snapshot(run.path) == before
    caplog.clear()
    assert opened(resuming(cfg, run.path)).checkpoint == first
    assert saved_steps.steps(run.checkpoints) == [first]
    for path in (second, third):
        assert str(path) in caplog.text
        assert path.with_name(f"{path.name}.damaged").is_dir()


def _as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _as_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size + 1)),
    "missing": Path.unlink,
    "folder": _as_folder,
    "pipe": _as_pipe,
    "device": _as_link,
}


@pytest.mark.parametrize("harm", DAMAGE)
def test_a_run_continues_past_every_kind_of_damage(cfg, caplog, harm):
    run = opened(cfg).folder
    sound, step = save(run, cfg, 5), save(run, cfg, 10)
    names = ["meta.json", *json.loads((step / "meta.json").read_text())["files"]]
    for name in names[:2] if harm == "cut" else names:
        caplog.clear()
        kept = step.with_name("kept")
        shutil.copytree(step, kept)
        DAMAGE[harm](step / name)
        assert saved_steps.newest_sound(run.checkpoints)[0] == sound, name
        if name in names[:2]:
            assert opened(resuming(cfg, run.path)).checkpoint == sound
            assert str(step) in caplog.text
        else:
            shutil.rmtree(step)
        kept.rename(step)
    assert opened(resuming(cfg, run.path)).checkpoint == step


@pytest.mark.parametrize("kind", ["empty", "file", "another", "link"])
def test_what_is_no_checkpoint_of_its_step_is_passed_over_with_a_warning(cfg, caplog, kind):
    run = opened(cfg).folder
    sound, step = save(run, cfg, 5), run.checkpoints / "10"
    if kind == "another":
        shutil.copytree(sound, step)
    elif kind == "link":
        step.symlink_to("5")
    elif kind == "empty":
        step.mkdir()
    else:
        step.write_text("x")
    assert opened(resuming(cfg, run.path)).checkpoint == sound
    assert str(step) in caplog.text and not step.exists()


def test_a_damaged_checkpoint_that_is_named_is_refused(cfg):
    run = opened(cfg).folder
    save(run, cfg, 5)
    second = save(run, cfg, 10)
    (second / "meta.json").write_text("{")
    with pytest.raises(ConfigError, match=str(second)):
        opened(resuming(cfg, second))
    with pytest.raises(ConfigError, match=str(second)):
        saved_config(second)
    assert saved_config(run.path).config == compose.to_mapping(cfg)  # that of the one before


def test_a_run_whose_checkpoints_are_all_damaged_is_refused(cfg):
    run = opened(cfg).folder
    damage(save(run, cfg, 5))
    before = snapshot(run.path)
    with pytest.raises(ConfigError, match=f"training.checkpoint: .*{run.path}"):
        opened(resuming(cfg, run.path))
    assert snapshot(run.path) == before


def test_saved_config_of_run_checkpoint_and_unsaved_run(cfg, tmp_path):
    run = opened(cfg).folder
    assert saved_config(run.path).config == compose.to_mapping(cfg)  # from config.yaml
    changed = replace(cfg, exp="changed")
    step = save(run, changed, 5)
    assert saved_config(run.path).config == saved_config(step).config == compose.to_mapping(changed)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ConfigError, match=r"checkpoint.*config"):
        saved_config(tmp_path)


def test_output_that_cannot_be_written_is_one_sentence(cfg, tmp_path):
    (tmp_path / "file").write_text("")
    refused = replace(cfg, training=replace(cfg.training, output_dir=str(tmp_path / "file")))
    with pytest.raises(ConfigError, match=r"training.output_dir: .*file.*--training.output-dir"):
        opened(refused)


def test_folder_without_write_permission(cfg, monkeypatch):
    """As root nothing is read-only, so the refusal is the operating system's error, raised by hand."""

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    run = opened(cfg).folder
    save(run, cfg, 5)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(ConfigError, match=r"training.output_dir: .*\(Permission denied\)"):
            opened(cfg)
    monkeypatch.setattr(lock.os, "open", refuse)
    with pytest.raises(ConfigError, match=r"training.checkpoint: .*checkpoints/<step>"):
        opened(resuming(cfg, run.path))
    assert [path.name for path in run.path.glob(".*")] == [".origin"]


def test_a_disk_that_fills_up_while_a_run_begins(cfg, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lock.fcntl, "flock", full)
    with pytest.raises(ConfigError, match=r"training.output_dir: .*No space left"):
        opened(cfg)
    assert not list((tmp_path / "logs" / "toy").iterdir())


def hold(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the lock of `folder` when this returns."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom holosoma_jax.runs.lock import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('locked', flush=True)\n    time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "locked\n"
    return process


def test_a_run_is_continued_by_one_process_at_a_time(cfg):
    run = opened(cfg).folder
    first = save(run, cfg, 5)
    with hold(run.path) as other:
        before = snapshot(run.path)
        try:
            with pytest.raises(ConfigError) as error:
                opened(resuming(cfg, run.path))
            for part in ("training.checkpoint", str(run.path), str(other.pid), os.uname().nodename):
                assert part in str(error.value)
            assert "\n" not in str(error.value)
            assert opened(resuming(cfg, first)).checkpoint == first  # a branch needs no lock of it
            assert snapshot(run.path) == before
        finally:
            other.send_signal(signal.SIGKILL)
    assert opened(resuming(cfg, run.path)).checkpoint == first  # the lock went with its holder
    with open_run(resuming(cfg, run.path)), pytest.raises(ConfigError, match=str(os.getpid())):
        opened(resuming(cfg, run.path))


def test_a_file_system_without_locks_costs_a_warning(cfg, monkeypatch, caplog):
    def refuse(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with open_run(cfg) as run:
        assert str(run.folder.path) in caplog.text


def test_a_folder_that_is_removed_meanwhile_is_locked_again(cfg, caplog):
    with open_run(cfg) as run:
        shutil.rmtree(run.folder.path)
        run.restore()
        assert str(run.folder.path) in caplog.text
        assert compose.load(["--config", str(run.folder.config)]) == cfg
        assert saved_config(run.folder.path).config == compose.to_mapping(cfg)  # which is from here
        with pytest.raises(ConfigError, match=str(os.getpid())):
            opened(resuming(cfg, run.folder.path))
        caplog.clear()
        run.restore()
        assert caplog.text == ""
    assert not (run.folder.path / ".lock").exists()
