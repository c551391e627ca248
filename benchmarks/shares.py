"""What a training step is made of, for one preset and one number of environments, in MuJoCo Warp.

Four programs, each with more in it than the one before: (a) bare `mujoco_warp.step`; (b) bridge and
environment functions, with random actions; (c) the policy, and for FastSAC the replay buffer; (d) learning:
what training runs. Differences of their times are the shares. They take turns, from the same state.

`benchmarks.gpu` runs this once for every preset and number of environments, each time in a new process:
peaks of memory are of a process, and what does not fit must not end the other measurements.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import mujoco_warp as mjw
import numpy as np
import warp as wp

from benchmarks.machine import interleave
from bridges.mjwarp import MjwarpBridge
from bridges.mjwarp.model import with_fields
from bridges.mjwarp.state import Physics
from holosoma_jax import experiment
from holosoma_jax.config import compose
from holosoma_jax.experiment import Setup
from holosoma_jax.rollout import fused, seeding
from holosoma_jax.rollout.state import RolloutState, RunnerState
from holosoma_jax.training import drivers, run_state

LAYERS = ("physics", "environment", "policy", "learning")


def clock() -> float:
    """s; on a processor those that it has worked, of all threads, as other programs may be running too."""
    return time.process_time() if jax.default_backend() == "cpu" else time.perf_counter()


def copied(tree: Any) -> Any:
    """A copy to be used up."""
    return jax.block_until_ready(jax.tree.map(jnp.copy, tree))


def measure(preset: str, num_envs: int, steps: int, rounds: int, overrides: list[str]) -> dict[str, Any]:
    """Environment steps per second of every layer, and its share of the time of a training step.

    Args:
      preset: an experiment, with PPO or FastSAC.
      num_envs: environments.
      steps: control steps of a call of the driver: a PPO rollout, or so many iterations of FastSAC.
      rounds: turns of each program; the median counts.
      overrides: further arguments of the config.
    """
    ppo = "fast-sac" not in preset
    length = "num-steps-per-env" if ppo else "logging-interval"
    arguments = [f"exp:{preset}", "simulator:mjwarp", f"--training.num-envs={num_envs}"]
    arguments += [f"--algo.config.{length}={steps}", *overrides]
    parts = experiment.build(compose.load(arguments))
    assert isinstance(parts.bridge, MjwarpBridge)
    trainer = Trainer(parts, steps)
    for _ in range(3):  # compile, let episodes fall out of step
        trainer.learning()
    trainer.settled = True
    rollout = trainer.state.rollout
    tasks = {
        "physics": RawPhysics(parts.bridge, rollout.physics, steps).run,
        "environment": timed(partial(environment_only(parts, steps), rollout)),
        "policy": trainer.policy,
        "learning": trainer.learning,
    }
    for task in tasks.values():
        task()
    seconds = {name: float(np.median(taken)) for name, taken in interleave(tasks, rounds).items()}
    total, below, shares = seconds["learning"], 0.0, {}
    for name in LAYERS:
        shares[name] = max(0.0, seconds[name] - below) / total
        below = max(below, seconds[name])
    found = {
        "preset": preset,
        "num_envs": num_envs,
        "control_steps": steps,
        "env_steps_per_s": {name: num_envs * steps / seconds[name] for name in LAYERS},
        "share_of_training_time": shares,
        "clock": "processor seconds of all threads" if jax.default_backend() == "cpu" else "wall-clock",
        "bridge_and_environment_over_raw_physics": seconds["environment"] / seconds["physics"] - 1.0,
        "memory_bytes": memory(),
        "buffers": parts.bridge.usage(trainer.state.rollout.physics),
    }
    parts.bridge.close()
    return found


def timed(call: Callable[[], Any]) -> Callable[[], float]:
    """`call` as a task: seconds until its result is there."""

    def run() -> float:
        began = clock()
        jax.block_until_ready(call())
        return clock() - began

    return run


class RawPhysics:
    """Control steps of bare MuJoCo Warp on the bridge's model, as one CUDA graph where there is a GPU.

    As in the bridge, contact sensors are computed in the last of a control step's physics steps only.
    """

    def __init__(self, bridge: MjwarpBridge, physics: Physics, steps: int) -> None:
        built = bridge._programs.require_open()
        self._device, self._data, self._steps = built.device, built.data, steps
        fields = {
            n: wp.from_jax(x, dtype=getattr(built.full, n).dtype) for n, x in physics.fields._asdict().items()
        }
        arrays, last = type("Fields", (), fields), bridge.spec.decimation - 1
        models = [with_fields(built.quiet, arrays)] * last + [with_fields(built.full, arrays)]
        self._fields = fields
        self._begin = {name: np.array(getattr(physics, name)) for name in ("qpos", "qvel", "warmstart")}
        self._data.ctrl.assign(np.tile(bridge._robot.default_joint_pos, (bridge.spec.num_envs, 1)))
        self.run_step = lambda: [mjw.step(model, self._data) for model in models]
        if self._device.is_cuda:
            with wp.ScopedDevice(self._device):
                self.run_step()
                with wp.ScopedCapture() as capture:
                    self.run_step()
            self.run_step = lambda: wp.capture_launch(capture.graph)

    def run(self) -> float:
        """Seconds of `steps` control steps from the recorded state, the targets being the default pose."""
        for name, value in self._begin.items():
            getattr(self._data, {"warmstart": "qacc_warmstart"}.get(name, name)).assign(value)
        with wp.ScopedDevice(self._device):
            wp.synchronize_device(self._device)
            began = clock()
            for _ in range(self._steps):
                self.run_step()
            wp.synchronize_device(self._device)
        return clock() - began


def environment_only(parts: Setup, steps: int) -> Callable[[RolloutState], Any]:
    """A program of control steps whose actions keep the default pose, as in `RawPhysics`."""
    env, bridge = parts.env, parts.bridge
    action = jnp.zeros((env.spec.num_envs, env.spec.action_dim))

    def control_step(values: Any, _: None) -> tuple[Any, Any]:
        state, physics, sim = values
        state, obs = env.observe(state, sim)
        state, actuator_command = env.pre_step(state, action)
        physics, sim = bridge.step(physics, *actuator_command)
        state, result = env.post_step(state, sim)
        physics, sim = fused.apply_resets_if_any(bridge, physics, sim, result.reset)
        return (state, physics, sim), (result.reward, sum(x.mean() for x in obs.values()))

    def run(rollout: RolloutState) -> Any:
        values = (rollout.carry.env, rollout.physics, rollout.sim)
        return jax.lax.scan(control_step, values, None, length=steps)

    return jax.jit(run)


class Trainer:
    """Control steps with and without updates; once `settled`, always from the same environments."""

    settled = False

    def __init__(self, parts: Setup, steps: int) -> None:
        self._learning, (self.state, *_) = run_state.create_or_restore(parts)
        idle = replace(parts.learner, update=lambda state, batch, key, axis_name: (state, {}))
        self._acting = drivers.make(replace(parts, learner=idle))
        self._count, self._keys = steps // self._learning.fns.horizon, seeding.keys(0)

    def policy(self) -> float:
        """Seconds of control steps that act and store, and learn nothing."""
        return self._run(self._acting, 2**31 - 1)

    def learning(self) -> float:
        """Seconds of control steps with all their updates."""
        return self._run(self._learning, 0)

    def _run(self, driver: drivers.Driver, learning_starts: int) -> float:
        learner, replay, pending, rollout = self.state
        if replay is not None:  # the buffer is not copied
            replay = replay.replace(learning_starts=jnp.int32(learning_starts))
        state = RunnerState(*copied((learner,)), replay, *copied((pending, rollout)))
        began = clock()
        state, _ = driver.iterate(state, self._keys, 0, self._count)
        jax.block_until_ready(state.rollout)
        seconds = clock() - began
        self.state = self.state._replace(replay=state.replay) if self.settled else state
        return seconds


def accelerator() -> dict[str, object]:
    """What JAX computes on, and the versions of the simulator."""
    device = jax.local_devices()[0]
    names = ("warp-lang", "mujoco-warp")
    versions = {name: importlib.metadata.version(name) for name in names}
    return {"platform": device.platform, "kind": device.device_kind, "versions": versions}


def memory() -> dict[str, int]:
    """Peak bytes so far: JAX's and Warp's on a GPU, the process' on a CPU.

    ``device`` is all that is taken of the GPU now, by whoever: with what neither counts, such as the memory that
    CUDA graphs keep for the arrays which MuJoCo Warp makes on the way.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return {"process": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    stats = device.memory_stats() or {}
    gpu = wp.device_from_jax(device)
    return {
        "jax": int(stats.get("peak_bytes_in_use", 0)),
        "warp": int(wp.get_mempool_used_mem_high(gpu)),
        "device": int(gpu.total_memory - gpu.free_memory),
    }


def main() -> None:
    """Parse, measure, print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", required=True)
    parser.add_argument("--num-envs", type=int, required=True)
    parser.add_argument("--steps", type=int, default=24, help="control steps a program")
    parser.add_argument("--rounds", type=int, default=7)
    args, overrides = parser.parse_known_args()
    found = measure(args.preset, args.num_envs, args.steps, args.rounds, overrides)
    print(json.dumps({**found, "accelerator": accelerator()}))


if __name__ == "__main__":
    main()
