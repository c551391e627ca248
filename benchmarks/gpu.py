"""Training in MuJoCo Warp: speed by layer, memory, time to the first update; one command, JSON out.

On a GPU, for G1 with PPO and FastSAC and 1,024 to 16,384 environments::

    python -m benchmarks.gpu --out gpu.json

The same on a processor, small, so that the command is known to work::

    python -m benchmarks.gpu --num-envs 16 64 --steps 4 --rounds 3 terrain:terrain-locomotion-plane

Further arguments go to the config. How each figure is measured: `benchmarks.shares`. Time to the first
update is that of the `train` command from its start to its first row of metrics, once with empty caches of
compiled programs (cold) and once more (warm).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from holosoma_jax import runtime

PRESETS = ("g1-29dof", "g1-29dof-fast-sac")
SIZES = (1024, 2048, 4096, 8192, 16384)


def first_update(preset: str, num_envs: int, overrides: list[str]) -> dict[str, float]:
    """Seconds from the command to the first row of metrics, with empty caches and with full ones."""
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "warm"):
            command = [sys.executable, "-m", "holosoma_jax.train", f"exp:{preset}", "simulator:mjwarp"]
            command += [f"--training.num-envs={num_envs}", f"--training.output-dir={folder}/{name}"]
            command += [*overrides, "--algo.config.num-learning-iterations=1", "--logger.video.enabled=False"]
            kept = {
                k: v
                for k, v in os.environ.items()
                if k not in ("JAX_COMPILATION_CACHE_DIR", "WARP_CACHE_PATH")
            }
            began = time.perf_counter()
            with open(f"{folder}/{name}.log", "w") as log:
                run = subprocess.Popen(
                    command, stdout=log, stderr=log, env=kept | {"HOLOSOMA_CACHE_DIR": f"{folder}/cache"}
                )
                while run.poll() is None and not any(_rows(Path(folder, name))):
                    time.sleep(0.05)
                seconds[name] = time.perf_counter() - began
                if run.wait():
                    raise SystemExit(Path(folder, f"{name}.log").read_text()[-2000:])
    return seconds


def _rows(folder: Path) -> list[bool]:
    return [file.stat().st_size > 0 for file in folder.glob("*/*/metrics.jsonl")]


def main() -> None:
    """Parse, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--num-envs", nargs="+", type=int, default=SIZES)
    parser.add_argument("--steps", type=int, default=24, help="control steps a program")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-start", action="store_true", help="leave out the time to the first update")
    parser.add_argument("--out")
    args, overrides = parser.parse_known_args()
    overrides += [token for token in args.presets if ":" in token]  # argparse took them for presets
    args.presets = [token for token in args.presets if ":" not in token]
    runtime.prepare()
    from benchmarks import machine, shares  # after `prepare`: they import JAX

    result: dict[str, Any] = {"benchmark": "gpu", **machine.describe(), "accelerator": accelerator()}
    result["runs"] = []
    for preset in args.presets:
        for num_envs in args.num_envs:
            found = shares.measure(preset, num_envs, args.steps, args.rounds, overrides)
            result["runs"].append(found)
            print(json.dumps(found), file=sys.stderr, flush=True)
        if not args.no_start:
            middle = sorted(args.num_envs)[len(args.num_envs) // 2]
            start = {"preset": preset, "num_envs": middle, **first_update(preset, middle, overrides)}
            result.setdefault("seconds_to_first_update", []).append(start)
    machine.report(result, args.out)


def accelerator() -> dict[str, object]:
    """What JAX computes on."""
    import jax

    device = jax.local_devices()[0]
    names = ("warp-lang", "mujoco-warp")
    versions = {name: importlib.metadata.version(name) for name in names}
    return {"platform": device.platform, "kind": device.device_kind, "versions": versions}


if __name__ == "__main__":
    main()
