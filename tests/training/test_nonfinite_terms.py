"""One NaN or infinity at a time, in each term, parameter and array of the presets: it is caught and named.

The loop trains two robots of the real presets, with both learners and all drivers; MuJoCo is stepped from Python,
MuJoCo Warp inside one XLA program.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import OBJECT_STATE, SimState
from tests.support.nonfinite_runs import ENV, Run, copy

pytestmark = pytest.mark.slow

RUNS = (
    ("g1-29dof", "mujoco", "stepped"),
    ("g1-29dof-wbt", "mujoco", "stepped"),
    ("g1-29dof-fast-sac", "mujoco", "stepped"),
    ("g1-29dof-wbt-fast-sac", "mujoco", "stepped"),
    ("g1-29dof", "mujoco", "overlapped"),
    ("g1-29dof-fast-sac", "mujoco", "overlapped"),
    ("g1-29dof", "mjwarp", "fused"),
    ("g1-29dof-fast-sac", "mjwarp", "fused"),
)
BAD = (np.nan, np.inf, -np.inf)


def values(run: Run, i: int) -> tuple[float, ...]:
    """What the i-th term is replaced by: NaN and an infinity, of which runs that take long have one."""
    return (BAD[i % 3],) if run.is_slow else (BAD[0], BAD[1 + i % 2])


@pytest.fixture(scope="module", params=RUNS, ids="-".join)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    preset, simulator, driver = request.param
    if simulator == "mjwarp":
        pytest.importorskip("mujoco_warp")
    logging.getLogger("holosoma_jax").setLevel(logging.WARNING)
    made = Run(preset, simulator, driver, tmp_path_factory.mktemp("run"))
    yield made
    made.setup.bridge.close()


def test_nothing_spoilt(run: Run):
    assert run.train() is None and not (run.folder / "nonfinite").exists()


def test_each_observation(run: Run):
    names = [name for name in run.spoiler.names if not name.startswith("rewards:")]
    assert len(names) == len(run.setup.env.spec.layout)
    for i, name in enumerate(names):
        group, term = name.split(":")
        for value in values(run, i):
            said = run.train(term=name, value=value)
            assert said is not None, (name, value)
            assert f"observation '{term}' of {group} (environment {ENV})" in said, (name, value, said)


def test_each_reward(run: Run):
    names = [name for name in run.spoiler.names if name.startswith("rewards:")]
    assert [name.split(":")[1] for name in names] == list(run.setup.env.spec.reward_names)
    for i, name in enumerate(names):
        for value in values(run, i):
            said = run.train(term=name, value=value)
            assert said is not None, (name, value)
            assert f"reward '{name.split(':')[1]}' (environment {ENV})" in said, (name, value, said)


def test_each_array_of_the_simulator(run: Run, messages: list[str]):
    for i, field in enumerate(name for name in SimState._fields if name not in OBJECT_STATE):
        del messages[:]
        assert run.train(field=field, value=BAD[i % 3]) is None, field
        said = [line for line in messages if "non-finite" in line]
        assert said and f"(environments {ENV}; {field})" in said[0], (field, messages)


def test_each_parameter(run: Run):
    learned = run.learned(run.start.learner)
    leaves, tree = jax.tree.flatten(learned)
    paths = [
        jax.tree_util.keystr(p, simple=True, separator="/")
        for p, _ in jax.tree_util.tree_leaves_with_path(learned)
    ]
    checked = 0
    for i, (path, leaf) in enumerate(zip(paths, leaves, strict=True)):
        if not jnp.issubdtype(leaf.dtype, jnp.floating) or not leaf.size:
            continue
        checked += 1
        for value in BAD[:2] if not run.is_slow else BAD[i % 2 : i % 2 + 1]:
            bad = jnp.asarray(leaf).reshape(-1).at[0].set(value).reshape(leaf.shape)
            spoilt = jax.tree.unflatten(tree, [jnp.copy(x) if j != i else bad for j, x in enumerate(leaves)])
            said = run.train(learner=run.with_learned(spoilt))
            if said is None:  # all is finite again: the KL rule put the rate back, or an update reported anew
                rate = path.endswith("learning_rate") and value == np.inf
                assert rate or path.startswith("actor_metrics/"), (path, value)
            elif path.startswith("actor_metrics/"):  # what is logged of the last update of the actor
                assert "Loss/" in said, (path, value, said)
            elif path not in said:  # an update has spread it, and the message names the first few only
                with np.load(re.findall(r"\S+learner-\d+\.npz", said)[0]) as report:
                    assert path in report["nonfinite_parameters"], (path, value, said)
    assert checked > 20


def test_each_state_of_a_term(run: Run):
    env = run.start.carry.env
    leaves, tree = jax.tree.flatten(env.terms)
    paths = [p for p, _ in jax.tree_util.tree_leaves_with_path(env.terms)]
    named = 0
    for i, (path, leaf) in enumerate(zip(paths, leaves, strict=True)):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            continue
        kind, name = (str(getattr(p, "key", p)) for p in path[:2])
        row = (ENV,) if leaf.ndim and len(leaf) == 2 else (slice(None),) * leaf.ndim
        bad = leaf.at[row].set(jnp.nan) if leaf.ndim else jnp.full_like(leaf, jnp.nan)
        terms = jax.tree.unflatten(tree, [jnp.copy(x) if j != i else bad for j, x in enumerate(leaves)])
        said = run.train(env=copy(env).replace(terms=terms))
        if said is not None:  # otherwise it was drawn anew before anything saw it, and all is finite
            assert f"'{name}'" in said, (kind, name, said)
            named += 1
    assert named
