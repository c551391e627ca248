"""Make a run's policy part of the package, with a record of how it was trained and what it scores.

    python -m benchmarks.ship RUN g1-29dof --command "exp:g1-29dof-fast-sac-cpu --training.seed 1" --commit abc1234

Writes ``holosoma_jax/pretrained/NAME``: the policy alone (``runs/policy_only.py``), and ``record.json``: command,
commit, seed, samples, duration, and the scores of ``eval`` in each of its modes. `--command` is what `train` was given;
it has to lead to the config that the run has, up to where the run was written. From the records `benchmarks.results`
makes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from holosoma_jax import runtime
from holosoma_jax.config import compose, keys
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.config.trust import Saved
from holosoma_jax.loggers.jsonl import read_metrics
from holosoma_jax.policy import stripping
from holosoma_jax.runs import checkpoint, pretrained, run_dir, saved_steps

MODES = ("clean", "train_like", "stress")
LARGEST = 1_000_000
"""bytes of a policy's folder"""
FREE = {
    "training": dict.fromkeys(
        ("checkpoint", "warm_start", "project", "name", "keep_checkpoints", "keep_every", "output_dir", "headless",
         "export_onnx")
    ),
    "algo": {"config": {"save_interval": None, "logging_interval": None}},
    "logger": None,
    "viewer": None,
}  # fmt: skip
"""Keys of the config that do not change what is learned."""


def command_config(command: str) -> Mapping[str, Any]:
    """The config that `command`, the arguments of `train`, leads to."""
    return compose.to_mapping(compose.load(shlex.split(command)))


def differences(one: Any, two: Any, key: str = "") -> Iterator[str]:
    """'key: value in one, value in two' for every leaf in which two configs differ."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        for name in [*one, *(name for name in two if name not in one)]:
            yield from differences(one.get(name), two.get(name), f"{key}.{name}" if key else name)
    elif one != two:
        yield f"{key}: {one!r:.60} by the command, {two!r:.60} in the run"


def require_command(command: str, trained: Mapping[str, Any], path: Path) -> None:
    """Raise ConfigError unless `command` trains what the config `trained` says."""
    given, wanted = (
        json.loads(json.dumps(keys.overlay(config, FREE))) for config in (command_config(command), trained)
    )
    for difference in differences(given, wanted):
        raise ConfigError(f"--command: does not train what {path} holds. {difference}.")


def samples(run: Path, step: int) -> int | None:
    """Environment steps of the run `run` up to iteration `step`; None where its log does not say."""
    file = run / "metrics.jsonl"
    rows = read_metrics(file) if file.exists() else []
    counts = [
        int(row["Train/num_samples"]) for row in rows if row["step"] <= step and "Train/num_samples" in row
    ]
    return counts[-1] if counts else None


def score(checkpoint_name: str, mode: str, sweep: bool, arguments: tuple[str, ...] = ()) -> dict[str, Any]:
    """What ``eval`` finds, and the command of it."""
    command = ["--checkpoint", checkpoint_name, "--mode", mode, *(["--commands", "sweep"] if sweep else [])]
    command += arguments
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-m", "holosoma_jax.eval", *command, "--pictures", "False", "--output", folder]
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
        (file,) = Path(folder).glob("*.json")
        found = json.loads(file.read_text())
    return {"command": f"python -m holosoma_jax.eval {shlex.join(command)}", **found}


def main() -> int:
    """Strip, score, record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="a run's folder, or one of its checkpoints/<step>")
    parser.add_argument("name", help="of the policy: pretrained:NAME")
    parser.add_argument(
        "--command", required=True, action="append", help="arguments of train; repeat it for a chain of runs"
    )
    parser.add_argument(
        "--commit", default=describe()["commit"], help="that it was trained at; default: this one"
    )
    parser.add_argument("--num-envs", type=int, default=64, help="robots of each evaluation")
    parser.add_argument("--replace", action="store_true", help="a policy of that name may be there")
    args = parser.parse_args()
    chosen = args.run, args.name, tuple(args.command), args.commit, args.num_envs
    return runtime.command(lambda: ship(*chosen, replace=args.replace), "interrupted")


def ship(
    run: str, name: str, commands: tuple[str, ...], commit: str, num_envs: int = 64, *, replace: bool = False
) -> int:
    """See the module.

    Raises:
      ConfigError: the command is not that of the run, the policy is too large, or its name is taken.
    """
    path = saved_steps.resolve(run, "RUN")
    if path is None:
        raise ConfigError(f"{run} has saved no checkpoint yet.")
    meta = checkpoint.read_meta(path)
    require_command(commands[-1], meta.config, path)
    target = pretrained.folder() / name
    if target.exists() and not replace:
        raise ConfigError(f"{target} is there already; give --replace.")
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / name
        stripping.strip(str(path), stripped)
        num_bytes = sum(file.stat().st_size for file in stripped.rglob("*") if file.is_file())
        if num_bytes > LARGEST:
            raise ConfigError(f"{name}: {num_bytes} bytes, wanted at most {LARGEST}; train a smaller actor.")
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(stripped, target)
    cfg: Config = compose.from_mapping(Saved(meta.config, path), str(path))
    sweep, size = cfg.task == "locomotion", ("--training.num-envs", str(num_envs))
    record = {
        "name": name,
        "commands": [f"python -m holosoma_jax.train {command}" for command in commands],
        "commit": commit,
        "robot": meta.robot,
        "learner": cfg.algo.name,
        "task": cfg.task,
        "seed": meta.seed,
        "iterations": meta.step,
        "samples": samples(run_dir.of(path.parent).path, meta.step),
        "training_s": round(meta.elapsed_s, 1),
        "holosoma_jax_version": meta.version,
        "bytes": num_bytes,
        **{key: value for key, value in describe().items() if key != "commit"},
        "scores": {mode: score(f"{pretrained.SCHEME}{name}", mode, sweep, size) for mode in MODES},
    }
    (target / pretrained.RECORD).write_text(json.dumps(record, indent=1) + "\n")
    print(f"{target}: {num_bytes / 1e6:.2f} MB")
    for mode, found in record["scores"].items():
        print(f"  {mode:<10} survival {found['scores']['survival_rate']:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
