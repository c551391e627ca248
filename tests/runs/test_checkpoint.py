from __future__ import annotations

import json
import logging
import resource
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.runs import checkpoint, meta, saved_steps
from holosoma_jax.runs.checkpoint import DamagedCheckpoint, Meta, Retention, SaveError
from tests.support.messages import tells

META = Meta(step=7, robot="g1", simulator="mujoco", num_envs=3, seed=1, elapsed_s=1.5, config={"a": {"b": 1}})


def items(width: int = 4) -> dict:
    """One of everything that states are made of."""
    return {
        "learner": {"actor": {"kernel": jnp.arange(3.0 * width).reshape(3, width), "step": jnp.int32(5)}},
        "env": {
            "key": jax.random.key(2),
            "flags": jnp.array([True, False]),
            "none": None,
            "empty": jnp.zeros((2, 0)),
        },
        "physics": {"params/kp": np.linspace(0, 1, 6).reshape(3, 2), "counts": np.arange(3, dtype=np.int32)},
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return checkpoint.save(tmp_path / "run" / "checkpoints", items(), META)


def test_round_trip_keeps_every_bit(saved):
    blank = items() | {"physics": jax.tree.map(np.zeros_like, items()["physics"])}
    found = checkpoint.load(saved, blank)
    chex.assert_trees_all_equal(found, items())
    assert found["physics"]["params/kp"].dtype == np.float64
    assert isinstance(found["physics"]["params/kp"], np.ndarray)
    meta = checkpoint.read_meta(saved)
    assert replace(meta, arrays={}, files={}) == META


def test_one_item_can_be_read_alone(saved):
    found = checkpoint.load(saved, {"learner": items()["learner"]})
    chex.assert_trees_all_equal(found, {"learner": items()["learner"]})


def test_saving_a_step_again_keeps_the_first(saved):
    before = {p: p.read_bytes() for p in saved.rglob("*") if p.is_file()}
    assert checkpoint.save(saved.parent, items(9), META) == saved
    assert before == {p: p.read_bytes() for p in saved.rglob("*") if p.is_file()}


def _files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_every_missing_or_altered_file_is_one_sentence(saved, tmp_path):
    names = _files(saved)
    assert len(names) > 10
    for name in names:
        for harm in ("remove", "truncate", "flip"):
            copy = tmp_path / "copy" / "7"
            shutil.copytree(saved, copy)
            file, data = copy / name, bytearray((copy / name).read_bytes())
            if harm == "remove":
                file.unlink()
            elif harm == "truncate":
                file.write_bytes(data[: len(data) // 2])
            else:
                data[len(data) // 2] ^= 0x10
                file.write_bytes(data)
            with pytest.raises(ConfigError) as error:
                checkpoint.load(copy, items())
            text = str(error.value)
            assert str(copy) in text
            assert name in text
            assert "\n" not in text
            shutil.rmtree(copy.parent)


def rewrite(saved: Path, **changes: object) -> None:
    """Change what ``meta.json`` says, with a digest that fits: not damage, but something that was never saved."""
    record = json.loads((saved / "meta.json").read_text()) | changes
    del record["digest"]
    record["digest"] = meta.digest_of(record)
    (saved / "meta.json").write_text(json.dumps(record))


def test_one_changed_setting_is_seen(saved):
    file = saved / "meta.json"
    file.write_text(file.read_text().replace('"b": 1', '"b": 2'))
    with pytest.raises(DamagedCheckpoint, match=r"meta\.json"):
        checkpoint.read_meta(saved)


def test_every_flipped_bit_of_the_record_is_seen(saved):
    file = saved / "meta.json"
    before = file.read_bytes()
    for at in range(0, len(before), 37):
        for bit in range(8):
            data = bytearray(before)
            data[at] ^= 1 << bit
            file.write_bytes(data)
            with pytest.raises(ConfigError, match=r"meta\.json|layout") as error:
                checkpoint.read_meta(saved)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": None},
        {"files": 3},
        {"files": {"a": 1}},
        {"step": -1},
        {"step": True},
        {"step": "7"},
        {"num_envs": 0},
        {"elapsed_s": float("nan")},
        {"arrays": {"learner": 3}},
        {"arrays": {"learner": {"w": 3}}},
        {"curriculum": []},
        {"curriculum": {"penalty_curriculum": float("inf")}},
        {"robot": 1},
        {"unknown": 1},
        {"schema": None},
        {"schema": 1.5},
    ],
)
def test_a_record_of_other_types_is_one_line(saved, changes):
    rewrite(saved, **changes)
    with pytest.raises(DamagedCheckpoint, match=r"meta\.json") as error:
        checkpoint.read_meta(saved)
    assert next(iter(changes)) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "null", "", "{", '{"schema": 2}', "\ud800"])
