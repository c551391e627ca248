"""Note down the signatures of Isaac Lab that the worker uses, for a test that needs no Isaac Lab.

Run it with the Python that has Isaac Lab, from the repository: `PYTHONPATH=. .venv-isaaclab/bin/python -m
docs.scripts.isaaclab_signatures`. It reads `bridges/isaacsim/backend.py` and writes
`tests/isaacsim/signatures.json`. Modules of Isaac Sim, which PhysX' classes import, are replaced by empty ones.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import inspect
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
BACKEND = ROOT / "bridges" / "isaacsim" / "backend.py"
OUT = ROOT / "tests" / "isaacsim" / "signatures.json"
VENDORS = ("isaaclab", "isaaclab_newton", "isaaclab_physx", "newton", "warp")
PACKAGES = ("isaaclab", "newton", "warp-lang")
TYPES: dict[str, str] = {
    "robot": "{engine}.assets.articulation.articulation.Articulation",
    "robot.data": "{engine}.assets.articulation.articulation_data.ArticulationData",
    "robot.actuators": "isaaclab.actuators.actuator_collection.ActuatorCollection",
    "contact": "{engine}.sensors.contact_sensor.contact_sensor.ContactSensor",
    "contact.data": "{engine}.sensors.contact_sensor.contact_sensor_data.ContactSensorData",
    "scene": "isaaclab.scene.InteractiveScene",
    "sim": "isaaclab.sim.SimulationContext",
}
"""What an expression in the worker is, by its name without ``self._``; of each engine."""
ENGINES = ("isaaclab_newton", "isaaclab_physx")
ONLY = {
    "robot.data.body_com_pos_b": "isaaclab_newton",
    "robot.data.body_com_pose_b": "isaaclab_physx",
    "contact.body_names": "isaaclab_physx",
    "contact.sensor_names": "isaaclab_newton",
}
"""Members that the worker reads with one engine only."""
LOCALS = {"data": "robot.data", "built": "scene"}
"""Local names of the same things."""


class Use(NamedTuple):
    """A place where the worker uses something of Isaac Lab."""

    line: int
    name: str
    """dotted name, as in the file's imports or below a key of `TYPES`"""
    arguments: tuple[int, frozenset[str]] | None
    """of a call: the number of positional ones, and keywords; None: it is not called, or with `**`"""


def uses(source: str) -> list[Use]:
    """Everything of Isaac Lab that `source` uses, in the order of the file."""
    tree = ast.parse(source)
    names = dict(_imported(tree))
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            name = _resolve(ast.unparse(node), names)
            if name:
                found.append(Use(node.lineno, name, _arguments(calls.get(id(node)))))
    return sorted(found, key=lambda use: use.line)


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in VENDORS:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)
        if isinstance(node, ast.Import):
            yield from ((a.asname or a.name, a.name) for a in node.names if a.name.split(".")[0] in VENDORS)


def _resolve(text: str, names: dict[str, str]) -> str:
    """The dotted name of an expression, '' if it is not of Isaac Lab."""
    text = text.removeprefix("self._")
    head, _, rest = text.partition(".")
    if head in LOCALS:
        text = f"{LOCALS[head]}.{rest}" if rest else LOCALS[head]
    if head in names:
        return names[head] + (f".{rest}" if rest else "")
    for key in sorted(TYPES, key=len, reverse=True):
        if text.startswith(key + ".") and text.count(".") == key.count(".") + 1:
            return text
    return ""


def _arguments(call: ast.Call | None) -> tuple[int, frozenset[str]] | None:
    if call is None or any(keyword.arg is None for keyword in call.keywords):
        return None
    return len(call.args), frozenset(keyword.arg for keyword in call.keywords if keyword.arg)


def signatures() -> dict[str, Any]:
    """Versions, and name -> engine -> parameters (None: not callable) of what the worker uses.

    A parameter is its name, after ``*`` if it must be given by keyword, before ``=`` if it may be left out.
    """
    names = sorted({use.name for use in uses(BACKEND.read_text())})
    return {
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "names": {name: _looked_up(name) for name in names},
    }


def _looked_up(name: str) -> dict[str, Any]:
    owner, _, member = name.rpartition(".")
    if owner not in TYPES:
        return {"": _parameters(_object(name))}
    engines = [engine for engine in ENGINES if ONLY.get(name, engine) == engine]
    return {engine: _parameters(_member(TYPES[owner].format(engine=engine), member)) for engine in engines}


def _member(path: str, member: str) -> Any:
    """A member of a class, None if its instances have it only; raises AttributeError if they do not."""
    if hasattr(_object(path), member):
        return getattr(_object(path), member)
    source = "".join(inspect.getsource(c) for c in _object(path).__mro__ if c is not object)
    if f"self.{member}" not in source and f"{member}:" not in source:
        raise AttributeError(f"{path} has no {member}")
    return None


def _object(name: str) -> Any:
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def _parameters(what: Any) -> list[str] | None:
    if not callable(what) or isinstance(what, property):
        return None
    return [
        ("*" if p.kind is p.KEYWORD_ONLY else "") + name + ("" if p.default is p.empty else "=")
        for name, p in inspect.signature(what).parameters.items()
        if name != "self"
    ]


class _EmptyModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules of Isaac Sim where there is none."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        """See `importlib`."""
        empty = fullname.split(".")[0] in ("carb", "omni", "isaacsim", "usdrt")
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if empty else None

    def create_module(self, spec: Any) -> Any:
        """See `importlib`."""
        module = mock.MagicMock(name=spec.name)
        module.__path__, module.__spec__ = [], spec
        return module

    def exec_module(self, module: Any) -> None:
        """See `importlib`."""


if __name__ == "__main__":
    sys.meta_path.append(_EmptyModules())
    warnings.simplefilter("ignore")
    result = signatures()
    lines = [f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in result["names"].items()]
    versions = json.dumps(result["versions"])
    OUT.write_text('{\n  "versions": ' + versions + ',\n  "names": {\n' + ",\n".join(lines) + "\n  }\n}\n")
    print(f"{OUT}: {len(lines)} names")
