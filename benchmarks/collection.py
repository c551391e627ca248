"""Collecting rollouts against raw physics: G1, `--num-envs` environments, MuJoCo on all cores.

In one run, in turns: (a) a bare `mujoco.batch.Batch.step` of the same model, from the very states and
with the very controls of a recorded rollout, and nothing else; (b) whole rollouts: policy, environment
functions, bridge, resets. The states matter: a fallen robot has more contacts than a standing one.

    python -m benchmarks.collection --num-envs 1024 --out collection.json
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from mujoco.batch import Batch

from benchmarks.machine import describe, interleave, report, times_as_quick
from bridges.mujoco import MujocoBridge
from holosoma_jax import experiment
from holosoma_jax.config import compose
from holosoma_jax.config.schema import Config
from holosoma_jax.experiment import Setup
from holosoma_jax.rollout import on_policy, seeding
from holosoma_jax.rollout.stepped import Stepped


def measure(num_envs: int, horizon: int, rounds: int, preset: str, overrides: list[str]) -> dict[str, object]:
    """Control steps of all environments per second, raw and collected, and their ratio."""
    cfg = compose.load([f"exp:{preset}", f"--training.num-envs={num_envs}", *overrides])
    parts = experiment.build(cfg)
    keys, algo = seeding.keys(cfg.training.seed), replace(cfg.algo.config, num_steps_per_env=horizon)
    collecting = replace(parts.learner, update=lambda state, batch, key, axis_name: (state, {}))
    stepped = Stepped(parts.env, parts.bridge, on_policy.rollout_fns(collecting, algo))
    learner = parts.learner.init(seeding.stream(keys.own, "learner"), parts.learner_spec, algo)
    state = stepped.start(learner, keys)
    physics_share = []

    def collect() -> float:
        nonlocal state
        began = time.perf_counter()
        state, stats = stepped.iterate(state, keys, 0)
        jax.block_until_ready(state.pending)
        seconds = time.perf_counter() - began
        physics_share.append(stats.physics_s / seconds)
        return seconds

    for _ in range(6):  # compile, and let episodes fall out of step: at first all robots fall together
        collect()
    recorder = Recorder(parts.bridge)
    stepped.bridge = recorder
    collect()
    stepped.bridge = parts.bridge
    physics_share.clear()
    raw = RawPhysics(cfg, parts, recorder.steps)
    timings = interleave({"raw": raw.run, "collection": collect}, rounds)
    steps = num_envs * horizon
    rates = {name: steps / np.median(seconds) for name, seconds in timings.items()}
    return {
        "num_envs": num_envs,
        "horizon": horizon,
        "raw_env_steps_per_s": rates["raw"],
        "collected_env_steps_per_s": rates["collection"],
        "ratio": rates["collection"] / rates["raw"],
        "share_of_time_in_bridge": float(np.median(physics_share)),
        "seconds": timings,
        "times_as_quick": {"raw physics": times_as_quick(timings["collection"], timings["raw"])},
    }


class Recorder:
    """A bridge that notes, before every step, the physics state and the targets it is given."""

    def __init__(self, bridge: MujocoBridge) -> None:
        self._bridge, self.spec = bridge, bridge.spec
        self.steps: list[tuple[np.ndarray, np.ndarray]] = []

    def step(self, physics: Any, targets: Any, torque_offset: Any = None) -> Any:
        """As the bridge, noting what goes in."""
        state = self._bridge.get_state(physics)["integration"]
        self.steps.append((state, np.array(targets, np.float64)))
        return self._bridge.step(physics, targets, torque_offset)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the bridge's own."""
        return getattr(self._bridge, name)


class RawPhysics:
    """The same model in a bare `mujoco.batch.Batch`: exactly the steps of a recorded rollout."""

    def __init__(self, cfg: Config, parts: Setup, steps: list[tuple[np.ndarray, np.ndarray]]) -> None:
        threads = cfg.simulator.config.mujoco.num_threads
        self._batch = Batch(parts.bridge.model, parts.bridge.spec.num_envs, threads)
        self._decimation, self._steps = parts.bridge.spec.decimation, steps

    def run(self) -> float:
        """Seconds inside `Batch.step`; putting the states in place is not counted."""
        seconds = 0.0
        for state, ctrl in self._steps:
            self._batch.state[:] = state
            self._batch.ctrl[:] = ctrl
            began = time.perf_counter()
            self._batch.step(nstep=self._decimation)
            seconds += time.perf_counter() - began
        return seconds


def main() -> None:
    """Parse, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--preset", default="g1-29dof")
    parser.add_argument("--out")
    args, overrides = parser.parse_known_args()
    result = {"benchmark": "collection", **describe()}
    result |= measure(args.num_envs, args.horizon, args.rounds, args.preset, overrides)
    report(result, args.out)


if __name__ == "__main__":
    main()
