"""How long a preset trains until its robot walks: samples, processor seconds, wall time.

    python -m benchmarks.time_to_walk --preset g1-29dof-fast-sac-cpu --seeds 1 2 3
    python -m benchmarks.time_to_walk --seeds 1 --limit 500000 --algo.config.num-updates 8

It walks when, of 64 robots under the commands of the training, without noise, pushes, delay or randomisation, at least
98 % survive an episode, with a mean velocity error of at most 0.20 m/s and 0.25 rad/s: what ``eval`` reports of a
checkpoint. The training loop is the project's own; every `--every` samples it saves, and the learner is evaluated. The
time of evaluations does not count, that of saving does. Arguments that are not flags of this benchmark are overrides of
the preset.

Processor seconds are of all threads of this process. `startup_s` is what passes before the first control step, mostly
compiling. It is not part of the other times.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from signal import SIGTERM
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.machine import describe, report
from holosoma_jax import envs, experiment, runtime
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.config.schema.evaluation import EvalArgs
from holosoma_jax.evaluation import commands, evaluate, perturbations
from holosoma_jax.policy.policies import Policy
from holosoma_jax.rollout.state import StepInfo
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.signals import Stop
from holosoma_jax.training import loop, run_state
from holosoma_jax.training.callbacks import Callback

PRESET = "g1-29dof-fast-sac-cpu"
ENVS = 64
SURVIVAL, LINEAR, YAW = 0.98, 0.20, 0.25
"""share, m/s, rad/s"""


class Look(NamedTuple):
    """One evaluation, and what had been spent before it."""

    samples: int
    processor_s: float
    wall_s: float
    survival: float
    lin_vel_error: float
    yaw_rate_error: float

    @property
    def walks(self) -> bool:
        """Whether the goal is reached."""
        return self.survival >= SURVIVAL and self.lin_vel_error <= LINEAR and self.yaw_rate_error <= YAW


def now() -> np.ndarray:
    """[2] s: of all threads of this process on processors, and on the wall."""
    return np.array([time.process_time(), time.perf_counter()])


class Watch(Callback):
    """Evaluates the learner at every checkpoint, counts what the training alone takes, and ends it at the goal."""

    def __init__(self, setup: experiment.Setup, judge: experiment.Setup, stop: Stop):
        """Watch the training of `setup` by means of the environments of `judge`."""
        self._setup, self._judge, self._stop = setup, judge, stop
        self._began, self._elsewhere = now(), np.zeros(2)
        self._started = False
        self.startup_s = math.nan
        self.samples = 0
        self.looks: list[Look] = []

    def on_step(self, info: StepInfo) -> None:
        """The clocks start after the first control step, which waits for the compiler."""
        if not self._started:
            self._started = True
            self.startup_s = float(now()[1] - self._began[1])
            self._began = now()

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """As a sink of the log: how far the training is."""
        self.samples = int(scalars["Train/num_samples"])

    def close(self) -> None:
        """As a sink of the log: nothing is open."""

    def on_checkpoint(self, iteration: int, learner: Any) -> None:
        """Evaluate; ask for the end where the robot walks, and ignore the checkpoint that the end writes."""
        if self._stop.requested:
            return
        before = now()
        processor, wall = map(float, before - self._began - self._elsewhere)
        look = Look(self.samples, processor, wall, *evaluated(self._judge, self._setup, learner))
        self.looks.append(look)
        print(
            f"{look.samples:>10} samples {look.processor_s:7.0f} processor s {look.wall_s:7.0f} s: "
            f"{look.survival:.1%} survive, {look.lin_vel_error:.3f} m/s, {look.yaw_rate_error:.3f} rad/s",
            flush=True,
        )
        if look.walks:
            self._stop.signal = SIGTERM
        self._elsewhere = self._elsewhere + now() - before


def evaluated(judge: experiment.Setup, setup: experiment.Setup, learner: Any) -> tuple[float, float, float]:
    """Survival, velocity error in m/s and yaw rate error in rad/s of first episodes."""
    policy = Policy("learner", jax.jit(setup.learner.policy_fn(learner)))
    command, _ = commands.choose(judge, EvalArgs())  # as `eval` does, so that it finds the same numbers
    if command is None:
        raise ConfigError(
            f"time_to_walk: task '{judge.cfg.task}' takes no velocity commands; choose a preset that does."
        )
    key = jax.random.key(judge.cfg.training.seed)
    scores = evaluate.run(judge, policy, command, judge.env.spec.max_episode_steps, key)
    linear, yaw = scores.first["lin_vel_error"], scores.first["yaw_rate_error"]
    assert linear is not None and yaw is not None, "every robot lives through a first control step"
    return scores.survival_rate, linear, yaw


def samples_per_iteration(cfg: Config) -> int:
    """Environment steps of one iteration."""
    return cfg.training.num_envs * getattr(cfg.algo.config, "num_steps_per_env", 1)


def configured(preset: str, seed: int, every: int, limit: int, overrides: Sequence[str]) -> Config:
    """The preset, saving every `every` samples and ending after `limit`."""
    cfg = compose.load([f"exp:{preset}", *overrides, f"--training.seed={seed}"])
    each = samples_per_iteration(cfg)
    algo = replace(
        cfg.algo.config,
        save_interval=max(1, round(every / each)),
        num_learning_iterations=max(1, limit // each),
    )
    training = replace(cfg.training, keep_checkpoints=1, keep_every=None)
    return replace(cfg, algo=replace(cfg.algo, config=algo), training=training)


def time_to_walk(cfg: Config) -> dict[str, Any]:
    """One training, to the goal or to its last iteration."""
    clean = replace(cfg, training=replace(cfg.training, num_envs=ENVS))
    clean = envs.task_of(cfg).perturb(clean, perturbations.MODES["clean"])
    setup, judge, stop = experiment.build(cfg), experiment.build(clean, evaluation=True), Stop()
    watch = Watch(setup, judge, stop)
    try:
        with tempfile.TemporaryDirectory() as folder:
            driver, state = run_state.create_or_restore(setup)
            loop.train(
                setup, driver, state, RunDir(Path(folder)), sinks=[watch], callbacks=[watch], stop=stop
            )
    finally:
        setup.bridge.close()
        judge.bridge.close()
    last = watch.looks[-1]
    return {
        "seed": cfg.training.seed,
        "walks": last.walks,
        "startup_s": round(watch.startup_s, 1),
        **{name: getattr(last, name) for name in ("samples", "processor_s", "wall_s")},
        "looks": [look._asdict() for look in watch.looks],
    }


def summary(runs: Sequence[Mapping[str, Any]], limit: int) -> dict[str, Any]:
    """Medians over the seeds that reached the goal, and the range; a sentence where not all did."""
    walked = [run for run in runs if run["walks"]]
    found: dict[str, Any] = {"walked": f"{len(walked)} of {len(runs)} seeds"}
    if len(walked) < len(runs):
        seeds = ", ".join(str(run["seed"]) for run in runs if not run["walks"])
        found["missed"] = f"not within {limit} samples: seed {seeds}"
    for name in ("samples", "processor_s", "wall_s") if walked else ():
        values = [float(run[name]) for run in walked]
        found[name] = {"median": statistics.median(values), "range": [min(values), max(values)]}
    return found


def main() -> int:
    """Train every seed; 1 if one did not reach the goal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--preset", default=PRESET)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--every", type=int, default=64_000, help="samples between two evaluations")
    parser.add_argument(
        "--limit", type=int, default=3_000_000, help="samples after which a training ends anyhow"
    )
    parser.add_argument("--out", help="a JSON file")
    args, overrides = parser.parse_known_args()
    runtime.prepare()
    return runtime.command(lambda: run(args, overrides), "interrupted")


def run(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Train every seed that `args` name."""
    runs: list[dict[str, Any]] = []
    result: dict[str, Any] = {}
    for seed in args.seeds:
        print(f"{args.preset}, seed {seed}", flush=True)
        runs.append(time_to_walk(configured(args.preset, seed, args.every, args.limit, overrides)))
        result = {
            **describe(),
            "preset": args.preset,
            "overrides": overrides,
            "goal": {"envs": ENVS, "survival": SURVIVAL, "lin_vel_error": LINEAR, "yaw_rate_error": YAW},
            "every": args.every,
            "limit": args.limit,
            "summary": summary(runs, args.limit),
            "runs": runs,
        }
        if args.out:  # after each seed, so that hours are not lost
            Path(args.out).write_text(json.dumps(_plain(result), indent=1) + "\n")
    report(_plain(result), args.out)
    return int(not all(run["walks"] for run in runs))


def _plain(value: Any) -> Any:
    """Ready for JSON: NaN becomes null, numbers keep four decimals."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value


if __name__ == "__main__":
    raise SystemExit(main())
