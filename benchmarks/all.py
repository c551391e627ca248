"""Every benchmark that has a peer, one after the other, into one JSON file with commit and machine.

A benchmark whose peer is not installed is left out, and the file says so.

    python -m benchmarks.all --out logs/benchmarks.json
    python -m benchmarks.compare OLD.json NEW.json
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import describe

PLANE = "terrain:terrain-locomotion-plane"
WALK = "pretrained:g1-29dof"


class Run(NamedTuple):
    """One benchmark with its arguments."""

    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    """modules of the peer"""


RUNS = {
    "physics step on the plane": Run(("physics", WALK)),
    "physics step on mixed terrain": Run(("physics", WALK, "terrain:terrain-locomotion-mix")),
    "collection on the plane": Run(("collection", "--num-envs=1024", PLANE)),
    "collection on mixed terrain": Run(("collection", "--num-envs=1024")),
    "environment functions": Run(("environment", "--num-envs=1024")),
    "PPO update": Run(("ppo_update",), ("torch", "rsl_rl")),
    "PPO update, one core": Run(("ppo_update", "--threads=1", "--rounds=3"), ("torch", "rsl_rl")),
    "FastSAC update, float32": Run(("fast_sac_update", "--batch=2048", "--precision=float32"), ("torch",)),
    "FastSAC update, bfloat16": Run(("fast_sac_update", "--batch=2048", "--precision=bfloat16"), ("torch",)),
    "overlapped driver": Run(("overlapped",)),
    "remote bridge": Run(("remote_bridge",)),
    "start of the commands": Run(("startup",)),
}


def missing(run: Run) -> list[str]:
    """Modules of the peer that are not installed."""
    return [name for name in run.needs if importlib.util.find_spec(name) is None]


def execute(run: Run) -> dict[str, object]:
    """What the benchmark wrote, or why it wrote nothing, with the seconds that it took."""
    if absent := missing(run):
        return {"skipped": f"not installed: {', '.join(absent)}"}
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        module, *arguments = run.command
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments, f"--out={out}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        found = json.loads(out.read_text()) if out.exists() else {"failed": done.stdout[-2000:]}
    return {"command": " ".join(command[1:-1]), "took_s": time.perf_counter() - began, **found}


def main() -> int:
    """Run, write after each; 1 if one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="logs/benchmarks.json")
    parser.add_argument(
        "--only", nargs="*", choices=list(RUNS), default=list(RUNS), help="names of benchmarks"
    )
    args = parser.parse_args()
    file = Path(args.out)
    file.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, object]] = {}
    for name in args.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found[name] = execute(RUNS[name])
        file.write_text(json.dumps({**describe(), "runs": found}, indent=1) + "\n")
    print(f"written to {file}")
    return int(any("failed" in run for run in found.values()))


if __name__ == "__main__":
    sys.exit(main())