def test_a_record_that_is_none_is_one_line(saved, text):
    (saved / "meta.json").write_text(text, errors="surrogatepass")
    with pytest.raises(DamagedCheckpoint, match=r"meta\.json") as error:
        checkpoint.read_meta(saved)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["payload.py", "learner/d/payload", ".hidden"])
def test_a_file_that_is_not_listed_is_refused(saved, name):
    (saved / name).write_text("import os")
    with pytest.raises(DamagedCheckpoint, match=name):
        checkpoint.read_meta(saved)  # before anything that the record names is looked up


def test_a_link_out_of_the_checkpoint_is_refused(saved, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (saved / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedCheckpoint, match="more"):
        checkpoint.read_meta(saved)


def test_a_checkpoint_of_an_earlier_layout_is_refused(saved):
    """Also where somebody only says so: earlier layouts had no digest."""
    record = json.loads((saved / "meta.json").read_text()) | {"schema": 1, "seed": 99}
    (saved / "meta.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=r"earlier holosoma_jax \(layout 1"):
        checkpoint.load(saved, items())


def kept(folder: Path, retention: Retention, steps: range) -> list[int]:
    """Steps that are there after each of `steps` was saved."""
    small = {"learner": {"w": jnp.ones(2)}}
    for step in steps:
        checkpoint.save(folder, small, replace(META, step=step), retention)
    assert not list(folder.glob(".*"))
    return [int(path.name) for path in saved_steps.steps(folder)]


def test_the_newest_and_every_so_many_th_are_kept(tmp_path):
    assert kept(tmp_path / "a", Retention(newest=2, every=4), range(1, 11)) == [4, 8, 9, 10]
    assert kept(tmp_path / "b", Retention(newest=1), range(1, 4)) == [3]
    assert kept(tmp_path / "c", Retention(), range(1, 4)) == [1, 2, 3]


def test_what_cannot_be_removed_costs_a_warning(tmp_path, caplog, absl_level):
    kept(tmp_path, Retention(), range(1, 4))
    (tmp_path / ".removed").write_text("in the way")
    new = checkpoint.save(
        tmp_path, {"learner": {"w": jnp.ones(2)}}, replace(META, step=4), Retention(newest=1)
    )
    assert checkpoint.verify(new).step == 4
    assert str(tmp_path) in caplog.text


def test_a_damaged_step_is_set_aside_and_saved_again(saved):
    (saved / "learner" / "_METADATA").write_bytes(b"")
    assert saved_steps.newest_sound(saved.parent)[0] is None
    assert checkpoint.save(saved.parent, items(), META) == saved
    assert saved_steps.newest_sound(saved.parent) == (saved, [])
    assert (saved.parent / "7.damaged").is_dir()


def test_first_array_that_differs_is_named(saved):
    with pytest.raises(ConfigError) as error:
        checkpoint.load(saved, items(6))
    text = str(error.value)
    assert "learner 'actor/kernel' is float32[3, 4]" in text and "float32[3, 6]" in text
    assert "config.yaml" in text


def test_array_that_only_one_side_has_is_named(saved):
    more, fewer = items(), items()
    more["env"]["queue"] = jnp.zeros(2)
    del fewer["env"]["flags"]
    with pytest.raises(ConfigError, match=r"'queue' is absent .*float32\[2\]"):
        checkpoint.load(saved, more)
    with pytest.raises(ConfigError, match=r"'flags' is bool\[2\] .*absent"):
        checkpoint.load(saved, fewer)
    with pytest.raises(ConfigError, match=r"'replay' \(.*learner, env, physics\)"):
        checkpoint.load(saved, {"replay": jnp.zeros(2)})


def test_other_robot_simulator_or_size_is_named_with_the_fix(saved):
    meta = checkpoint.read_meta(saved)
    checkpoint.require(saved, meta, robot="g1", simulator="mujoco", num_envs=3)
    with pytest.raises(ConfigError, match=r"'g1', .*'t1'\. .*exp:, robot:"):
        checkpoint.require(saved, meta, robot="t1")
    with pytest.raises(ConfigError, match=r"'ppo', .*'fast_sac'\. .*exp: and algo:"):
        ppo = replace(meta, config={"algo": {"name": "ppo"}})
        checkpoint.require(saved, ppo, robot="g1", learner="fast_sac")
    with pytest.raises(ConfigError, match=r"'mujoco', .*'mjwarp'\. .*simulator:mujoco"):
        checkpoint.require(saved, meta, robot="g1", simulator="mjwarp")
    with pytest.raises(ConfigError, match=r"\b3 environments, .*\b64\. .*--training.num-envs 3"):
        checkpoint.require(saved, meta, robot="g1", num_envs=64)


def test_newer_layout_asks_for_an_upgrade(saved):
    file = saved / "meta.json"
    record = json.loads(file.read_text()) | {"schema": 99, "version": "9.0.0", "unknown": 1}
    file.write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=r"9\.0\.0 \(layout 99\).*holosoma-jax>=9\.0\.0"):
        checkpoint.load(saved, items())


def test_resolve_understands_run_checkpoints_and_step(saved):
    checkpoint.save(saved.parent, items(), replace(META, step=12))
    run = saved.parent.parent
    for name in (".13.0a1b2c3d.partial", ".removed"):  # a save and a removal that were cut short
        (saved.parent / name / "13").mkdir(parents=True)
    (saved.parent / "14").mkdir()  # not one of ours
    for name in ("²", "07", "9" * 30, "8.damaged"):
        (saved.parent / name).mkdir()
        (saved.parent / name / "meta.json").touch()
    newest = saved.parent / "12"
    assert saved_steps.resolve(run) == newest
    assert saved_steps.resolve(str(saved.parent)) == newest
    assert saved_steps.resolve(saved) == saved
    checkpoint.clean(saved.parent)
    assert not list(saved.parent.glob(".*"))
    assert saved_steps.steps(saved.parent) == [saved, newest]


def test_resolve_names_what_it_got(tmp_path):
    (tmp_path / "policy.onnx").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for path, said in [
        ("nowhere", "no such folder"),
        ("policy.onnx", "is a file"),
        ("empty", "not a run directory"),
    ]:
        with pytest.raises(ConfigError, match=said) as error:
            saved_steps.resolve(tmp_path / path)
        assert str(tmp_path / path) in str(error.value)
    (tmp_path / "empty" / "config.yaml").write_text("")
    assert saved_steps.resolve(tmp_path / "empty") is None  # a run that has saved nothing yet
    with pytest.raises(ConfigError, match=r"checkpoint.*meta\.json"):
        checkpoint.load(tmp_path / "empty", {})


def test_a_folder_that_may_not_be_read_is_one_line(saved, monkeypatch):
    """As root everything can be read, so the refusal is the operating system's error, raised by hand."""

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    for path in (saved, saved.parent, saved.parent.parent):
        with pytest.raises(ConfigError, match=rf"training\.checkpoint: .*{path} .*Permission denied"):
            saved_steps.resolve(path)


@pytest.fixture
def absl_level() -> Iterator[None]:
    """The level of Orbax's log as it is where no save has failed yet, put back afterwards."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.WARNING)
    yield
    log.setLevel(level)


def test_full_disk_leaves_earlier_checkpoints(absl_level, saved):
    before = _files(saved.parent)
    assert logging.getLogger("absl").level < logging.CRITICAL  # after a save that went well
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # bytes; writes beyond fail like a full disk's
    try:
        with pytest.raises(SaveError) as error:
            large = {"learner": {"w": np.random.default_rng(0).random(100_000)}}
            checkpoint.save(saved.parent, large, replace(META, step=8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert tells(str(error.value), f"{saved.parent / '8'} ... File too large") and "\n" not in str(
        error.value
    )
    assert logging.getLogger("absl").level == logging.CRITICAL  # a thread of Orbax's logs a traceback later
    assert _files(saved.parent) == before
    assert saved_steps.latest(saved.parent) == saved


def test_folder_that_cannot_be_written_is_a_save_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match=r"checkpoint .*Not a directory"):
        checkpoint.save(tmp_path / "file" / "checkpoints", items(), META)
