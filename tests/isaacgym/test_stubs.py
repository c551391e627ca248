"""Signatures: those of the double, and every call of the worker, against the public stubs of the real one."""

from __future__ import annotations

import ast
import importlib.metadata
import re
from pathlib import Path

import pytest

from bridges.isaacgym import __file__ as bridge_folder
from tests.support.isaacgym_python import DOUBLES

BACKEND = Path(bridge_folder).with_name("backend.py")


def _stub() -> ast.Module:
    """The stub, parsed; it has two members called `lambda`, which no parser takes."""
    try:
        files = importlib.metadata.files("isaacgym-stubs")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("isaacgym-stubs is not installed")
    (path,) = [file for file in files or () if file.name == "gymapi.pyi"]
    text = path.read_text()
    return ast.parse(re.sub(r"\bdef lambda\b", "def lambda_", text))


@pytest.fixture(scope="module")
def stub() -> dict[str, ast.ClassDef]:
    return {node.name: node for node in _stub().body if isinstance(node, ast.ClassDef)}


@pytest.fixture(scope="module")
def names() -> set[str]:
    """Of the module."""
    found = set()
    for node in _stub().body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def methods(node: ast.ClassDef) -> dict[str, list[ast.arguments]]:
    """Name -> the parameters of each overload, self apart."""
    found: dict[str, list[ast.arguments]] = {}
    for child in node.body:
        if isinstance(child, ast.FunctionDef):
            found.setdefault(child.name, []).append(child.args)
    return found


def attributes(node: ast.ClassDef) -> set[str]:
    fields = {
        c.target.id for c in node.body if isinstance(c, ast.AnnAssign) and isinstance(c.target, ast.Name)
    }
    return fields | set(methods(node))


def fits(args: ast.arguments, count: int, keywords: set[str]) -> bool:
    names = [arg.arg for arg in args.args][1:]
    if args.vararg:
        return True
    needed = len(names) - len(args.defaults)
    given = set(names[:count]) | keywords
    return count <= len(names) and keywords <= set(names) and set(names[:needed]) <= given


def test_every_method_of_the_double_is_in_the_stub_with_the_same_parameters(stub: dict[str, ast.ClassDef]):
    real = methods(stub["Gym"])
    files = ((DOUBLES / "isaacgym" / name).read_text() for name in ("_gym.py", "_tensors.py"))
    classes = [node for text in files for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    ours = [methods(node) for node in classes if node.name in ("Gym", "Tensors")]
    checked = 0
    for name, (args,) in (item for found in ours for item in found.items()):
        if name.startswith("_"):
            continue
        assert name in real
        wanted = real[name][0]
        if not wanted.vararg:
            assert [a.arg for a in args.args] == [a.arg for a in wanted.args], name
            assert len(args.defaults) == len(wanted.defaults), name
        checked += 1
    assert checked > 25


def test_every_record_of_the_double_has_attributes_of_the_stub_only(stub: dict[str, ast.ClassDef]):
    double = ast.parse((DOUBLES / "isaacgym" / "gymapi.py").read_text())
    checked = 0
    for node in double.body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        for child in node.body:
            if isinstance(child, ast.Assign) and isinstance(child.value, ast.Dict):
                keys = {ast.literal_eval(key) for key in child.value.keys if key is not None}
                assert keys <= attributes(stub[node.name]), node.name
                checked += 1
            elif isinstance(child, ast.Assign) and isinstance(child.targets[0], ast.Name):
                assert child.targets[0].id in attributes(stub[node.name])
    assert checked >= 7


def test_every_call_of_the_worker_is_in_the_stub(stub: dict[str, ast.ClassDef], names: set[str]):
    """By name, number of arguments and keywords; IsaacGym itself need not be there for that."""
    real, called = methods(stub["Gym"]), set()
    for node in ast.walk(ast.parse(BACKEND.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner = ast.unparse(node.func.value)
        if owner in ("gym", "self._gym"):
            name = node.func.attr
            assert name in real, f"line {node.lineno}: {name}"
            keywords = {keyword.arg for keyword in node.keywords if keyword.arg}
            assert any(fits(args, len(node.args), keywords) for args in real[name]), (
                f"line {node.lineno}: {name}"
            )
            called.add(name)
    assert len(called) > 20
    for node in ast.walk(ast.parse(BACKEND.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "gymapi":
            assert node.attr in names, f"line {node.lineno}: gymapi.{node.attr}"


@pytest.mark.parametrize(
    ("variable", "record"),
    [
        ("params", "SimParams"),
        ("params.physx", "PhysXParams"),
        ("plane", "PlaneParams"),
        ("mesh", "TriangleMeshParams"),
        ("options", "AssetOptions"),
        ("shape", "RigidShapeProperties"),
        ("descriptor", "Tensor"),
        ("bodies[at]", "RigidBodyProperties"),
    ],
)
def test_every_attribute_that_the_worker_sets_is_in_the_stub(
    stub: dict[str, ast.ClassDef], variable: str, record: str
):
    found = set()
    for node in ast.walk(ast.parse(BACKEND.read_text())):
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            for leaf in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(leaf, ast.Attribute) and ast.unparse(leaf.value) == variable:
                    found.add(leaf.attr)
    assert found and found <= attributes(stub[record])
