"""Runs of the presets in which one term, parameter or array at a time is NaN or infinite.

The programs of a run are compiled once: which term or array is spoilt is a number that they ask for while they run.
"""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

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

ENV = 1
"""the environment that is spoilt, of `ENVS`"""
ENVS = 2
SMALL = ("logger:console", f"--training.num-envs={ENVS}")
PPO = (
    "--algo.config.num-steps-per-env=3",
    "--algo.config.num-mini-batches=1",
    "--algo.config.num-learning-epochs=1",
    "--algo.config.actor-hidden=[8]",
    "--algo.config.critic-hidden=[8]",
)
FAST_SAC = (
    "--algo.config.num-learning-iterations=4",
    "--algo.config.logging-interval=4",
    "--algo.config.save-interval=4",
    "--algo.config.num-updates=2",
    "--algo.config.policy-frequency=2",
    "--algo.config.actor-hidden-dim=8",
    "--algo.config.critic-hidden-dim=8",
    "--algo.config.num-atoms=11",
    "--algo.config.batch-size=8",
    "--algo.config.buffer-size=4",
    "--algo.config.learning-starts=1",
)
PLANE = "terrain:terrain-locomotion-plane"


@cache
def config(preset: str, simulator: str, driver: str) -> Config:
    sizes = FAST_SAC if "fast-sac" in preset else PPO
    plane = [] if "wbt" in preset else [PLANE]
    runs = [f"exp:{preset}", f"simulator:{simulator}", f"--training.driver={driver}"]
    if sizes is PPO:  # overlapped learns from a rollout in the next iteration
        runs.append(f"--algo.config.num-learning-iterations={2 if driver == 'overlapped' else 1}")
    return compose.load([*runs, *SMALL, *sizes, *plane])


class Spoiler:
    """Which term returns what instead of its value, or which array of the simulator, in environment `ENV`."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.which, self.field, self.value = -1, -1, 0.0

    def wrap(self, name: str, made: Any) -> Any:
        record = lifted(made)
        number = len(self.names)
        self.names.append(name)

        def apply(*args: Any) -> Any:
            value, state = record.apply(*args)
            which, _, bad = self.ask()
            spoilt = value.at[ENV].set(bad) if len(value) > ENV else value
            return jnp.where(which == number, spoilt, value), state

        return dataclasses.replace(record, apply=apply)

    def simulated(self, sim: SimState) -> SimState:
        """`sim` after a step."""
        _, field, bad = self.ask()

        def spoilt(x: jax.Array) -> jax.Array:
            return x.at[(ENV, *(0,) * (x.ndim - 1))].set(bad)

        return SimState(
            *(None if x is None else jnp.where(field == i, spoilt(x), x) for i, x in enumerate(sim))
        )

    def ask(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        number = jax.ShapeDtypeStruct((), jnp.int32)
        shapes = (number, number, jax.ShapeDtypeStruct((), jnp.float32))
        return io_callback(self.asked, shapes)

    def asked(self) -> tuple[Any, Any, Any]:
        return np.int32(self.which), np.int32(self.field), np.float32(self.value)


class Start(NamedTuple):
    """What every run begins with."""

    learner: Any
    replay: Any
    pending: Any
    carry: Any
    sim: Any
    history: Any


class Run:
    """A run of a preset that can be begun again and again with the programs that it has."""

    def __init__(self, preset: str, simulator: str, driver: str, folder: Path):
        self.spoiler, self.folder = Spoiler(), folder
        self.is_slow = simulator == "mjwarp" or "fast-sac" in preset
        make, build, cfg, groups = (
            registry.make,
            observe.build,
            config(preset, simulator, driver),
            list[str](),
        )

        def spoilt(kind: str, name: str, func: str, params: Any) -> Any:
            made = make(kind, name, func, params)
            if kind not in ("observations", "rewards"):
                return made
            return self.spoiler.wrap(f"{groups[-1] if kind == 'observations' else kind}:{name}", made)

        def noted(given: Any, example: Any) -> Any:
            built = []
            for name, group in given.groups.items():
                groups.append(name)
                built += build(replace(given, groups={name: group}), example)
            return tuple(built)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(registry, "make", spoilt)
            patch.setattr(observe, "build", noted)
            self.setup = experiment.build(cfg)
        step, simulated = self.setup.bridge.step, jax.jit(self.spoiler.simulated)

        def stepped(*args: Any) -> Any:
            physics, sim = step(*args)
            return physics, simulated(sim)

        self.setup.bridge.step = stepped  # before a driver takes it into its program
        self.driver, state = run_state.create_or_restore(self.setup)
        learner, replay, pending, (carry, physics, sim, history) = state.runner
        self.saved = {name: np.array(x) for name, x in self.setup.bridge.get_state(physics).items()}
        self.start = copy(Start(learner, replay, pending, carry, sim, history))
        del physics

    def train(
        self,
        *,
        term: str | None = None,
        value: float = np.nan,
        field: str | None = None,
        learner: Any = None,
        env: Any = None,
    ) -> str | None:
        """The shortest run with that spoilt: why it ended, None if it did not."""
        bridge, start = self.setup.bridge, copy(self.start)
        physics = bridge.set_state(bridge.init(), self.saved)
        carry = start.carry if env is None else start.carry.replace(env=env)
        rollout = run_state.RolloutState(carry, physics, start.sim, start.history)
        runner = run_state.RunnerState(
            start.learner if learner is None else learner, start.replay, start.pending, rollout
        )
        self.spoiler.which = -1 if term is None else self.spoiler.names.index(term)
        self.spoiler.field = -1 if field is None else SimState._fields.index(field)
        self.spoiler.value = value
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(run_state, "save", lambda *_: None)
                result = loop.train(self.setup, self.driver, RunState(runner, 0, 0.0), RunDir(self.folder))
        except NonFiniteError as error:
            return str(error)
        finally:
            self.spoiler.which = self.spoiler.field = -1
        assert all(bool(jnp.isfinite(x).all()) for x in floats(self.learned(result.state.learner)))
        return None

    def learned(self, learner: Any) -> Any:
        return self.setup.learner.learned(learner)

    def with_learned(self, learned: Any) -> Any:
        """A learner with `learned` in place of what has been learnt."""
        return replace(learned, hyper=copy(self.start.learner.hyper))


def copy(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.copy(x) if isinstance(x, jax.Array) else x, tree)


def floats(tree: Any) -> list[jax.Array]:
    return [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
