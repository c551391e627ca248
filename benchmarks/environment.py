"""The environment functions alone, against the physics they accompany: G1, plane, one process.

In one run, in turns: (a) `pre_step`, `post_step` and `observe` as one compiled program, fed with
states of a real rollout; (b) the bridge's control step for as many environments.

    python -m benchmarks.environment --num-envs 1024
"""

from __future__ import annotations

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import describe, interleave, report, times_as_quick
from holosoma_jax import experiment
from holosoma_jax.config import compose
from holosoma_jax.rollout import seeding
from holosoma_jax.rollout.control_step import apply_resets


def measure(num_envs: int, steps: int, rounds: int, overrides: list[str]) -> dict[str, object]:
    """Control steps of all environments per second, of the functions and of the physics."""
    cfg = compose.load(["exp:g1-29dof", f"--training.num-envs={num_envs}", *overrides])
    parts = experiment.build(cfg)
    env, bridge = parts.env, parts.bridge
    key = seeding.root(0)
    state, reset = jax.jit(env.init)(key)
    physics, sim = apply_resets(bridge, bridge.init(), None, reset, resets=True, pushes=False)
    action = 0.5 * jax.random.normal(key, (num_envs, env.spec.action_dim))

    @jax.jit
    def functions(state, sim, action):
        state, actuator_command = env.pre_step(state, action)
        state, result = env.post_step(state, sim)
        state, obs = env.observe(state, sim)
        return state, actuator_command.targets, result.reward, result.reset, result.final_obs, obs

    targets = jnp.tile(jnp.asarray(parts.robot.default_joint_pos)[None], (num_envs, 1))
    jax.block_until_ready(functions(state, sim, action))

    def run_functions() -> float:
        nonlocal state
        began = time.perf_counter()
        for _ in range(steps):
            state, *rest = functions(state, sim, action)
            jax.block_until_ready(rest)
        return time.perf_counter() - began

    def run_physics() -> float:
        nonlocal physics
        began = time.perf_counter()
        for _ in range(steps):
            physics, _ = bridge.step(physics, targets)
        return time.perf_counter() - began

    seconds = interleave({"functions": run_functions, "physics": run_physics}, rounds)
    rates = {name: num_envs * steps / float(np.median(taken)) for name, taken in seconds.items()}
    return {
        "num_envs": num_envs,
        "functions_env_steps_per_s": rates["functions"],
        "physics_env_steps_per_s": rates["physics"],
        "functions_time_over_physics_time": rates["physics"] / rates["functions"],
        "seconds": seconds,
        "times_as_quick": {"physics": times_as_quick(seconds["functions"], seconds["physics"])},
    }


def main() -> None:
    """Parse, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out")
    args, overrides = parser.parse_known_args()
    result = {"benchmark": "environment", **describe()}
    report(result | measure(args.num_envs, args.steps, args.rounds, overrides), args.out)


if __name__ == "__main__":
    main()
