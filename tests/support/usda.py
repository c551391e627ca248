"""A reader of USD text as `holosoma_jax.robots.usd` writes it: one prim, attribute or bracket a line."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Prim:
    """One prim: what it is, its attributes by name, and the prims below it by name."""

    kind: str
    schemas: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    children: dict[str, Prim] = field(default_factory=dict)

    def with_schema(self, name: str) -> dict[str, Prim]:
        """Direct children that have the API schema `name`."""
        return {key: prim for key, prim in self.children.items() if name in prim.schemas}


def read(text: str) -> Prim:
    """The prim at the top."""
    lines = iter(text.splitlines())
    return next(iter(_body(lines).children.values()))


def _body(lines: Any) -> Prim:
    """What is in a prim's braces, up to the closing one or the end."""
    found, last = Prim(""), Prim("")
    for line in map(str.strip, lines):
        if head := re.fullmatch(r'def (\w+) "(\w+)"', line):
            last = Prim(head[1])
            assert head[2] not in found.children, f"two prims {head[2]}"
            found.children[head[2]] = last
        elif line.startswith("prepend apiSchemas = "):
            last.schemas = ast.literal_eval(line.partition(" = ")[2])
        elif line == "{":
            inner = _body(lines)
            last.values, last.children = inner.values, inner.children
        elif line == "}":
            return found
        elif attribute := re.fullmatch(r"(?:uniform )?[\w\[\]]+ ([\w:]+) = (.*)", line):
            found.values[attribute[1]] = _value(attribute[2])
    return found


def _value(text: str) -> Any:
    if text.startswith("<"):
        return text.strip("<>")
    if text.startswith("[<"):
        return [path.strip("<>") for path in text.strip("[]").split(", ")]
    return ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
