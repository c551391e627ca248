"""One NaN or infinity at a time, in each term, parameter and array of the presets: it is caught and named.

The loop trains two robots of the real preset on MuJoCo. Its programs are compiled once: which term is spoilt is a
number that they ask for while they run.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import SimState
from holosoma_jax import experiment
from holosoma_jax.config import compose
from holosoma_jax.config.schema import Config
from holosoma_jax.envs import observe
from holosoma_jax.envs.terms import registry
from holosoma_jax.envs.terms.term import lifted
from holosoma_jax.rollout.nan_guard import NonFiniteError
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.training import loop, run_state
from holosoma_jax.training.run_state import RunState

pytestmark = pytest.mark.slow

PRESETS = ("g1-29dof", "g1-29dof-wbt")
ENV = 1
"""the environment that is spoilt, of two"""
BAD = (np.nan, np.inf, -np.inf)
SMALL = (
    "simulator:mujoco",
    "logger:console",
    "--training.num-envs=2",
    "--algo.config.num-steps-per-env=3",
    "--algo.config.num-mini-batches=1",
    "--algo.config.num-learning-epochs=1",
    "--algo.config.num-learning-iterations=1",
    "--algo.config.actor-hidden=[8]",
    "--algo.config.critic-hidden=[8]",
)


@cache
def config(preset: str) -> Config:
    plane = ["terrain:terrain-locomotion-plane"] if "wbt" not in preset else []
    return compose.load([f"exp:{preset}", *SMALL, *plane])


class Spoiler:
    """Which term returns what instead of its value, in environment `ENV`."""

    def __init__(self) -> None:
        self.count = 0
        self.names: list[str] = []
        self.which, self.value = -1, 0.0

    def wrap(self, name: str, made: Any) -> Any:
        record = lifted(made)
        number = len(self.names)
        self.names.append(name)

        def apply(*args: Any) -> Any:
            value, state = record.apply(*args)
            shapes = (jax.ShapeDtypeStruct((), jnp.int32), jax.ShapeDtypeStruct((), jnp.float32))
            which, bad = jax.experimental.io_callback(self.asked, shapes)
            spoilt = value.at[ENV].set(bad) if len(value) > ENV else value
            return jnp.where(which == number, spoilt, value), state

        return dataclasses.replace(record, apply=apply)

    def asked(self) -> tuple[np.ndarray, np.ndarray]:
        return np.int32(self.which), np.float32(self.value)


class Run:
    """A run of a preset that can be begun again and again with the programs that it has."""

    def __init__(self, preset: str, folder: Path):
        self.spoiler, self.folder = Spoiler(), folder
        make, group, cfg, groups = registry.make, observe._group, config(preset), list[str]()

        def spoilt(kind: str, name: str, func: str, params: Any) -> Any:
            made = make(kind, name, func, params)
            if kind not in ("observations", "rewards"):
                return made
            return self.spoiler.wrap(f"{groups[-1] if kind == 'observations' else kind}:{name}", made)

        def noted(name: str, *rest: Any) -> Any:
            groups.append(name)
            return group(name, *rest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(registry, "make", spoilt)
            patch.setattr(observe, "_group", noted)
            self.setup = experiment.build(cfg)
        self.driver, state = run_state.create_or_restore(self.setup)
        self.learner, (self.carry, physics, sim, self.history) = self.copy(
            (state.learner, state.runner.rollout)
        )
        self.saved = self.setup.bridge.get_state(state.runner.rollout.physics)
        self.pending = self.copy(state.runner.pending)
        self.sim = self.copy(sim)
        del physics
        self.broken: str | None = None
        self.step = self.setup.bridge.step
        self.setup.bridge.step = self.stepped

    @staticmethod
    def copy(tree: Any) -> Any:
        return jax.tree.map(lambda x: jnp.copy(x) if isinstance(x, jax.Array) else x, tree)

    def stepped(self, *args: Any) -> Any:
        physics, sim = self.step(*args)
        if self.broken is not None:
            rows = np.array(getattr(sim, self.broken))
            rows[ENV].reshape(-1)[:1] = self.spoiler.value
            sim = sim._replace(**{self.broken: jnp.asarray(rows)})
        return physics, sim

    def train(
        self,
        *,
        term: str | None = None,
        value: float = np.nan,
        field: str | None = None,
        learner: Any = None,
        env: Any = None,
    ) -> str | None:
        """One iteration with that spoilt: why it ended, None if it did not."""
        bridge = self.setup.bridge
        physics = bridge.set_state(bridge.init(), self.saved)
        carry = self.copy(self.carry)
        rollout = run_state.RolloutState(
            carry if env is None else carry.replace(env=env),
            physics,
            self.copy(self.sim),
            self.copy(self.history),
        )
        runner = run_state.RunnerState(
            self.copy(self.learner) if learner is None else learner, None, self.copy(self.pending), rollout
        )
        self.spoiler.which = -1 if term is None else self.spoiler.names.index(term)
        self.spoiler.value, self.broken = value, field
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(run_state, "save", lambda *_: None)
                result = loop.train(self.setup, self.driver, RunState(runner, 0, 0.0), RunDir(self.folder))
        except NonFiniteError as error:
            return str(error)
        finally:
            self.spoiler.which, self.broken = -1, None
        assert jax.tree.all(
            jax.tree.map(lambda x: bool(jnp.isfinite(x).all()), floats(self.learned(result.state.learner)))
        )
        return None

    def learned(self, learner: Any) -> Any:
        return self.setup.learner.learned(learner)


def floats(tree: Any) -> Any:
    return [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]


@pytest.fixture(scope="module", params=PRESETS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    logging.getLogger("holosoma_jax").setLevel(logging.WARNING)
    made = Run(request.param, tmp_path_factory.mktemp("run"))
    yield made
    made.setup.bridge.close()


def test_nothing_spoilt(run: Run):
    assert run.train() is None and not (run.folder / "nonfinite").exists()


def test_each_observation(run: Run):
    names = [name for name in run.spoiler.names if not name.startswith("rewards:")]
    assert len(names) == len(run.setup.env.spec.layout)
    for i, name in enumerate(names):
        group, term = name.split(":")
        for value in (BAD[0], BAD[1 + i % 2]):
            said = run.train(term=name, value=value)
            assert said is not None, (name, value)
            assert f"observation '{term}' of {group} (environment {ENV})" in said, (name, value, said)


def test_each_reward(run: Run):
    names = [name for name in run.spoiler.names if name.startswith("rewards:")]
    assert [name.split(":")[1] for name in names] == list(run.setup.env.spec.reward_names)
    for i, name in enumerate(names):
        for value in (BAD[0], BAD[1 + i % 2]):
            said = run.train(term=name, value=value)
            assert said is not None, (name, value)
            assert f"reward '{name.split(':')[1]}' (environment {ENV})" in said, (name, value, said)


def test_each_array_of_the_simulator(run: Run, messages: list[str]):
    for i, field in enumerate(SimState._fields):
        for value in (BAD[i % 3],):
            del messages[:]
            assert run.train(field=field, value=value) is None, field
            said = [line for line in messages if "non-finite" in line]
            assert said and f"(environments {ENV}; {field})" in said[0], (field, messages)


def test_each_parameter(run: Run):
    learner = run.learner
    leaves, tree = jax.tree.flatten(run.learned(learner))
    paths = [
        jax.tree_util.keystr(p, simple=True, separator="/")
        for p, _ in jax.tree_util.tree_leaves_with_path(run.learned(learner))
    ]
    checked = 0
    for i, (path, leaf) in enumerate(zip(paths, leaves, strict=True)):
        if not jnp.issubdtype(leaf.dtype, jnp.floating) or not leaf.size:
            continue
        checked += 1
        for value in BAD[:2]:
            bad = jnp.asarray(leaf).reshape(-1).at[0].set(value).reshape(leaf.shape)
            spoilt = jax.tree.unflatten(tree, [jnp.copy(x) if j != i else bad for j, x in enumerate(leaves)])
            said = run.train(learner=replace(spoilt, hyper=run.copy(learner.hyper)))
            if said is None:  # all is finite again: the KL rule put the rate back between its bounds
                assert path.endswith("learning_rate") and value == np.inf, (path, value)
            elif path not in said:  # an update has spread it, and the message names the first few only
                with np.load(run.folder / "nonfinite" / "learner-1.npz") as report:
                    assert path in report["nonfinite_parameters"], (path, value, said)
    assert checked > 20


def test_each_state_of_a_term(run: Run):
    env = run.carry.env
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
        said = run.train(env=run.copy(env).replace(terms=terms))
        if said is not None:  # otherwise it was drawn anew before anything saw it, and all is finite
            assert f"'{name}'" in said, (kind, name, said)
            named += 1
    assert named
