"""A physics step of a robot that walks, and what makes it quicker or slower: MuJoCo, one thread.

A policy walks under the commands of `eval --commands sweep`; its states and targets are recorded, and every model
steps from them, in turns, one control step each. The peer is the same robot as MuJoCo steps it without being told more
than the MJCF says: contacts searched, matrices dense, passive forces looked for. The other models show what a part
costs, or what a setting that was tried would give. Processor seconds; beside them how far joint speeds are from the
peer's after the control step.

    python -m benchmarks.physics pretrained:g1-29dof [terrain:terrain-locomotion-mix] [--peer-robot FOLDER]

`--peer-robot` gives the peer another body of the same robot, such as one with other feet.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import jax
import mujoco
import numpy as np
from mujoco.batch import Batch

from benchmarks.collection import Recorder
from benchmarks.machine import describe, interleave, report, times_as_quick
from bridges.mujoco import MujocoBridge
from bridges.mujoco import model as mujoco_model
from holosoma_jax import envs, experiment, robots
from holosoma_jax.config import compose
from holosoma_jax.config.schema.evaluation import EvalArgs
from holosoma_jax.evaluation import commands, evaluate, perturbations, session
from holosoma_jax.policy import policies

PEER = "contacts searched, dense"
SETTLED = 0.6
"""s that pass before states are recorded"""


def record(
    args: argparse.Namespace, overrides: list[str]
) -> tuple[MujocoBridge, mujoco.MjModel, list[tuple[np.ndarray, np.ndarray]]]:
    """A walk of `args.num_envs` robots.

    Returns:
      The bridge, the model of the peer's robot without pairs, and physics state and targets before each of
      `args.steps` control steps.
    """
    source = policies.find(args.checkpoint, EvalArgs().policy)
    arguments = [f"--checkpoint={args.checkpoint}", f"--training.num-envs={args.num_envs}", *overrides]
    cfg, eval_args = compose.parse_or_exit(
        arguments, "benchmarks.physics", "", extra=EvalArgs, base=lambda _: session.saved_config(source)
    )
    cfg = envs.task_of(cfg).perturb(cfg, perturbations.from_mode(eval_args.mode))
    parts = experiment.build(cfg, evaluation=True, adapt=source.adapt)
    assert isinstance(parts.bridge, MujocoBridge)
    command, _ = commands.choose(parts, replace(eval_args, commands="sweep"))
    recorder = Recorder(parts.bridge)
    before = round(SETTLED / parts.env.spec.control_dt)
    watched = replace(parts, bridge=cast(Any, recorder))
    evaluate.run(watched, source.policy(parts), command, before + args.steps, jax.random.key(0))
    robot = parts.robot
    if args.peer_robot:
        robot = robots.configure(robots.load(args.peer_robot), cfg.robot)
    searched = mujoco_model.build(robot, parts.terrain.ground, cfg.simulator)
    return parts.bridge, searched, recorder.steps[-args.steps :]


def models(paired: mujoco.MjModel, searched: mujoco.MjModel) -> dict[str, mujoco.MjModel]:
    """Name -> model. The first is what the bridge steps, the second the peer."""
    disable, dense = mujoco.mjtDisableBit, mujoco.mjtJacobian.mjJAC_DENSE
    passive = int(disable.mjDSBL_SPRING | disable.mjDSBL_DAMPER)

    def changed(model: mujoco.MjModel, change: Callable[[mujoco.MjOption], None]) -> mujoco.MjModel:
        model = copy.copy(model)
        change(model.opt)
        return model

    def without(flag: mujoco.mjtDisableBit) -> mujoco.MjModel:
        return changed(paired, lambda opt: setattr(opt, "disableflags", opt.disableflags | int(flag)))

    def plain(opt: mujoco.MjOption) -> None:
        opt.jacobian, opt.disableflags = dense, opt.disableflags & ~passive

    def option(name: str, value: float) -> mujoco.MjModel:
        return changed(paired, lambda opt: setattr(opt, name, value))

    return {
        "ours": paired,
        PEER: changed(searched, plain),
        "contacts searched": searched,
        "dense": option("jacobian", dense),
        "no contact sensors": without(disable.mjDSBL_SENSOR),
        "passive forces looked for": option("disableflags", paired.opt.disableflags & ~passive),
        "no joint friction": without(disable.mjDSBL_FRICTIONLOSS),
        "no contacts": without(disable.mjDSBL_CONTACT),
        "solver tolerance 1e-6": option("tolerance", 1e-6),
        "solver tolerance 1e-4": option("tolerance", 1e-4),
        "elliptic cones": option("cone", mujoco.mjtCone.mjCONE_ELLIPTIC),
    }


class Steps:
    """One model in a batch of its own, and what it makes of the recorded states."""

    def __init__(self, model: mujoco.MjModel, steps: list[tuple[np.ndarray, np.ndarray]], decimation: int):
        self._batch, self._steps, self._decimation = Batch(model, len(steps[0][0]), 1), steps, decimation
        self._batch.bind("sensordata")  # as in the bridge
        self.speeds = np.empty(0)

    def run(self) -> float:
        """Processor seconds inside `Batch.step`."""
        seconds, speeds = 0.0, []
        for state, ctrl in self._steps:
            self._batch.state[:] = state
            self._batch.ctrl[:] = ctrl
            began = time.process_time()
            self._batch.step(nstep=self._decimation)
            seconds += time.process_time() - began
            speeds.append(self._batch.qvel.copy())
        self.speeds = np.array(speeds)
        return seconds


def measure(args: argparse.Namespace, overrides: list[str]) -> dict[str, object]:
    """Microseconds a physics step, times as quick as the peer, and distance from the peer's motion.

    The quickest round counts: what others do on the machine only ever adds to it.
    """
    bridge, searched, steps = record(args, overrides)
    decimation = bridge.spec.decimation
    tasks = {name: Steps(m, steps, decimation) for name, m in models(bridge.model, searched).items()}
    seconds = interleave({name: task.run for name, task in tasks.items()}, args.rounds)
    count = args.num_envs * args.steps * decimation
    rows = {}
    for name, task in tasks.items():
        apart = np.abs(task.speeds - tasks[PEER].speeds).max(-1)
        rows[name] = {
            "microseconds_a_step": round(1e6 * min(seconds[name]) / count, 1),
            "peer_over_this": round(min(seconds[PEER]) / min(seconds[name]), 3),
            "speeds_apart_median": float(np.median(apart)),
            "speeds_apart_99_percent": float(np.quantile(apart, 0.99)),
        }
    bridge.close()
    return {
        "policy": args.checkpoint,
        "peer_robot": args.peer_robot,
        "num_envs": args.num_envs,
        "physics_dt": bridge.spec.physics_dt,
        "models": rows,
        "seconds": seconds,
        "times_as_quick": {PEER: times_as_quick(seconds["ours"], seconds[PEER])},
    }


def main() -> None:
    """Parse, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="whose policy walks: what `eval --checkpoint` takes")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--steps", type=int, default=24, help="control steps that are recorded")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peer-robot", help="folder of another body of the robot, for the peer")
    parser.add_argument("--out", help="write the result to this JSON file, too")
    args, overrides = parser.parse_known_args()
    report({"benchmark": "physics", **describe(), **measure(args, overrides)}, args.out)


if __name__ == "__main__":
    main()
