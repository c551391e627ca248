"""Whether a model file, and all that it reads, is of a size that MuJoCo can make of it; looked at before MuJoCo does.

MuJoCo's reader makes what the text asks for, whatever its size: a line of 60 letters is a height field of 40 GB, and a
model that attaches itself ends the process.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from holosoma_jax.config.errors import ConfigError

MOST_BODIES = 2000
"""of a file, whose scene may hold more than the robot"""
MOST_BYTES = 64 << 20
"""of a file of text"""
MOST_FILES, DEEPEST = 500, 20
"""that a model includes or attaches, and in each other"""
MOST_POINTS = 4_000_000
"""of a height field"""
MOST_USER = 1000
"""numbers of the user's for each geom, joint, ..."""
_INCLUDE = re.compile(rb"<\s*(include|model)\b[^>]*?\bfile\s*=\s*[\"']([^\"']*)[\"']")


def require(path: Path) -> None:
    """See that a file, and all that it includes, has an end and is no larger than a model is.

    Raises:
      ConfigError: one is a pipe, a device or too large, is attached to itself, or asks for more bodies, points or
        numbers than a robot has.
    """
    pending: list[tuple[Path, tuple[Path, ...]]] = [(path, ())]
    seen = {path}
    while pending:
        file, above = pending.pop()
        data = _content(file)
        _require_few(file, data)
        for kind, name in _INCLUDE.findall(data):
            for folder in (path.parent, file.parent):
                other = folder / name.decode(errors="replace")
                if not _exists(other):  # MuJoCo reports what is absent, and what is included twice
                    continue
                chain = (*above, file.resolve())
                if kind == b"model" and other.resolve() in chain:
                    raise ConfigError(
                        f"{file}: attaches {name.decode(errors='replace')}, of which it is a part."
                    )
                if len(chain) > DEEPEST or len(seen) > MOST_FILES:
                    raise ConfigError(
                        f"{file}: at most {MOST_FILES} files are read, and {DEEPEST} that include each other."
                    )
                if other not in seen:
                    seen.add(other)
                    pending.append((other, chain))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a NUL
        return False


def _content(path: Path) -> bytes:
    if not path.is_file():
        what = "is no regular file" if path.exists() else "there is no such file"
        raise ConfigError(f"{path}: {what}.")
    if path.stat().st_size > MOST_BYTES:
        raise ConfigError(f"{path}: holds {path.stat().st_size / 1e6:.0f} MB; expected a model.")
    return path.read_bytes()


def _require_few(path: Path, data: bytes) -> None:
    """Raise ConfigError for the first element that asks for too much."""
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, LookupError, ValueError):  # MuJoCo reports it
        return
    for node, copies in _elements(root):
        if copies > MOST_BODIES:
            raise ConfigError(f"{path}: <replicate> makes {copies} copies; at most {MOST_BODIES} are read.")
        if node.tag in ("flexcomp", "composite"):
            parts = math.prod(max(1, _number(text)) for text in node.get("count", "1").split()[:3])
            if parts * copies > MOST_BODIES:
                raise ConfigError(
                    f"{path}: <{node.tag}> makes {parts} parts; at most {MOST_BODIES} are read."
                )
        elif node.tag == "hfield":
            points = _number(node.get("nrow", "0")) * _number(node.get("ncol", "0"))
            if points > MOST_POINTS:
                raise ConfigError(f"{path}: <hfield> has {points} points; at most {MOST_POINTS} are read.")
        elif node.tag == "size":
            for key, text in node.attrib.items():
                if key.startswith("nuser_") and _number(text) > MOST_USER:
                    raise ConfigError(f"{path}: <size {key}> is {text:.20}; at most {MOST_USER} are read.")


def _elements(root: ET.Element) -> Iterator[tuple[ET.Element, int]]:
    """Every element, and how often the <replicate>s around it copy it."""
    pending = [(root, 1)]  # not by recursion: elements may be nested deeper than Python's stack
    while pending:
        node, copies = pending.pop()
        copies *= _number(node.get("count", "1")) if node.tag == "replicate" else 1
        yield node, copies
        pending += [(child, copies) for child in node]


def _number(text: str) -> int:
    """The whole number that MuJoCo reads in `text`; 1 where it reads none, which it reports."""
    found = re.match(r"\s*\+?(\d{1,18})", text, re.ASCII)
    return int(found[1]) if found else 1
