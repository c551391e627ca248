"""Training, resuming, evaluating and exporting with the files of docs/extending.md, from the command line."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from holosoma_jax.policy import onnx_policy
from tests.support import child

SMALL = {
    "training.num-envs": 4,
    "training.export-onnx": False,
    "logger.video.enabled": False,
    "algo.config.num-steps-per-env": 8,
    "algo.config.num-learning-epochs": 1,
    "algo.config.num-mini-batches": 2,
    "algo.config.actor-hidden": "[16]",
    "algo.config.critic-hidden": "[16]",
    "algo.config.save-interval": 2,
    "simulator.config.sim.max-episode-length-s": 0.2,
}
TERRAIN = {
    "terrain.terrain-term.num-rows": 3,
    "terrain.terrain-term.num-cols": 2,
    "terrain.terrain-term.border-size": 2,
}


def flags(**more: Any) -> list[str]:
    """The arguments of a small run, with further keys ('_' for '.')."""
    return [f"--{key}={value}" for key, value in (SMALL | more).items()]


def call(outside: Path, name: str, *argv: object, importable: bool = True) -> str:
    """What a command of ours prints, started where the modules of `outside` can be imported (or cannot)."""
    env = child.quickly(str(outside / "cache"))
    env["PYTHONPATH"] = os.pathsep.join([*([str(outside)] if importable else []), str(child.ROOT)])
    return child.call(name, *argv, environ=env)


def train(outside: Path, output: Path, preset: str, iterations: int, **more: Any) -> Path:
    """The folder of a new run."""
    more |= {"training.output-dir": output, "algo.config.num-learning-iterations": iterations}
    call(outside, "train", "--config", outside / preset, *flags(**more))
    (run,) = (path for path in output.glob("*/*") if (path / "config.yaml").is_file())
    return run


def arrays(checkpoint: Path) -> dict[str, Any]:
    """Every array of a checkpoint, by item."""
    items = sorted(path.name for path in checkpoint.iterdir() if path.is_dir())
    with ocp.PyTreeCheckpointer() as orbax, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that shardings are those of the file
        restored = {name: orbax.restore(checkpoint.absolute() / name) for name in items}
    return jax.tree.map(_numpy, restored)


def _numpy(x: Any) -> np.ndarray:
    is_key = isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)


@pytest.mark.slow
def test_terms_with_memory_are_checkpointed_and_resumed_bit_for_bit(outside: Path, tmp_path: Path) -> None:
    terms = {
        "randomization.setup-terms.shoves.params.every": 0.04,
        "termination.terms.stuck.params.seconds": 0.12,
    }
    whole = train(outside, tmp_path / "whole", "walk.yaml", 4, **TERRAIN, **terms)
    halves = child.ended_at(2, whole, tmp_path / "halves")
    trusted = "feet_air_time,joint_acceleration,stuck,terrain_level,heading,shoves,ripples"
    call(outside, "train", "--training.checkpoint", halves, "--allow-code", trusted)
    there, here = (arrays(run / "checkpoints" / "4") for run in (whole, halves))
    jax.tree.map(np.testing.assert_array_equal, there, here)
    terms = _find(there, "terms")
    assert set(terms["rewards"]) == {"feet_air_time", "dof_acc"}
    assert np.asarray(terms["rewards"]["feet_air_time"]).any()
    assert "terrain_level" in terms["curriculum"] and "stuck" in terms["terminations"]
    assert len(np.unique(terms["randomization"]["shoves"])) > 1  # some were pushed, some were not
    assert set(terms["commands"]["locomotion_command"]) == {"velocity", "heading"}
    rows = [json.loads(line) for line in (halves / "metrics.jsonl").read_text().splitlines()]
    assert {"Env/terrain_level", "Env/shove", "Episode/rew_feet_air_time", "Episode/rew_dof_acc"} <= rows[
        -1
    ].keys()


@pytest.mark.slow
def test_a_task_of_ones_own_from_training_to_export(outside: Path, tmp_path: Path) -> None:
    whole = train(outside, tmp_path / "whole", "stand.yaml", 4)
    halves = child.ended_at(2, whole, tmp_path / "halves")
    call(outside, "train", "--training.checkpoint", halves, "--allow-code", "stand_still")
    there, here = (arrays(run / "checkpoints" / "4") for run in (whole, halves))
    jax.tree.map(np.testing.assert_array_equal, there, here)
    asked = ["--training.num-envs=2", "--training.max-eval-steps=5", "--pictures=False"]
    shown = call(outside, "eval", "--checkpoint", halves, "--allow-code", "stand_still", *asked)
    assert "horizontal speed of the base" in shown
    (report,) = (halves / "eval").glob("*.json")
    assert json.loads(report.read_text())["units"] == {"speed": "m/s"}
    call(outside, "export", "--checkpoint", halves, "--allow-code", "stand_still")
    policy = onnx_policy.load(next(halves.glob("exported/*.onnx")))
    assert policy.metadata["command_ranges"] is None
    assert policy(np.zeros((1, policy.obs_dim), np.float32)).shape == (1, 29)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # five commands
def test_a_file_of_ones_own_from_training_to_export(outside: Path, tmp_path: Path) -> None:
    """Nobody could import it by its name. Both groups keep a history that begins with its first frame."""
    own = ["--import-file", outside / "calm.py"]
    histories = [
        f"--observation.groups.{group}.{setting}"
        for group in ("actor_obs", "critic_obs")
        for setting in ("history-length=2", "history-fill=first")
    ]

    settings = {"training.output-dir": tmp_path / "whole", "algo.config.num-learning-iterations": 4}
    call(outside, "train", "exp:calm:walk", *own, *flags(**settings), *histories, importable=False)
    (whole,) = (path for path in (tmp_path / "whole").glob("*/*") if (path / "config.yaml").is_file())
    halves = child.ended_at(2, whole, tmp_path / "halves")
    shown = call(outside, "train", "--training.checkpoint", halves, *own, importable=False)
    assert f"--import-file {outside / 'calm.py'}" in shown  # what to type next
    there, here = (arrays(run / "checkpoints" / "4") for run in (whole, halves))
    jax.tree.map(np.testing.assert_array_equal, there, here)
    assert set(_find(there, "history")) == {
        *("actor_obs", "critic_obs"),
        *("begun/actor_obs", "begun/critic_obs"),
    }
    asked = ["--training.num-envs=2", "--training.max-eval-steps=5", "--pictures=False"]
    call(outside, "eval", "--checkpoint", halves, *own, *asked, importable=False)
    (report,) = (halves / "eval").glob("*.json")
    call(outside, "export", "--checkpoint", halves, *own, importable=False)
    exported = next(halves.glob("exported/*.onnx"))
    layout = onnx_policy.load(exported).metadata["observation_layout"]
    assert {(term["history_length"], term["history_fill"]) for term in layout} == {(2, "first")}
    # The file brings its config along, so it is scored in the same environment.
    scores = json.loads(report.read_text())["scores"]
    call(outside, "eval", "--checkpoint", exported, *own, *asked, "--output", tmp_path, importable=False)
    (again,) = tmp_path.glob("*.json")
    others = jax.tree.leaves(json.loads(again.read_text())["scores"])
    np.testing.assert_allclose(others, jax.tree.leaves(scores), rtol=0.01, atol=0.01)


def _find(tree: Any, name: str) -> Any:
    """The first mapping of that name in a tree of mappings."""
    if name in tree:
        return tree[name]
    inner = (_find(value, name) for value in tree.values() if isinstance(value, dict))
    return next((found for found in inner if found is not None), None)
