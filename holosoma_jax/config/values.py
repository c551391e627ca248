"""One value: reading it from text, checking it against its type, and saying both in words."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.schema.types import MAX_INT, Names
from holosoma_jax.config.yaml12 import Loader, TextLoader, show

MAX_FLOAT = 3.4028234663852886e38
"""The largest float32."""
MIN_FLOAT = 1.1754943508222875e-38
"""The smallest positive one that is not rounded to 0."""
SMALLEST, LARGEST = 1e-18, 1e18
"""Of a config's numbers, beside 0: their squares are float32 too."""
_NULLS = ("null", "Null", "NULL", "None", "~")


def parse(text: str, tp: Any, flag: str) -> Any:
    """The value that a person typed after `flag`, read as YAML with the key's type in mind.

    Where the type is text, the text is taken as it stands (a run may be called 007 or 1e5) unless it
    is quoted; everything else is YAML.

    Raises:
      ConfigError: not YAML.
    """
    plain, optional = _without_none(tp)
    if _is_text(plain) and not text.startswith(("'", '"')):
        return None if optional and text in _NULLS else text
    if text.startswith("(") and text.endswith(")") and (is_list(tp) or tp is Any):
        text = f"[{text[1:-1]}]"  # as Python writes it
    loader = TextLoader if all(_is_text(a) for a in _elements(plain)) else Loader
    try:
        return yaml.load(text, loader)
    except Exception as error:  # an explicit tag (!!bool maybe) may fail in any way
        problem = getattr(error, "problem", None) or "not YAML"
        fix = f"write {describe(tp)}, without spaces or in quotes"
        raise ConfigError(f"{flag}: cannot read {show(text)} ({problem}); {fix}.") from error


def check(value: Any, tp: Any) -> Any:
    """`value` as the type asks for it: lists become tuples, an int where a float is wanted a float.

    Raises:
      ValidationError: wrong type or out of range; nothing else is converted (a bool is no int).
    """
    return _adapter(tp).validate_python(_frozen(value))


def wanted(value: Any, tp: Any) -> str:
    """'wanted ...' for a value that `check` refuses, with the nearest option where there are some."""
    hint = nearest(value, options(tp)) if isinstance(value, str) else ""
    if value == "reference" and "holosoma" in options(tp):
        hint = " holosoma's behaviour was called reference before; write holosoma."
    if isinstance(value, float) and 0 < abs(value) < SMALLEST:
        hint = f" Numbers are squared in 32 bits here: 0, or at least {SMALLEST}."
    elif isinstance(value, int) and abs(value) > MAX_INT:
        hint = f" Integers have 32 bits here: at most {MAX_INT}."
    elif isinstance(value, float) and abs(value) > LARGEST:
        hint = f" Numbers are squared in 32 bits here: at most {LARGEST}."
    return f"wanted {describe(tp)}.{hint or _as_list(value, tp)}"


def _as_list(value: Any, tp: Any) -> str:
    """How to write `value`, where a list is wanted and somebody left out the brackets."""
    plain = _without_none(tp)[0]
    if typing.get_origin(plain) is not tuple or not isinstance(value, (str, int, float)):
        return ""
    ends = typing.get_args(plain)[-1] is Ellipsis  # of any length
    return f" A list is written [{value}]." if ends or "," in str(value) else ""


def options(tp: Any) -> tuple[str, ...]:
    """The words that a type allows or knows, else ()."""
    plain = _without_none(tp)[0]
    if typing.get_origin(plain) is typing.Annotated:
        return next((note.names for note in typing.get_args(plain)[1:] if isinstance(note, Names)), ())
    return typing.get_args(plain) if typing.get_origin(plain) is Literal else ()


def is_list(tp: Any) -> bool:
    """Whether several values make one."""
    return typing.get_origin(_without_none(tp)[0]) is tuple


def is_bool(tp: Any) -> bool:
    """Whether a bare flag makes sense."""
    return _without_none(tp)[0] is bool


