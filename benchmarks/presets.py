"""Every preset, trained briefly on both grounds: does anything become non-finite, and how fast is it?

    python -m benchmarks.presets --iterations 20 --num-envs 256 --out presets.json

Each run is `python -m holosoma_jax.train` in a process of its own; what it logged is read back.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe, report

PRESETS = tuple(
    robot + learner for learner in ("", "-fast-sac") for robot in ("g1-29dof", "t1-29dof", "k1-22dof")
)
GROUNDS = ("terrain-locomotion-plane", "terrain-locomotion-mix")


def train(preset: str, ground: str, iterations: int, num_envs: int, *extra: str) -> dict[str, object]:
    """One run: exit code, seconds, and every logged number that is not finite.

    FastSAC logs every iteration here, so that each can be looked at.
    """
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "holosoma_jax.train", f"exp:{preset}", f"terrain:{ground}"]
        argv += [f"--training.num-envs={num_envs}", f"--training.output-dir={folder}", *extra]
        argv += [f"--algo.config.num-learning-iterations={iterations}", "--training.export-onnx=False"]
        argv += ["logger:console", "--logger.video.enabled=False"]
        if preset.endswith("-fast-sac"):
            argv += ["--algo.config.logging-interval=1"]
        began = time.perf_counter()
        done = subprocess.run(argv, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        rows = [json.loads(line) for f in Path(folder).rglob("metrics.jsonl") for line in f.open()]
        reports = [str(path.name) for path in Path(folder).rglob("nonfinite/*")]
    wrong = sorted({name for row in rows for name, value in row.items() if not _finite(value)})
    return {
        "preset": preset,
        "ground": ground,
        "exit_code": done.returncode,
        "logged_iterations": len(rows),
        "non_finite": wrong,
        "reports": reports,
        "seconds": seconds,
        "last_error": done.stderr.strip().splitlines()[-1:] if done.returncode else [],
    }


def _finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def main() -> int:
    """Parse, run, print JSON; 1 if any run failed or logged a number that is not finite."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--presets", nargs="*", default=PRESETS)
    parser.add_argument("--grounds", nargs="*", default=GROUNDS)
    parser.add_argument("--out")
    args, extra = parser.parse_known_args()
    result = {"benchmark": "presets", **describe(), "iterations": args.iterations, "num_envs": args.num_envs}
    runs = []
    for preset in args.presets:
        for ground in args.grounds:
            runs.append(train(preset, ground, args.iterations, args.num_envs, *extra))
            print(json.dumps(runs[-1]), file=sys.stderr)
    report(result | {"runs": runs}, args.out)
    return int(any(run["exit_code"] or run["non_finite"] or not run["logged_iterations"] for run in runs))


if __name__ == "__main__":
    sys.exit(main())
