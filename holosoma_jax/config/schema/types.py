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
PositiveFraction = Annotated[float, Field(gt=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
"""Of a running mean; with 1 it would never move."""
Weight = Annotated[float, Field(ge=-1e6, le=1e6)]
"""Of what is summed in single precision."""
Magnitude = Annotated[float, Field(ge=0, le=1e6)]
Std = Annotated[float, Field(gt=0, le=1e3)]
Pixels = Annotated[int, Field(ge=1, le=8192)]
Length = Annotated[float, Field(gt=0, le=10_000)]
"""m; single precision loses millimetres beyond."""
LengthOrZero = Annotated[float, Field(ge=0, le=10_000)]
Vec3 = tuple[float, float, float]
CONTROL = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""Inside the brackets of a regular expression: what no name has, as a terminal or a page would act on it."""
FolderName = Annotated[
    str,
    Field(
        pattern=rf"^[^/\\{CONTROL}]*[^/\\.\s{CONTROL}][^/\\{CONTROL}]*$",
        max_length=200,
        description="a folder name, no slashes or control characters, at most 200 letters",
    ),
]
"""One path component: a slash would scatter a run over several folders, '..' would leave them."""
PathText = Annotated[
    str,
    Field(
        pattern=rf"^[^/{CONTROL}]{{0,255}}(/[^/{CONTROL}]{{0,255}})*$",
        max_length=4000,
        description="a path without control characters, each part at most 255 letters",
    ),
]
"""Text that the file system can take."""
Paths = Annotated[
    str,
    Field(pattern=rf"^[^{CONTROL}]*$", max_length=100_000, description="paths without control characters"),
]
"""Several of them."""
Label = Annotated[
    str,
    Field(
        pattern=rf"^[^{CONTROL}]+$",
        max_length=128,
        description="a name without control characters, at most 128 letters",
    ),
]
"""A name at a service, such as Weights & Biases."""
_IPV6 = r"\[?[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9]+)?\]?"
Host = Annotated[
    str,
    Field(
        pattern=rf"^([A-Za-z0-9_.-]+|{_IPV6})$",
        max_length=300,
        description="a host name or an IP address, without a port",
    ),
]
HostAndPort = Annotated[
    str,
    Field(pattern=rf"^([A-Za-z0-9_.-]+|{_IPV6}):\d{{1,5}}$", max_length=300, description="host:port"),
]