def describe(tp: Any) -> str:
    """What a type takes, in words: 'an integer >= 1', 'one of egl, glfw', 'a list of 3 numbers'."""
    plain, optional = _without_none(tp)
    return _words(plain, "a ") + (", or null" if optional else "")


def text_as_number(given: Any, made: Any, path: str) -> Iterator[tuple[str, str, type]]:
    """(key, text, type) of what pydantic made a number of, such as 'nan', 'inf' and '0.5' in quotes."""
    if isinstance(given, str) and isinstance(made, (int, float)):
        yield path, given, type(made)
    elif isinstance(given, Mapping):
        for key, value in given.items():
            inner = made.get(key) if isinstance(made, Mapping) else getattr(made, str(key), None)
            yield from text_as_number(value, inner, f"{path}.{key}")
    elif isinstance(given, (tuple, list)) and isinstance(made, (tuple, list)):
        for place, (one, other) in enumerate(zip(given, made, strict=False)):
            yield from text_as_number(one, other, f"{path}.{place}")


@functools.cache
def _adapter(tp: Any) -> TypeAdapter[Any]:
    return TypeAdapter(tp, config=ConfigDict(strict=True, allow_inf_nan=False))


def _frozen(value: Any) -> Any:
    """Lists to tuples all the way down, so that a config cannot be changed after its checks."""
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, Mapping):
        return {k: _frozen(v) for k, v in value.items()}
    # An integer may become a float. Not a number is out of any range.
    if isinstance(value, (int, float)) and value != 0 and not SMALLEST <= abs(value) <= LARGEST:
        raise ValidationError.from_exception_data("value", [{"type": "finite_number", "input": value}])
    return value


def _without_none(tp: Any) -> tuple[Any, bool]:
    """(X, True) for `X | None`, else (tp, False)."""
    if typing.get_origin(tp) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(tp) if a is not type(None)]
        if len(rest) == 1:
            return rest[0], True
    return tp, False


def _is_text(tp: Any) -> bool:
    base = typing.get_args(tp)[0] if typing.get_origin(tp) is typing.Annotated else tp
    return base is str or bool(options(base))


def _elements(tp: Any) -> list[Any]:
    """Element types of a tuple type; the type itself for anything else."""
    if typing.get_origin(tp) is tuple:
        return [a for a in typing.get_args(tp) if a is not Ellipsis]
    return [tp]


_NOUNS = {bool: "true or false", int: "integer", float: "number", str: "text"}


def _words(tp: Any, article: str) -> str:
    """'an integer >= 1' with an article, 'integers >= 1' without."""
    if typing.get_origin(tp) is typing.Annotated:
        base, *notes = typing.get_args(tp)
        described = next((n.description for n in notes if getattr(n, "description", None)), None)
        bounds = {type(m).__name__: m for n in notes for m in getattr(n, "metadata", ())}
        return described or _words(base, article) + _range(bounds)
    if typing.get_origin(tp) is Literal:
        return f"one of {', '.join(options(tp))}"
    if typing.get_origin(tp) is tuple:
        inner = typing.get_args(tp)
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return f"{article}list of {count}{_words(inner[0], '')}"
    noun = _NOUNS.get(tp, "value of any type")
    if tp in (int, float):
        return ("an " if tp is int else "a ") + noun if article else noun + "s"
    return noun if tp in _NOUNS or not article else f"{article}{noun}"


def _range(bounds: Mapping[str, Any]) -> str:
    if "Ge" in bounds and "Le" in bounds and bounds["Le"].le != MAX_INT:
        return f" from {bounds['Ge'].ge:g} to {bounds['Le'].le:g}"
    if "Ge" in bounds:
        return f" >= {bounds['Ge'].ge}" + (f" and < {bounds['Lt'].lt}" if "Lt" in bounds else "")
    upper = f" and <= {bounds['Le'].le}" if "Le" in bounds else ""
    upper = f" and < {bounds['Lt'].lt}" if "Lt" in bounds else upper
    return f" > {bounds['Gt'].gt}{upper}" if "Gt" in bounds else ""
