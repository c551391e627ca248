"""What a run from elsewhere decides, and what it may not lead to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import get_args, get_type_hints

import pytest

from holosoma_jax.config import compose, keys
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config, types
from holosoma_jax.config.schema.simulator import RemoteConfig
from holosoma_jax.config.schema.viewer import Port
from holosoma_jax.runs import lock, origin
from holosoma_jax.runs.run_config import saved_config
from tests.support.opened_runs import opened, resuming, save


def personal(cfg: Config) -> Config:
    """`cfg` with the settings of somebody who watches, from another machine."""
    return replace(
        cfg,
        training=replace(cfg.training, headless=False, multigpu=True),
        logger=replace(cfg.logger, entity="them", type="wandb", mode="offline"),
        simulator=replace(
            cfg.simulator, config=replace(cfg.simulator.config, remote=RemoteConfig("./run_me"))
        ),
        viewer=replace(cfg.viewer, host="0.0.0.0"),
        robot=replace(cfg.robot, asset="/home/them/robot"),
    )


def test_a_run_that_is_continued_where_it_was_begun_keeps_its_settings(cfg, caplog):
    theirs = personal(cfg)
    run = opened(theirs).folder
    assert saved_config(run.path).config == compose.to_mapping(theirs)
    step = save(run, theirs, 5)
    moved = run.path.rename(run.path.with_name("renamed"))
    for path in (moved, moved / "checkpoints" / step.name):
        assert saved_config(path).config == compose.to_mapping(theirs)
    assert caplog.text == ""


@pytest.mark.parametrize("saved", [False, True])
def test_a_run_from_elsewhere_does_not_decide_for_this_machine(cfg, tmp_path, caplog, saved):
    run = opened(personal(cfg)).folder
    if saved:
        save(run, personal(cfg), 5)
    copy = shutil.copytree(run.path, tmp_path / "copy")
    kept = replace(
        cfg, training=replace(cfg.training, output_dir="logs"), logger=replace(cfg.logger, type="tensorboard")
    )
    assert saved_config(copy).config == compose.to_mapping(kept)
    for text in ("viewer.host '0.0.0.0'", "training.headless", "training.multigpu", "logger.entity 'them'"):
        assert text in caplog.text
    for text in ("logger.type 'wandb'", "logger.mode 'offline'", "remote.python './run_me'"):
        assert text in caplog.text
    for key in ("training.output_dir", "robot.asset", str(copy)):
        assert key in caplog.text
    assert "viewer.port" not in caplog.text  # which is the default


def test_a_run_from_elsewhere_fetches_nothing(cfg, tmp_path, caplog):
    begun = compose.to_mapping(cfg) | {"training": {"warm_start": "wandb://them/p/r/7.tar"}}
    assert origin.without_personal(begun, tmp_path)["training"]["warm_start"] is None
    assert "training.warm_start 'wandb://them/p/r/7.tar'" in caplog.text


OF_THE_RUN = {
    "training": {
        *("num_envs", "seed", "keep_checkpoints", "keep_every", "export_onnx", "deterministic", "devices"),
        *("max_eval_steps", "project", "name", "driver", "check_finite"),
        "checkpoint",  # dropped by every reader, whoever wrote it
    },
    "logger": {"project", "name", "group", "tags", "interval", "video"},
    "simulator": {"name", "config"},
    "simulator.config": {"virtual_gantry", "mujoco_warp", "sim", "mujoco", "isaacsim"},
    "simulator.config.sim": {"fps", "control_decimation", "max_episode_length_s", "physx"},
    "simulator.config.sim.physx": {
        *("solver_type", "num_position_iterations", "num_velocity_iterations", "bounce_threshold_velocity"),
        "max_gpu_contact_pairs",
    },
    "simulator.config.mujoco": {"integrator", "iterations", "ls_iterations", "foot_friction"},
    "simulator.config.isaacsim": {
        "physics",
        "nconmax_per_env",
        "njmax_per_env",
        "iterations",
        "ls_iterations",
    },
    "logger.video": {"enabled", "interval", "width", "height", "length_s"},
    "robot": {"init_state", "control", "enable_self_collisions", "object"},
    "": {
        *("training", "algo", "simulator", "robot", "terrain", "observation", "reward", "termination"),
        *("command", "randomization", "curriculum", "logger", "task", "exp"),
    },
}
"""What a run from elsewhere decides; every other key of these sections belongs to the person (`origin.PERSONAL`)."""


@pytest.mark.parametrize("section", OF_THE_RUN)
def test_every_setting_is_the_runs_or_the_persons(cfg, tmp_path, section):
    """A new key of the config has to be put in one of the two tables."""
    parts = tuple(section.split(".")) if section else ()
    node = compose.to_mapping(Config())
    for part in parts:
        node = node[part]
    personal = {path[len(parts)] for path in origin.PERSONAL if path[:-1] == parts}
    assert personal | OF_THE_RUN[section] == set(node)
    assert not personal & OF_THE_RUN[section]


PATHS = {"training.checkpoint", "terrain.terrain_term.obj_file_path"}
"""Paths that are the run's: the first is dropped always, and of the other the run has a copy."""


