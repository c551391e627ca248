"""Imports point one way, and heavy or optional packages are loaded only by who uses them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("holosoma_jax", "bridges")
COMMANDS = frozenset({"train", "eval", "replay", "export", "doctor"})
"""Modules of `holosoma_jax` that are commands; nothing imports them."""

BASE = (
    "config",
    "files",
    "machine",
    "memory",
    "mujoco_import",
    "opengl",
    "rotations",
    "runtime",
    "signals",
    "terminal",
)
"""What every room may use: the configuration, and modules without knowledge of the rest."""
ROOMS: dict[str, tuple[str, ...]] = {
    "config": (),
    "files": (),
    "machine": (),
    "memory": (),
    "mujoco_import": (),
    "opengl": (),
    "rotations": (),
    "runtime": (),
    "signals": (),
    "terminal": (),
    "robots": (),
    "motion": ("robots", "bridges.protocol"),
    "learn": (),
    "bridges": ("robots",),
    "envs": ("robots", "motion", "bridges.protocol"),
    "parallel": (),
    "rollout": ("learn", "envs", "bridges.protocol", "parallel"),
    "loggers": (),
    "runs": ("robots", "loggers", "parallel"),
    "render": ("robots", "bridges.protocol"),
    "experiment": ("robots", "motion", "learn", "envs", "bridges", "parallel", "render"),
    "policy": ("robots", "motion", "learn", "envs", "bridges.protocol", "loggers", "runs", "experiment"),
    "viewer": ("robots", "motion", "envs.terrain", "bridges.protocol", "parallel", "render", "experiment"),
    "training": (
        "robots", "learn", "envs", "bridges", "parallel", "rollout", "loggers", "runs", "render", "experiment",
        "policy", "viewer",
    ),
    "evaluation": (
        "robots", "motion", "envs", "bridges.protocol", "rollout", "render", "experiment", "policy", "viewer",
    ),
    "diagnostics": ("bridges", "loggers", "render", "experiment"),
}  # fmt: skip
"""Room -> the rooms whose modules it may import, beside its own and `BASE`; commands may import all."""

LAZY = {
    ("config", "holosoma_jax.envs.terms.registry"),  # a config is checked against the terms once it is read
}
"""Further imports, inside functions only."""

SIMULATORS = frozenset({"mujoco_warp", "warp", "torch", "isaacgym", "isaacsim", "isaaclab", "omni"})
"""Vendor packages; design: the bridges are the only place that imports them."""
OPTIONAL = SIMULATORS | {"wandb", "tensorboardX"}
"""Packages of extras: imported inside functions, so that their absence costs only their feature."""
POLICY_RUNTIMES = {("holosoma_jax.policy.foreign.torchscript", "torch")}
"""Module, package: what runs a policy file is no simulator."""
PHYSICS_FREE = ("holosoma_jax.learn", "holosoma_jax.envs", "holosoma_jax.config")
"""Pure functions, which no simulator may enter at all."""


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _imports(source: str, module: str, is_package: bool) -> Iterator[tuple[str, int, bool]]:
    """(absolute name, line, at top level) of everything that `source` imports when it runs."""
    tree = ast.parse(source)
    package = module.split(".") if is_package else module.split(".")[:-1]
    lazy, unread = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            lazy.update(ast.walk(node))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            unread.update(child for statement in node.body for child in ast.walk(statement))
    for node in ast.walk(tree):
        if node in unread:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            # `from a import b` may name the module a.b; it is listed as that, which is never laxer
            names = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, node.lineno, node not in lazy) for name in names)


def _module(room: str) -> str:
    """The dotted name of a room."""
    return room if _within(room, "bridges") else f"holosoma_jax.{room}"


def _room(module: str) -> str | None:
    """The room that `module` lies in; None for commands and the package itself."""
    if module.endswith(".__main__"):  # the command of a room that people call by the room's name
        return None
    return next((room for room in ROOMS if _within(module, _module(room))), None)


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """What `module` with this source imports against the rules, one sentence each."""
    found = []
    room = _room(module)
    for name, line, eager in _imports(source, module, is_package):
        top, where = name.split(".")[0], f"{module}:{line} imports {name}"
        if top in OURS:
            parts = name.split(".")
            lazy = not eager and any(room == r and _within(name, module_) for r, module_ in LAZY)
            if top == "holosoma_jax" and len(parts) > 1 and parts[1] in COMMANDS:
                found.append(f"{where}: nothing imports a command module")
            elif name == "holosoma_jax.__version__" or room is None or lazy:
                continue
            elif not any(_within(name, _module(allowed)) for allowed in (room, *BASE, *ROOMS[room])):
                found.append(f"{where}: {room} may import {', '.join((*BASE, *ROOMS[room]))} only")
        elif top in SIMULATORS and not _within(module, "bridges") and (module, top) not in POLICY_RUNTIMES:
            found.append(f"{where}: simulators belong in bridges")
        elif top in OPTIONAL and eager and not _within(module, "bridges"):
            found.append(f"{where}: import it inside the function that needs it")
        elif top == "mujoco" and any(_within(module, f) for f in PHYSICS_FREE):
            found.append(f"{where}: this folder holds pure functions, without a simulator")
    return found


def _modules() -> list[tuple[str, Path]]:
    files = sorted(path for top in OURS for path in (ROOT / top).rglob("*.py"))
    return [(".".join(path.relative_to(ROOT).with_suffix("").parts), path) for path in files]


@pytest.mark.parametrize(("module", "path"), _modules(), ids=lambda v: v if isinstance(v, str) else "")
def test_module_keeps_the_rules(module: str, path: Path) -> None:
    is_package = path.name == "__init__.py"
    name = module.removesuffix(".__init__")
    assert violations(path.read_text(), name, is_package) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("holosoma_jax.learn.ppo", "import holosoma_jax.envs.env"),
        ("holosoma_jax.learn.ppo", "from .. import rollout"),
        ("holosoma_jax.learn.ppo", "def f():\n    from bridges import protocol"),
        ("holosoma_jax.envs.step", "from bridges.mujoco import make"),
        ("holosoma_jax.envs.step", "import bridges"),
        ("holosoma_jax.envs.step", "import mujoco"),
        ("bridges.mujoco", "from holosoma_jax.envs import env"),
        ("holosoma_jax.render.video", "from holosoma_jax.rollout.stepped import Stepped"),
        ("holosoma_jax.training.loop", "from holosoma_jax import train"),
        ("holosoma_jax.training.session", "from holosoma_jax.evaluation import evaluate"),
        ("holosoma_jax.evaluation.session", "from holosoma_jax.training import loop"),
        ("holosoma_jax.viewer.session", "from holosoma_jax.training import loop"),
        ("holosoma_jax.rollout.metrics", "from holosoma_jax.runs import checkpoint"),
        ("holosoma_jax.training.loop", "import torch"),
        ("holosoma_jax.loggers.sinks", "import wandb"),
        ("holosoma_jax.config.validation.validate", "from holosoma_jax.envs.terms import registry"),
    ],
)
def test_rules_catch(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "holosoma_jax.learn.ppo",
            "from . import networks\nfrom ..config.schema import PpoConfig",
        ),
        ("holosoma_jax.envs.step", "from bridges.protocol import SimState"),
        ("holosoma_jax.training.loop", "import bridges\nfrom holosoma_jax.learn import ppo"),
        ("holosoma_jax.loggers.sinks", "def open_wandb():\n    import wandb"),
        (
            "holosoma_jax.loggers.sinks",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import wandb",
        ),
        ("bridges.mjwarp", "import warp"),
        (
            "holosoma_jax.config.validation.validate",
            "def f():\n    from holosoma_jax.envs.terms import registry",
        ),
    ],
)
def test_rules_allow(module: str, source: str) -> None:
    assert violations(source, module) == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("holosoma_jax", "jax numpy mujoco"),
        ("holosoma_jax.config.schema", "jax mujoco"),
        ("bridges.protocol", "jax mujoco"),
        ("holosoma_jax.motion.__main__", "jax mujoco"),
        ("bridges", "mujoco_warp warp torch"),
    ],
)
def test_import_stays_light(module: str, absent: str) -> None:
    code = f"import sys, {module}; print(*({set(absent.split())!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
