"""`meta.json` of a checkpoint, also with a digest that somebody computed again, and what is done with it."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holosoma_jax.config import compose
from holosoma_jax.runs import checkpoint, meta, run_config
from tests.support.fuzzing import VALUES, damaged, fuzz, mutated, read_or_refused

pytestmark = pytest.mark.slow

CONFIG = compose.to_mapping(compose.load(["exp:g1-29dof"]))
META = meta.Meta(
    step=7,
    robot="g1",
    simulator="mujoco",
    num_envs=4,
    seed=0,
    elapsed_s=1.5,
    config=CONFIG,
    curriculum={"penalty_curriculum": 0.5},
    robot_record={"kp": [1.0, 2.0], "name": "g1"},
    arrays={"learner": {"actor/kernel": ((3, 4), "float32")}},
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with two files and its ``meta.json``."""
    path = tmp_path_factory.mktemp("run") / "checkpoints" / "7"
    (path / "learner").mkdir(parents=True)
    (path / "learner" / "array").write_bytes(bytes(range(40)))
    (path / "other").write_text("text")
    meta.seal(path, META)
    return path


def record() -> dict[str, Any]:
    """What ``meta.json`` of `saved` holds beside its digest."""
    files = {
        "learner/array": hashlib.sha256(bytes(range(40))).hexdigest(),
        "other": hashlib.sha256(b"text").hexdigest(),
    }
    return json.loads(json.dumps(meta.asdict(meta.replace(META, files=files))))


RECORD = record()
SMALL = {**RECORD, "config": {"exp": "g1-29dof", "training": {"num_envs": 4, "name": "x"}}}


def sealed(tree: Any) -> bytes:
    """`tree` with its right digest, as whoever edits on purpose writes it."""
    if not isinstance(tree, dict):
        return json.dumps(tree).encode("utf-8", "surrogatepass")
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return json.dumps({"digest": hashlib.sha256(text.encode()).hexdigest(), **tree}).encode()


def valid(path: Path, found: meta.Meta | None) -> None:
    """Of the types that are declared, and what follows from it is accepted or one line, too."""
    if found is None:
        return
    assert found.step >= 0 and found.num_envs > 0 and math.isfinite(found.elapsed_s)
    assert all(isinstance(value, float) and math.isfinite(value) for value in found.curriculum.values())
    read_or_refused(
        lambda: checkpoint.require(path, found, robot="g1", learner="ppo", simulator="mujoco", num_envs=4)
    )
    read_or_refused(lambda: compose.load(["--training.seed=1"], base=run_config.saved_config(path)))


def test_what_is_saved_is_accepted(saved: Path) -> None:
    (saved / meta.FILE).write_bytes(sealed(RECORD))
    assert read_or_refused(lambda: meta.verify(saved)) is not None
    valid(saved, meta.read_meta(saved))


@fuzz(900)
@given(tree=st.one_of(mutated(SMALL), mutated(SMALL), mutated(RECORD), VALUES))
def test_metadata_with_its_digest(tree: Any, saved: Path) -> None:
    (saved / meta.FILE).write_bytes(sealed(tree))
    valid(saved, read_or_refused(lambda: meta.verify(saved)))


WHOLE = sealed(SMALL)


@fuzz(900)
@given(data=st.one_of(damaged(WHOLE), damaged(WHOLE, reach=300), st.binary(max_size=50)))
def test_bytes(data: bytes, saved: Path) -> None:
    (saved / meta.FILE).write_bytes(data)
    found = read_or_refused(lambda: meta.verify(saved))
    valid(saved, found)
    if found is not None:  # white space alone has changed, or a number is written otherwise
        assert json.loads(data) == json.loads(WHOLE)


@fuzz(200)
@given(
    names=st.lists(
        st.one_of(VALUES.map(str), st.sampled_from(["../x", "learner", "learner/array", ".", ""])), max_size=3
    )
)
def test_names_of_files(names: list[str], saved: Path) -> None:
    tree = {**RECORD, "files": {name: "0" * 64 for name in names}}
    (saved / meta.FILE).write_bytes(sealed(tree))
    assert read_or_refused(lambda: meta.verify(saved)) is None
