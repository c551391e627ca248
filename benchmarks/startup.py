"""How long a command takes to answer: `--help`, a mistake, and reading a preset.

::

    python -m benchmarks.startup --rounds 3
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from benchmarks import machine

CASES = {
    "help of train": ["holosoma_jax.train", "--help"],
    "help of train exp:g1-29dof": ["holosoma_jax.train", "exp:g1-29dof", "--help"],
    "help of eval": ["holosoma_jax.eval", "--help"],
    "help of doctor": ["holosoma_jax.doctor", "--help"],
    "a misspelt key": ["holosoma_jax.train", "exp:g1-29dof", "--training.num-env=3"],
    "a misspelt parameter of a term": [
        "holosoma_jax.train", "exp:g1-29dof", "--reward.terms.feet-phase.params.swing-hight=1",
    ],
}  # fmt: skip
"""What a person types -> arguments of Python's -m. The last one needs JAX, the others do not."""
BARE = "bare Python"
"""What each is compared with: an interpreter that starts and ends."""


def seconds(arguments: list[str]) -> float:
    """Wall-clock seconds of one process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", *arguments], capture_output=True, check=False)
    return time.perf_counter() - began


def main() -> None:
    """Measure every case in turns and report the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", help="write the result to this JSON file, too")
    args = parser.parse_args()
    cases = CASES | {BARE: ["site"]}
    tasks = {name: lambda arguments=arguments: seconds(arguments) for name, arguments in cases.items()}
    taken = machine.interleave(tasks, args.rounds)
    result: dict[str, object] = {"benchmark": "startup", **machine.describe()}
    result["seconds"] = {name: round(statistics.median(values), 2) for name, values in taken.items()}
    result["times_as_quick"] = {
        f"{name} / {BARE}": machine.times_as_quick(taken[name], taken[BARE]) for name in CASES
    }
    machine.report(result, args.out)


if __name__ == "__main__":
    main()
