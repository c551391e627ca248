"""The doctor command: facts about the machine as tables or as JSON, and what to do about them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.config.schema.commands import DoctorArgs
from holosoma_jax.diagnostics import diagnosis
from holosoma_jax.terminal import messages_to

FACTS = ("versions", "machine", "nvidia", "devices", "extras", "simulators", "mujoco_gl", "opengl")
"""Functions of `diagnosis`, in the order of their calls."""


def run(args: DoctorArgs, conformance: Config | None = None) -> int:
    """Ask, print, and return the exit code: 1 if the smoke run or the conformance failed, or MuJoCo cannot be
    imported.

    Args:
      args: the flags.
      conformance: check the bridge to this config's simulator, and nothing else.

    Raises:
      ConfigError: that simulator is not available.
    """
    console = Console(highlight=False)
    quiet = args.json or not console.is_terminal
    if conformance is not None:
        with messages_to(_to_stderr):  # standard output may be read by a program
            return _conformance(conformance, console, as_json=args.json, report=args.report)
    found: dict[str, Any] = {}
    for name in (*FACTS, *(["smoke"] if args.smoke else [])):
        label = "training for three iterations" if name == "smoke" else name
        with nullcontext() if quiet else console.status(f"looking at {label} ..."):
            found[name] = getattr(diagnosis, name)()
    found["advice"] = diagnosis.advice(found)
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        _show(found, console)
    return int(found["mujoco_gl"] is not None or (args.smoke and not found["smoke"]["ok"]))


def _show(found: Mapping[str, Any], console: Console) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for heading, rows in (
        ("versions", [(name, Text(text or "missing")) for name, text in found["versions"].items()]),
        ("machine", _machine(found["machine"], found["nvidia"])),
        ("devices", [_device(device) for device in found["devices"]]),
        ("extras", [_extra(name, packages) for name, packages in found["extras"].items()]),
        ("simulators", [_simulator(name, facts) for name, facts in found["simulators"].items()]),
        ("OpenGL", _opengl(found["mujoco_gl"], found["opengl"])),
        ("smoke run", _smoke(found.get("smoke"))),
    ):
        for i, (name, text) in enumerate(rows):
            table.add_row(heading if i == 0 else "", name, text)
        table.add_row()
    console.print(table)
    if not found["advice"]:
        console.print(Text("Nothing to fix. Start: python -m holosoma_jax.train exp:g1-29dof-cpu"))
    for sentence in found["advice"]:
        console.print(Text(f"- {sentence}"), soft_wrap=True)


def _machine(facts: Mapping[str, Any], gpu: str | None) -> list[tuple[str, Text]]:
    memory = f"{_gigabytes(facts['memory_available_bytes'])} of {_gigabytes(facts['memory_bytes'])} free"
    return [
        ("cores", Text(str(facts["cores"]))),
        ("memory", Text(memory)),
        ("disk", Text(f"{_gigabytes(facts['disk_free_bytes'])} free here")),
        ("NVIDIA driver", Text(gpu or "none")),
    ]


def _device(device: Mapping[str, Any]) -> tuple[str, Text]:
    memory = device["memory_bytes"]
    return f"{device['platform']}:{device['id']}", Text(
        device["kind"] + (f", {_gigabytes(memory)} for JAX" if memory else "")
    )


def _extra(name: str, packages: Mapping[str, str]) -> tuple[str, Text]:
    missing = [package for package, version in packages.items() if not version]
    there = ", ".join(f"{package} {version}" for package, version in packages.items() if version)
    return name, _verdict(not missing, there, f"no {', '.join(missing)}: pip install 'holosoma-jax[{name}]'")


def _simulator(name: str, facts: Mapping[str, Any]) -> tuple[str, Text]:
    if not facts["bridge"]:
        state = "installed" if facts["installed"] else "not installed"
        return name, _verdict(False, "", f"{state}; this version has no bridge to it")
    ready = "ready"
    if facts["not_run"]:
        post = f"please post doctor --conformance simulator:{name} --report FILE"
        ready += f"; this project has not tried {facts['not_run']}: {post}"
    return name, _verdict(facts["installed"], ready, f"not installed: {facts['from']}")


def _opengl(unusable: str | None, backends: Mapping[str, str | None]) -> list[tuple[str, Text]]:
    rows = [(name, _verdict(why is None, "draws", why)) for name, why in backends.items()]
    return rows if unusable is None else [("MUJOCO_GL", _verdict(False, "", unusable)), *rows]


def _smoke(facts: Mapping[str, Any] | None) -> list[tuple[str, Text]]:
    if facts is None:
        return [("training", Text("left out"))]
    if not facts["ok"]:
        return [("training", _verdict(False, "", str(facts["error"])))]
    text = f"3 iterations of 16 robots in {facts['seconds']:.1f} s, start-up and compilation included"
    return [
        ("training", _verdict(True, text, None)),
        (
            "speed",
            Text(
                f"{facts['env_steps_per_s']:,.0f} env steps/s, compiled with few optimisations; training is faster"
            ),
        ),
    ]


def _verdict(good: bool, text: str, otherwise: str | None) -> Text:
    if good:
        return Text.assemble(("ok  ", "green"), text)
    return Text.assemble(("--  ", "yellow"), otherwise or "")


def _gigabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e9:.1f} GB"


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _conformance(cfg: Config, console: Console, *, as_json: bool, report: str | None) -> int:
    """Compare the bridge to a simulator with closed forms and with plain MuJoCo."""
    if report is not None and not Path(report).absolute().parent.is_dir():
        raise ConfigError(
            f"--report: got '{report}'; the folder {Path(report).absolute().parent} does not exist."
        )
    try:
        from bridges import conformance
        from bridges.protocol import Remote
    except ImportError as error:
        raise ConfigError(f"--conformance: not part of this installation ({error}).") from None
    with conformance.started(cfg) as subject:
        worker = dict(subject.bridge.versions) if isinstance(subject.bridge, Remote) else None
        results = [result for checked in conformance.each(subject) for result in checked]
    failed = [result for result in results if not result.passed]
    rows = [
        {
            "check": r.check,
            "quantity": r.quantity,
            "measured": r.measured if math.isfinite(r.measured) else None,
            "wanted": r.wanted,
            "tolerance": r.tolerance,
            "unit": r.unit,
            "passed": r.passed,
        }
        for r in results
    ]
    document = {
        "simulator": cfg.simulator.name,
        "versions": diagnosis.versions(),
        "worker": worker,
        "results": rows,
    }
    if report is not None:
        settings = compose.to_mapping(cfg.simulator)["config"]
        del settings["remote"]  # a path of this machine
        about = {
            "robot": Path(cfg.robot.asset).name,
            "settings": settings,
            "machine": diagnosis.machine(),
            "nvidia": diagnosis.nvidia(),
        }
        Path(report).write_text(json.dumps(document | about, indent=1) + "\n")
    if as_json:
        print(json.dumps(document, indent=1))
    else:
        for result in results:
            console.print(Text(str(result), style="" if result.passed else "red"), soft_wrap=True)
        if worker is not None:
            console.print(
                Text(f"Versions in the worker: {', '.join(map(' '.join, worker.items()))}."), soft_wrap=True
            )
        console.print(Text(f"{len(results) - len(failed)} of {len(results)} checks passed.", style="bold"))
    return int(bool(failed))
