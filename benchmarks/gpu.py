"""Training in MuJoCo Warp: speed by layer, memory, time to the first update, curves; one command, JSON out.

On a GPU, for G1 with PPO and FastSAC and 1,024 to 16,384 environments::

    python -m benchmarks.gpu --out gpu.json --train-minutes 60

Without ``--train-minutes`` it trains no longer than until the first update. The file is written after every
measurement, so that little is lost where a machine is lent for a short time; begin there with ``--num-envs 4096``.

The same on a processor, small, so that the command is known to work::

    python -m benchmarks.gpu --num-envs 16 64 --steps 4 --rounds 3 terrain:terrain-locomotion-plane

Further arguments go to the config. How each figure is measured: `benchmarks.shares`. Time to the first
update is that of the `train` command from its start to the row of metrics that reports its first update, once
with empty caches of compiled programs and kernels (cold) and once more (warm). Curves are those of the same command
with the preset as it is, stopped by Ctrl-C; its folder stays in ``--train-dir``.

A measurement that fails leaves its exit code in its place, and the others continue; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from holosoma_jax import runtime
from holosoma_jax.config import compose

PRESETS = ("g1-29dof", "g1-29dof-fast-sac")
SIZES = (1024, 2048, 4096, 8192, 16384)
POINTS = 200
"""rows of a curve"""
LOGGED = ("step", "Train/", "Env/", "Perf/total_fps")
"""beginnings of what a curve holds"""


def shares(preset: str, num_envs: int, steps: int, rounds: int, overrides: list[str]) -> dict[str, Any]:
    """`benchmarks.shares` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.shares", f"--preset={preset}", f"--num-envs={num_envs}"]
    command += [f"--steps={steps}", f"--rounds={rounds}", *overrides]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        return {"preset": preset, "num_envs": num_envs, "exit_code": run.returncode}
    return json.loads(run.stdout.splitlines()[-1])


def first_update(preset: str, num_envs: int, overrides: list[str]) -> dict[str, Any]:
    """Seconds from the command to the first update, with empty caches and with full ones."""
    found: dict[str, Any] = {"preset": preset, "num_envs": num_envs}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "warm"):
            command = [sys.executable, "-m", "holosoma_jax.train", f"exp:{preset}", "simulator:mjwarp"]
            command += [f"--training.num-envs={num_envs}", f"--training.output-dir={folder}/{name}"]
            command += [*overrides, *until_first_update(preset, overrides), "--logger.video.enabled=False"]
            moved = ("JAX_COMPILATION_CACHE_DIR", "WARP_CACHE_PATH")  # where `runtime.prepare` has put them
            env = {name: value for name, value in os.environ.items() if name not in moved}
            began, log = time.perf_counter(), Path(folder, f"{name}.log")
            with log.open("w") as file:
                run = subprocess.Popen(
                    command, stdout=file, stderr=file, env=env | {"HOLOSOMA_CACHE_DIR": f"{folder}/cache"}
                )
                while run.poll() is None and not _rows(Path(folder, name)):
                    time.sleep(0.05)
                seconds = time.perf_counter() - began
                code = run.wait()
            if code or not _rows(Path(folder, name)):
                print(log.read_text()[-2000:], file=sys.stderr)
                return found | {"exit_code": code}
            found[name] = seconds
    return found


def until_first_update(preset: str, overrides: list[str]) -> list[str]:
    """Arguments of the shortest run that updates, and says so in its only row of metrics.

    FastSAC's iterations are control steps: the first completes no transition, the next `learning_starts`
    only fill the buffer.
    """
    algo = compose.load([f"exp:{preset}", *overrides]).algo
    iterations = 1 if algo.name == "ppo" else algo.config.learning_starts + 2
    arguments = [f"--algo.config.num-learning-iterations={iterations}", "--training.export-onnx=False"]
    return arguments if algo.name == "ppo" else [*arguments, f"--algo.config.logging-interval={iterations}"]


def training(preset: str, num_envs: int, minutes: float, folder: str, overrides: list[str]) -> dict[str, Any]:
    """A run of so many minutes, start and compilation included, and what it logged: about `POINTS` rows."""
    command = [sys.executable, "-m", "holosoma_jax.train", f"exp:{preset}", "simulator:mjwarp"]
    command += [
        f"--training.num-envs={num_envs}",
        f"--training.output-dir={folder}",
        f"--training.project={preset}",
    ]
    run = subprocess.Popen([*command, "--logger.video.enabled=False", *overrides], stdout=sys.stderr)
    began = time.perf_counter()
    try:
        run.wait(60 * minutes)
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGINT)
    found: dict[str, Any] = {"preset": preset, "num_envs": num_envs}
    code, files = run.wait(), _rows(Path(folder), preset)
    if code not in (0, 128 + signal.SIGINT) or not files:  # no row: stopped before the first iteration
        return found | {"exit_code": code}
    file = max(files, key=lambda file: file.parent.name)  # folders begin with the time
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    kept = [*rows[: -1 : -(-len(rows) // POINTS)], rows[-1]]
    curve = [{n: v for n, v in row.items() if n.startswith(LOGGED)} for row in kept]
    return found | {"seconds": time.perf_counter() - began, "folder": str(file.parent), "curve": curve}


def _rows(folder: Path, project: str = "*") -> list[Path]:
    """Files of metrics with at least one row."""
    return [file for file in folder.glob(f"{project}/*/metrics.jsonl") if file.stat().st_size]


def main() -> int:
    """Parse, measure, print JSON; 1 if a measurement failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--num-envs", nargs="+", type=int, default=SIZES)
    parser.add_argument("--steps", type=int, default=24, help="control steps in a jitted function")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-start", action="store_true", help="leave out the time to the first update")
    parser.add_argument("--train-minutes", type=float, default=0.0, help="for a curve of each preset")
    parser.add_argument("--train-dir", default="logs", help="where these runs stay")
    parser.add_argument("--out")
    args, overrides = parser.parse_known_args()
    overrides += [token for token in args.presets if ":" in token]  # argparse took them for presets
    args.presets = [token for token in args.presets if ":" not in token]
    runtime.prepare()  # for the processes that are started; this one leaves the GPU to them

    result: dict[str, Any] = {"benchmark": "gpu", **machine.describe(), "runs": []}

    def note(kind: str, found: dict[str, Any]) -> None:
        if "accelerator" in found:
            result["accelerator"] = found.pop("accelerator")
        result.setdefault(kind, []).append(found)
        print(
            json.dumps({name: x for name, x in found.items() if name != "curve"}), file=sys.stderr, flush=True
        )
        if args.out:
            Path(args.out).write_text(json.dumps(result, indent=1) + "\n")

    middle = sorted(args.num_envs)[len(args.num_envs) // 2]
    for preset in args.presets:
        for num_envs in args.num_envs:
            note("runs", shares(preset, num_envs, args.steps, args.rounds, overrides))
        if not args.no_start:
            note("seconds_to_first_update", first_update(preset, middle, overrides))
    for preset in args.presets if args.train_minutes else ():
        note("training", training(preset, middle, args.train_minutes, args.train_dir, overrides))
    machine.report(result, args.out)
    measured = (x for found in result.values() if isinstance(found, list) for x in found)
    return int(any("exit_code" in x for x in measured))


if __name__ == "__main__":
    sys.exit(main())
