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

_CONFIG = ("holosoma_jax.config",)
_ROBOTS = ("holosoma_jax.robots", *_CONFIG)
ALLOWED: dict[str, tuple[str, ...]] = {
    "holosoma_jax.config": _CONFIG,
    "holosoma_jax.robots": _ROBOTS,
    "holosoma_jax.learn": ("holosoma_jax.learn", *_CONFIG),
    "bridges": ("bridges", *_ROBOTS),
    "holosoma_jax.envs": ("holosoma_jax.envs", "bridges.protocol", *_ROBOTS),
    "holosoma_jax.io": ("holosoma_jax.io", "holosoma_jax.envs.env", "bridges.protocol", *_ROBOTS),
}
"""Folder -> the modules of ours that it may import; `loop` and the commands may import all folders."""

LAZY = {("holosoma_jax.config", "holosoma_jax.envs.terms.registry")}
"""Further imports, inside functions only: a config is checked against the terms once it is read."""

SIMULATORS = frozenset({"mujoco_warp", "warp", "torch", "isaacgym", "isaacsim", "isaaclab", "omni"})
"""Vendor packages; design: the bridges are the only place that imports them."""
OPTIONAL = SIMULATORS | {"wandb", "tensorboardX"}
"""Packages of extras: imported inside functions, so that their absence costs only their feature."""
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


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """What `module` with this source imports against the rules, one sentence each."""
    found = []
    folder = next((f for f in ALLOWED if _within(module, f)), None)
    for name, line, eager in _imports(source, module, is_package):
        top, where = name.split(".")[0], f"{module}:{line} imports {name}"
        if top in OURS:
            parts = name.split(".")
            if top == "holosoma_jax" and len(parts) > 1 and parts[1] in COMMANDS:
                found.append(f"{where}: nothing imports a command module")
            elif name == "holosoma_jax.__version__" or (not eager and (folder, name) in LAZY):
                continue
            elif folder and not any(_within(name, allowed) for allowed in ALLOWED[folder]):
                found.append(f"{where}: {folder} may import {', '.join(ALLOWED[folder])} only")
        elif top in SIMULATORS and not _within(module, "bridges"):
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
        ("holosoma_jax.learn.ppo", "from ..loop import rollout"),
        ("holosoma_jax.learn.ppo", "def f():\n    from bridges import protocol"),
        ("holosoma_jax.envs.locomotion", "from bridges.mujoco import make"),
        ("holosoma_jax.envs.locomotion", "import bridges"),
        ("holosoma_jax.envs.locomotion", "import mujoco"),
        ("bridges.mujoco", "from holosoma_jax.envs import env"),
        ("holosoma_jax.io.video", "from holosoma_jax.loop.rollout import collect"),
        ("holosoma_jax.loop.on_policy", "from holosoma_jax import train"),
        ("holosoma_jax.loop.on_policy", "import torch"),
        ("holosoma_jax.io.loggers", "import wandb"),
        ("holosoma_jax.config.validate", "from holosoma_jax.envs.terms import registry"),
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
        ("holosoma_jax.envs.locomotion", "from bridges.protocol import SimState"),
        ("holosoma_jax.loop.on_policy", "import bridges\nfrom holosoma_jax.learn import ppo"),
        ("holosoma_jax.io.loggers", "def open_wandb():\n    import wandb"),
        ("holosoma_jax.io.loggers", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import wandb"),
        ("bridges.mjwarp", "import warp"),
        ("holosoma_jax.config.validate", "def f():\n    from holosoma_jax.envs.terms import registry"),
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
        ("bridges", "mujoco_warp warp torch"),
    ],
)
def test_import_stays_light(module: str, absent: str) -> None:
    code = f"import sys, {module}; print(*({set(absent.split())!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
