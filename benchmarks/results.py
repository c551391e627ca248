"""Make docs/results.md, with its pictures, from runs and from the policies of the package.

    python -m benchmarks.results curves "FastSAC, CPU preset" --command exp:g1-29dof-fast-sac-cpu RUN1 RUN2 RUN3
    python -m benchmarks.results policies --num-envs 64 --physics g1-29dof=FOLDER
    python -m benchmarks.results page

`curves` draws the learning curves of runs that differ in the seed; `--command` is what `train` was given but for the
seed, and has to lead to the config that the runs have. A title that is there already is replaced.
`policies` evaluates every shipped policy (or `--only NAME ...`) in every simulator that is installed and as its
exported ONNX file. With `--physics NAME=FOLDER` it does so on another model of the robot, too: a folder with robot.yaml
and the MJCF of the real robot with its meshes and contacts. It draws the tracking plot, and films the policy.
What they find is kept in docs/results.json; `page` writes the page from it, as the other two do at their end. MJWarp
without a GPU takes many times as long as MuJoCo: `--simulators mujoco` leaves the others out, and without `mujoco`
there is one row the more: `policies --only g1-29dof --simulators isaacsim --num-envs 16`. `--simulators` with no name
leaves `--physics` alone.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import curves, gif, results_page
from benchmarks.machine import describe
from benchmarks.ship import require_command, score
from bridges import require
from holosoma_jax import runtime
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.runs import pretrained

ROOT = Path(__file__).resolve().parents[1]
DATA, PAGE, IMAGES = ROOT / "docs/results.json", ROOT / "docs/results.md", ROOT / "docs/images"
SIMULATORS = ("mujoco", "mjwarp", "isaacsim")
LABELS = {"isaacsim": "Isaac Lab (Newton)"}
"""Rows of the page that are not called as the simulator is."""
OPTIONS = {"isaacsim": ("--simulator.config.sim.fps=200", "--simulator.config.sim.control-decimation=4")}
"""`pretrained:g1-29dof` is from 100 Hz, where its PD control is unstable there (`bridges.pd_stability`)."""
WALK = ("0.6", "0", "0")
"""m/s, m/s, rad/s of the film"""
FILM_S = 8
"""s; the GIF leaves out the first of them"""


def read() -> dict[str, Any]:
    """What is known so far."""
    return json.loads(DATA.read_text()) if DATA.exists() else {"curves": {}, "policies": {}}


def write(data: dict[str, Any]) -> None:
    """Keep what is known, and write the page of it."""
    DATA.write_text(json.dumps(data, indent=1) + "\n")
    PAGE.write_text(results_page.page(data))
    print(f"written to {PAGE}")


def add_curves(data: dict[str, Any], title: str, command: str, runs: Sequence[Path]) -> None:
    """Draw the band of `runs`, which `command` trains, under `title`."""
    picture = IMAGES / f"results-{results_page.slug(title)}.png"
    curves.draw({title: runs}, picture)
    configs = [compose.to_mapping(compose.load(["--config", str(run / "config.yaml")])) for run in runs]
    seeds = [config["training"]["seed"] for config in configs]
    for run, config, seed in zip(runs, configs, seeds, strict=True):
        require_command(f"{command} --training.seed {seed}", config, run)
    data["curves"][title] = {
        "picture": picture.name,
        "seeds": seeds,
        "command": command,
        **describe(),
    }


def installed(name: str) -> bool:
    """Whether simulator `name` runs here."""
    try:
        require(compose.load(["exp:g1-29dof", f"simulator:{name}"]).simulator)
    except ConfigError:
        return False
    return True


def add_policy(
    data: dict[str, Any], name: str, simulators: Sequence[str], physics: Sequence[str], num_envs: int
) -> None:
    """Everything about one shipped policy; what is known of other simulators stays."""
    record = json.loads((pretrained.folder() / name / pretrained.RECORD).read_text())
    policy, sweep = f"{pretrained.SCHEME}{name}", record["task"] == "locomotion"
    size = ("--training.num-envs", str(num_envs))
    known = data["policies"].get(name, {})
    places: dict[str, dict[str, Any]] = dict(known.get("places", {}))
    for simulator in simulators:
        if installed(simulator):
            print(f"{name} on {simulator} ...", flush=True)
            options = (f"simulator:{simulator}", *OPTIONS.get(simulator, ()), *size)
            places[LABELS.get(simulator, simulator)] = score(policy, "clean", sweep, options)
    for folder in physics:
        print(f"{name} on MuJoCo, {folder} ...", flush=True)
        label = f"mujoco, {Path(folder).name}"
        places[label] = score(policy, "clean", sweep, ("simulator:mujoco", "--robot.asset", folder, *size))
        places[label]["command"] = places[label]["command"].replace(folder, Path(folder).name)
    pictures: dict[str, str] = {}
    if "mujoco" in simulators:
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / f"{name}.onnx"
            _run("export", "--checkpoint", policy, "--output", str(file))
            places["mujoco, ONNX"] = score(str(file), "clean", sweep, ("simulator:mujoco", *size))
            places["mujoco, ONNX"]["command"] = places["mujoco, ONNX"]["command"].replace(
                str(file), file.name
            )
            pictures = _pictures(policy, name, Path(temporary), sweep, size)
    data["policies"][name] = known | {"record": record, "places": places, **pictures}


def _pictures(policy: str, name: str, folder: Path, sweep: bool, size: tuple[str, str]) -> dict[str, str]:
    """The tracking plot and the film of a policy, in docs/images; their file names."""
    argv = ["--checkpoint", policy, "simulator:mujoco"]
    if sweep:
        _run("eval", *argv, *size, "--output", str(folder / "plot"))
        argv += ["--velocity", *WALK, "--training.max-eval-steps", str(50 * FILM_S)]
    film = ["--training.num-envs", "1", "--video", "True", "--pictures", "False"]
    _run("eval", *argv, *film, "--output", str(folder / "film"))
    found = {}
    for plot in (folder / "plot").glob("*-velocity.png"):
        found["plot"] = shutil.copyfile(plot, IMAGES / f"results-{name}-velocity.png").name
    for film in (folder / "film").glob("*.mp4"):
        target = IMAGES / f"results-{name}.gif"
        gif.convert(film, target, start=1.0, seconds=FILM_S - 1.0)
        found["film"] = target.name
    return found


def _run(command: str, *argv: str) -> None:
    """A command of ours; its output is shown only if it fails."""
    line = [sys.executable, "-m", f"holosoma_jax.{command}", *argv]
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(line)}\n{done.stdout}")


def main() -> int:
    """One of the three parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    drawn = parts.add_parser("curves")
    drawn.add_argument("title")
    drawn.add_argument("--command", required=True, help="arguments of train, without the seed")
    drawn.add_argument("runs", type=Path, nargs="+")
    scored = parts.add_parser("policies")
    scored.add_argument("--only", nargs="+", default=list(pretrained.shipped()))
    scored.add_argument("--simulators", nargs="*", default=list(SIMULATORS), choices=SIMULATORS)
    scored.add_argument("--physics", action="append", default=[], metavar="NAME=FOLDER")
    scored.add_argument("--num-envs", type=int, default=64)
    parts.add_parser("page")
    args = parser.parse_args()
    return runtime.command(lambda: run(args), "interrupted: nothing was written")


def run(args: argparse.Namespace) -> int:
    """Do what the command line says."""
    data = read()
    if args.part == "curves":
        add_curves(data, args.title, args.command, args.runs)
    elif args.part == "policies":
        for name in args.only:
            pretrained.find(f"{pretrained.SCHEME}{name}", "--only")
            folders = [text.partition("=")[2] for text in args.physics if text.startswith(f"{name}=")]
            add_policy(data, name, args.simulators, folders, args.num_envs)
    write(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