def test_every_path_and_address_belongs_to_the_person():
    personal = {".".join(path) for path in origin.PERSONAL}
    found = [name for name in _typed(Config, "") if not any(name.startswith(p) for p in personal)]
    assert set(found) == PATHS


def _typed(kind: type, prefix: str) -> Iterator[str]:
    """Keys of `kind` whose type is a path, a host or a port."""
    hints = get_type_hints(kind, include_extras=True)
    for entry in fields(kind):
        hint, name = hints[entry.name], f"{prefix}{entry.name}"
        inner = {hint, *get_args(hint)}
        if inner & {types.PathText, types.Host, Port, types.HostAndPort}:
            yield name
        for each in inner:
            if isinstance(each, type) and is_dataclass(each):
                yield from _typed(each, f"{name}.")


def test_devices_and_threads_of_a_run_from_elsewhere_are_left_out(tmp_path, caplog):
    changes = {
        "logger": {"video": {"backend": "egl"}},
        "simulator": {
            "config": {
                "sim": {"physx": {"device": "cuda:7", "num_threads": 512}, "fps": 1000},
                "mujoco": {"num_threads": 512, "iterations": 7},
                "isaacsim": {"device": "cuda:7"},
            }
        },
    }
    theirs, ours = (keys.overlay(compose.to_mapping(Config()), c) for c in (changes, {}))
    found = origin.without_personal(theirs, tmp_path)
    ours["simulator"]["config"]["sim"]["fps"] = 1000
    ours["simulator"]["config"]["mujoco"]["iterations"] = 7
    assert found == ours
    assert caplog.text.count("cuda:7") == 2 and caplog.text.count("512") == 2 and "egl" in caplog.text


@pytest.mark.parametrize("inode", ["{", "[]", '{"inode": 1}', "[" * 100_000])
def test_a_run_cannot_claim_to_be_from_here(cfg, inode):
    run = opened(personal(cfg)).folder
    (run.path / ".origin").write_text(inode)
    assert saved_config(run.path).config["viewer"]["host"] == "127.0.0.1"


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl", "videos", "checkpoints/7/meta.json", "eval"])
def test_nothing_is_written_through_a_link_of_a_run_from_elsewhere(cfg, tmp_path, name):
    run = opened(cfg).folder
    save(run, cfg, 7)
    got = tmp_path / "got"
    shutil.copytree(run.path, got)
    mine = tmp_path / "mine"
    mine.write_text("precious")
    (got / name).unlink(missing_ok=True)
    (got / name).symlink_to(mine)
    for attempt in (lambda: opened(resuming(cfg, got)), lambda: saved_config(got)):
        with pytest.raises(ConfigError, match=f"{name} .*link"):
            attempt()
    assert mine.read_text() == "precious"


def test_links_within_a_run_and_links_of_ones_own_are_kept(cfg, tmp_path):
    run = opened(cfg).folder
    save(run, cfg, 7)
    (run.path / "videos").symlink_to(tmp_path)
    assert opened(resuming(cfg, run.path)).folder == run
    (run.path / "videos").unlink()
    (run.path / "newest").symlink_to("checkpoints/7")
    shutil.copytree(run.path, tmp_path / "got", symlinks=True)
    assert saved_config(tmp_path / "got").config


def test_the_lock_is_not_taken_through_a_link(cfg, tmp_path):
    run = opened(cfg).folder
    save(run, cfg, 7)
    (tmp_path / "mine").write_text("precious")
    (run.path / lock.FILE).symlink_to(tmp_path / "mine")
    with pytest.raises(ConfigError, match="cannot write"):
        opened(resuming(cfg, run.path))
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.parametrize("kind", ["pipe", "device", "large"])
def test_the_mark_of_origin_is_a_small_file(cfg, tmp_path, kind):
    run = opened(cfg).folder.path
    (run / origin.FILE).unlink()
    if kind == "pipe":
        os.mkfifo(run / origin.FILE)
    elif kind == "device":
        (run / origin.FILE).symlink_to("/dev/zero")
    else:
        (run / origin.FILE).write_text(5000 * "[")
    assert not origin.is_here(run)
