"""Field types that carry their range, so that one place states it for checks and for `--help`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

OWN = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*"
"""A regular expression for package.module:NAME."""


@dataclass(frozen=True)
class ChosenBy:
    """Annotates a field that may hold one of several sections: the value of a sibling names which."""

    field: str
    """the sibling"""
    default: str
    """its value where it has none"""
    section: Callable[[str], type | None]
    """its value -> the section that it asks for; None: there is no such value"""


@dataclass(frozen=True)
class Names:
    """Annotates text that has to be one of some names, or package.module:NAME; for suggestions."""

    names: tuple[str, ...]


MAX_INT = 2**31 - 1
"""The largest int32: JAX counts with those."""
PositiveInt = Annotated[int, Field(ge=1, le=MAX_INT)]
NonNegativeInt = Annotated[int, Field(ge=0, le=MAX_INT)]
Seed = Annotated[int, Field(ge=0, le=MAX_INT, description=f"an integer from 0 to {MAX_INT}")]
"""JAX and NumPy both take it without 64-bit integers."""
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Vec3 = tuple[float, float, float]
FolderName = Annotated[
    str,
    Field(
        pattern=r"^[^/\\\x00-\x1f]*[^/\\.\x00-\x1f][^/\\\x00-\x1f]*$",
        max_length=200,
        description="a folder name, no slashes, at most 200 letters",
    ),
]
"""One path component: a slash would scatter a run over several folders, '..' would leave them."""
PathText = Annotated[
    str,
    Field(
        pattern=r"^[^/\x00]{0,255}(/[^/\x00]{0,255})*$",
        max_length=4000,
        description="a path, each part at most 255 letters",
    ),
]
"""Text that the file system can take."""
