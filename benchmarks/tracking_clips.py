"""What a control step of whole-body tracking costs without physics, with many short clips and with one long one.

    python -m benchmarks.tracking_clips --num-envs 256

The clips are made here: the joints of a shipped one, cut and repeated. Both programs run in turns in one process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import describe
from holosoma_jax import experiment
from holosoma_jax.config import compose
from holosoma_jax.motion import clip as clips
from holosoma_jax.motion import reading, writing
from holosoma_jax.motion.kinematics import Skeleton
from holosoma_jax.robots import load

MOTION = "--command.setup-terms.motion-command.params.motion-config."
CASES = {"100 clips of 500 frames": (100, 500), "one clip of 10,000 frames": (1, 10_000)}


def write_clips(folder: Path, count: int, frames: int) -> None:
    """`count` clips of `frames` frames in `folder`, each from another frame of the dance on."""
    skeleton = Skeleton(load("g1"))
    dance = reading.read("g1_dance", skeleton)
    there_and_back = np.concatenate([dance.qpos, dance.qpos[::-1]])
    for i in range(count):
        rows = (7 * i + np.arange(frames)) % len(there_and_back)
        clip = clips.from_trajectory(skeleton, f"clip_{i:03}", 50.0, there_and_back[rows])
        writing.write(folder / f"{clip.name}.npz", clip, skeleton, "compact")


def stepper(folder: Path, num_envs: int) -> Callable[[], float]:
    """A function that takes one control step and returns its seconds."""
    cfg = compose.load(
        ["exp:g1-29dof-wbt", f"--training.num-envs={num_envs}", f"{MOTION}motion-dir={folder}"]
    )
    parts = experiment.build(cfg)
    env = parts.env
    state, reset = jax.jit(env.init)(jax.random.key(0))
    _, sim = parts.bridge.reset(parts.bridge.init(), reset.mask, reset.pose)
    sim = jax.tree.map(jnp.array, sim)
    parts.bridge.close()
    action = jnp.zeros((num_envs, env.spec.action_dim))

    @jax.jit
    def step(state):
        state, _ = env.pre_step(state, action)
        state, result = env.post_step(state, sim)
        state, obs = env.observe(state, sim)
        return state, (result.reward, result.reset, obs)

    def timed() -> float:
        nonlocal state
        began = time.perf_counter()
        state, rest = step(state)
        jax.block_until_ready(rest)
        return time.perf_counter() - began

    timed()
    return timed


def main() -> None:
    """Print the fastest and the median step of each case, in ms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        made = {}
        for name, (count, frames) in CASES.items():
            folder = Path(temporary) / str(count)
            write_clips(folder, count, frames)
            made[name] = stepper(folder, args.num_envs)
        taken = {name: [] for name in made}
        for _ in range(args.steps):
            for name, timed in made.items():
                taken[name].append(1e3 * timed())
    print(describe())
    for name, times in taken.items():
        print(f"{name}: fastest {min(times):.2f} ms, median {np.median(times):.2f} ms")


if __name__ == "__main__":
    main()
