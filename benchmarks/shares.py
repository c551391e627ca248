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
from holosoma_jax.rollout.control_step import World
from holosoma_jax.rollout.on_policy_steps import Algorithm, decide, judge
from holosoma_jax.training import off_policy, on_policy

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
      steps: control steps of a PPO rollout, or of a FastSAC stretch.
      rounds: turns of each program; the median counts.
      overrides: further arguments of the config.
    """
    ppo = "fast-sac" not in preset
    length = "num-steps-per-env" if ppo else "logging-interval"
    arguments = [f"exp:{preset}", "simulator:mjwarp", f"--training.num-envs={num_envs}"]
    arguments += [f"--algo.config.{length}={steps}", *overrides]
    parts = experiment.build(compose.load(arguments))
    assert isinstance(parts.bridge, MjwarpBridge)
    trainer = (Ppo if ppo else FastSac)(parts, steps)
    for _ in range(3):  # compile, let episodes fall out of step
        trainer.learning()
    trainer.settled = True
    world = trainer.world
    tasks = {
        "physics": RawPhysics(parts.bridge, world.physics, steps).run,
        "environment": timed(partial(environment_only(parts, steps), world)),
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
        "buffers": parts.bridge.usage(trainer.world.physics),
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


def environment_only(parts: Setup, steps: int) -> Callable[[World], Any]:
    """A program of control steps whose actions keep the default pose, as in `RawPhysics`."""
    env, bridge = parts.env, parts.bridge
    action = jnp.zeros((env.spec.num_envs, env.spec.action_dim))

    def control_step(values: Any, _: None) -> tuple[Any, Any]:
        state, physics, sim = values
        state, obs = env.observe(state, sim)
        state, actuator_command = env.pre_step(state, action)
        physics, sim = bridge.step(physics, *actuator_command)
        state, result = env.post_step(state, sim)
        physics, sim = fused.answer(bridge, physics, sim, result.reset)
        return (state, physics, sim), (result.reward, sum(x.mean() for x in obs.values()))

    def run(world: World) -> Any:
        values = (world.carry.env, world.physics, world.sim)
        return jax.lax.scan(control_step, values, None, length=steps)

    return jax.jit(run)


class Ppo:
    """Whole iterations, and their rollouts alone; once `settled`, always from the same state."""

    settled = False

    def __init__(self, parts: Setup, steps: int) -> None:
        self._driver, state = on_policy.begin(parts, say=lambda line: None)
        self._root, self._learner, self.world = seeding.root(0), state.learner, state.world
        env, bridge, algorithm = parts.env, parts.bridge, Algorithm()

        def control_step(values: Any, _: None) -> tuple[Any, Any]:
            learner, carry, physics, sim = values
            learner, state, decision, actuator_command = decide(
                env, algorithm, learner, carry.env, carry.step, sim, self._root
            )
            carry = carry.replace(env=state)
            physics, sim = bridge.step(physics, *actuator_command)
            carry, outcome, result = judge(env, algorithm, learner, carry, sim)
            physics, sim = fused.answer(bridge, physics, sim, result.reset)
            return (learner, carry, physics, sim), (decision, outcome)

        def rollout(learner: Any, world: World) -> Any:
            values = (learner, world.carry, world.physics, world.sim)
            return jax.lax.scan(control_step, values, None, length=steps)

        self._rollout = jax.jit(rollout)

    def policy(self) -> float:
        """Seconds of a rollout; nothing comes of it."""
        return timed(lambda: self._rollout(self._learner, self.world))()

    def learning(self) -> float:
        """Seconds of an iteration."""
        learner, world, key = copied(self._learner), copied(self.world), seeding.stream(self._root, "update")
        began = clock()
        done = self._driver.iterate(learner, world, self._root, key)
        jax.block_until_ready(done.world)
        seconds = clock() - began
        if not self.settled:
            self._learner, self.world = done.learner, done.world
        return seconds


class FastSac:
    """Stretches of control steps, with and without updates; once `settled`, always from the same state."""

    settled = False

    def __init__(self, parts: Setup, steps: int) -> None:
        self._driver, state = off_policy.begin(parts, say=lambda line: None)
        self._steps, self._keys = steps, off_policy.keys(0)
        self._learner, self._experience, self.world = state.learner, state.experience, state.world

    def policy(self) -> float:
        """Seconds of a stretch that acts and stores, and learns nothing."""
        return self._advance(2**31 - 1)

    def learning(self) -> float:
        """Seconds of a stretch with all its updates."""
        return self._advance(0)

    def _advance(self, wait: int) -> float:
        experience, world = self._experience.replace(wait=jnp.int32(wait)), copied(self.world)
        began = clock()
        done = self._driver.advance(self._learner, experience, world, self._steps, self._keys)
        jax.block_until_ready(done.world)
        seconds = clock() - began
        self._learner, self._experience = done.learner, done.experience  # the buffer is not copied
        if not self.settled:
            self.world = done.world
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
