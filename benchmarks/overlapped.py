"""The overlapped driver against the stepped one, on the same cores and in turns.

`stepped` lets learner and simulator have all cores, one after the other; `overlapped` all cores, at once; in `split`
XLA has one thread and MuJoCo one, so that each has a core. The seconds are those of a control step of FastSAC, in
three processes of which one works at a time.

    python -m benchmarks.overlapped --out overlapped.json
    python -m benchmarks.overlapped exp:t1-29dof-fast-sac-cpu --training.num-envs 256
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from benchmarks.machine import describe, interleave, report, times_as_quick

ONE_CORE = {"NPROC": "1", "PJRT_NPROC": "1"}
"""threads of XLA; which of the names it reads depends on its version"""
VARIANTS: Mapping[str, tuple[Sequence[str], Mapping[str, str]]] = {
    "stepped": (("--training.driver=stepped",), {}),
    "overlapped": (("--training.driver=overlapped",), {}),
    "split": (("--training.driver=overlapped", "--simulator.config.mujoco.num-threads=1"), ONE_CORE),
}
"""name -> arguments of `train`, environment"""


class Child:
    """A training in a process of its own, which continues when it is told to."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], steps: int):
        command = [sys.executable, "-m", "benchmarks.overlapped", "--child", f"--steps={steps}", *arguments]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.go()

    def go(self) -> float:
        """Seconds of a control step."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a training ended: {self._process.wait()}")
        return float(line)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def child(arguments: Sequence[str], steps: int) -> None:
    """For every line of the input: `steps` control steps; their mean duration is printed."""
    from holosoma_jax.config import compose
    from holosoma_jax.experiment import build
    from holosoma_jax.rollout import seeding
    from holosoma_jax.training import run_state

    setup = build(compose.load(arguments))
    driver, state = run_state.create_or_restore(setup)
    runner, keys, done = state.runner, seeding.keys(setup.cfg.training.seed, setup.devices), 0
    for _ in sys.stdin:
        began = time.perf_counter()
        runner, _ = driver.iterate(runner, keys, done, steps)
        print((time.perf_counter() - began) / steps, flush=True)
        done += steps


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=50, help="control steps a turn")
    parser.add_argument("--out")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args, arguments = parser.parse_known_args()
    arguments = arguments or ["exp:g1-29dof-fast-sac-cpu"]
    if args.child:
        return child(arguments, args.steps)
    children = {
        name: Child([*arguments, *own], environment, args.steps)
        for name, (own, environment) in VARIANTS.items()
    }
    steps = interleave({name: one.go for name, one in children.items()}, args.rounds)
    for one in children.values():
        one.close()
    report(
        {
            **describe(),
            "arguments": arguments,
            "milliseconds": {name: 1e3 * statistics.median(t) for name, t in steps.items()},
            "times_as_quick": {
                f"stepped, {shared}": times_as_quick(steps[name], steps["stepped"])
                for name, shared in (("overlapped", "sharing the cores"), ("split", "with a core each"))
            },
        },
        args.out,
    )


if __name__ == "__main__":
    main()
