"""What it costs to run a simulator in another process, measured in turns with the same work in this one.

`channel` is one call that takes [envs, floats] float32 there and as much back, as JAX arrays; `add` is the
same addition in this process. `remote` and `in_process` are a control step of the G1 in MuJoCo.

    python -m benchmarks.remote_bridge --out remote_bridge.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

import bridges
from benchmarks.machine import describe, interleave, report, times_as_quick
from bridges import remote
from bridges.protocol import Bridge, Ground, Pose
from bridges.remote.process import Worker
from bridges.remote.program import Program
from bridges.remote.unpack import unpacker
from holosoma_jax import robots
from holosoma_jax.config import compose

SHAPE = (4096, 200)
"""environments x float32 numbers of the empty call"""


def channel() -> tuple[Worker, Callable[[], float], Callable[[], float]]:
    """A worker that adds one; seconds of a round trip, and of the same addition here."""
    program = Program(
        title="benchmark",
        backend=str(Path(__file__).with_name("remote_backend.py")),
        calls=("step",),
        arrays={"in": (SHAPE, np.float32), "out": (SHAPE, np.float32)},
        settings={},
    )
    worker = Worker(program)
    unpack = unpacker(worker, [("out", "out")])
    values = jax.random.normal(jax.random.key(0), SHAPE)
    host = np.asarray(values)

    def there() -> float:
        began = time.perf_counter()
        worker.arrays["in"][...] = host
        worker.call("step")
        unpack()
        return time.perf_counter() - began

    def here() -> float:
        began = time.perf_counter()
        jax.block_until_ready(jax.device_put(host + 1.0))
        return time.perf_counter() - began

    there()
    assert np.array_equal(np.asarray(unpack()["out"]), host + 1.0)
    return worker, there, here


def control_step(bridge: Bridge, num_envs: int) -> Callable[[], float]:
    """Seconds of one control step of a robot that stands, with noise in its targets."""
    spec = bridge.spec
    robot = robots.load("g1")
    zeros = np.zeros((num_envs, 3), np.float32)
    pose = Pose(
        np.tile(np.asarray(robot.init_pos, np.float32), (num_envs, 1)),
        np.tile(np.asarray(robot.init_quat, np.float32), (num_envs, 1)),
        zeros,
        zeros,
        np.tile(robot.default_joint_pos, (num_envs, 1)),
        np.zeros((num_envs, robot.num_joints), np.float32),
    )
    physics, _ = bridge.reset(bridge.init(), np.ones(num_envs, bool), pose)
    rng = np.random.default_rng(0)

    def run() -> float:
        nonlocal physics
        noise = rng.uniform(-0.05, 0.05, (num_envs, len(spec.joint_names))).astype(np.float32)
        targets = pose.joint_pos + noise
        began = time.perf_counter()
        physics, sim = bridge.step(physics, targets)
        jax.block_until_ready(sim)
        return time.perf_counter() - began

    for _ in range(3):
        run()
    return run


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out")
    args = parser.parse_args()
    worker, there, here = channel()
    calls = interleave({"channel": there, "add": here}, 10 * args.rounds)
    worker.close()
    cfg, robot = compose.load(["exp:g1-29dof"]).simulator, robots.load("g1")
    both = {
        "remote": remote.make(cfg, robot, Ground(), args.num_envs),
        "in_process": bridges.make(cfg, robot, Ground(), args.num_envs, in_process=True),
    }
    steps = interleave({n: control_step(b, args.num_envs) for n, b in both.items()}, args.rounds)
    for bridge in both.values():
        bridge.close()
    pairs = [far / near for far, near in zip(steps["remote"], steps["in_process"], strict=True)]
    report(
        {
            **describe(),
            "shape": SHAPE,
            "num_envs": args.num_envs,
            "milliseconds": {n: 1e3 * statistics.median(t) for n, t in (calls | steps).items()},
            "remote_over_in_process": statistics.median(pairs),
            "times_as_quick": {"this process": times_as_quick(steps["remote"], steps["in_process"])},
        },
        args.out,
    )


if __name__ == "__main__":
    main()
