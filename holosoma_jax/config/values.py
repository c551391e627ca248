"""One value: reading it from text, checking it against its type, and saying both in words."""

from __future__ import annotations

import functools
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from holosoma_jax.config.errors import ConfigError, nearest

_NULLS = ("null", "Null", "NULL", "None", "~")


def spell(name: str) -> str:
    """The one spelling of a key: '-' and '_' are the same."""
    return name.replace("-", "_")


class Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2, which are the ones people expect.

    PyYAML speaks YAML 1.1, where `1e-5` is text, `no` is false and `12:30` is a number. Keys are
    spelt with '_' ; a key given twice, a key that is not text and an anchor are errors.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse references: they make values that contain themselves, and files that surprise."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(
                problem="references like *name are not supported", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping with canonical keys."""
        out: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                problem = f"the key {show(key)} is not text"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            if spell(key) in out:
                problem = f"the key '{key}' is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            out[spell(key)] = self.construct_object(value_node, deep=True)
        return out


Loader.yaml_implicit_resolvers = {}  # instead of YAML 1.1's, which the base class brings
for _tag, _pattern, _first in (
    ("null", "~|null|Null|NULL|None|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", "[-+]?(0|[1-9][0-9_]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


class _TextLoader(Loader):
    """The same syntax, every scalar kept as text."""


_TextLoader.yaml_implicit_resolvers = {}


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
    loader = _TextLoader if all(_is_text(a) for a in _elements(plain)) else Loader
    try:
        return yaml.load(text, loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
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
    return f"wanted {describe(tp)}.{hint}"


def options(tp: Any) -> tuple[str, ...]:
    """The words that a `Literal` type allows, else ()."""
    plain = _without_none(tp)[0]
    return typing.get_args(plain) if typing.get_origin(plain) is Literal else ()


def is_bool(tp: Any) -> bool:
    """Whether a bare flag makes sense."""
    return _without_none(tp)[0] is bool


def describe(tp: Any) -> str:
    """What a type takes, in words: 'an integer >= 1', 'one of egl, glfw', 'a list of 3 numbers'."""
    plain, optional = _without_none(tp)
    return _words(plain, "a ") + (", or null" if optional else "")


def show(value: Any) -> str:
    """A value as it would be typed, cut to one short line."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    if isinstance(value, str):
        text = "'" + " ".join(value.split()) + "'"
    return text if len(text) <= 80 else text[:76] + " ..."


@functools.cache
def _adapter(tp: Any) -> TypeAdapter[Any]:
    return TypeAdapter(tp, config=ConfigDict(strict=True, allow_inf_nan=False))


def _frozen(value: Any) -> Any:
    """Lists to tuples all the way down, so that a config cannot be changed after its checks."""
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, Mapping):
        return {k: _frozen(v) for k, v in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
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
    if options(tp):
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
    if "Ge" in bounds and "Le" in bounds:
        return f" from {bounds['Ge'].ge} to {bounds['Le'].le}"
    if "Ge" in bounds:
        return f" >= {bounds['Ge'].ge}"
    return f" > {bounds['Gt'].gt}" if "Gt" in bounds else ""
