"""Terms by name: one table a kind, and the check of their parameters.

A term is a plain function (or a frozen dataclass) whose *keyword-only* parameters are what a
config may set; the positional ones are what the environment passes. A name is looked up in the
kind's table, or imported when it reads `package.module:function`.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, cast, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from holosoma_jax.config import extensions
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.yaml12 import show

KINDS = {
    "observations": "holosoma_jax.envs.terms.observations",
    "rewards": "holosoma_jax.envs.terms.rewards",
    "terminations": "holosoma_jax.envs.terms.terminations",
    "commands": "holosoma_jax.envs.terms.commands",
    "randomization": "holosoma_jax.envs.terms.randomization",
    "curriculum": "holosoma_jax.envs.terms.curriculum",
}
"""Kind -> module whose `TERMS` dict names the built-in ones."""


def resolve(kind: str, name: str, func: str) -> Callable[..., Any]:
    """The function of a term.

    Args:
      kind: a key of `KINDS`.
      name: the term's name in the config, for messages and as the default of `func`.
      func: a name in the kind's table, or 'package.module:function'; '' means `name`.

    Raises:
      ConfigError: unknown name, module that cannot be imported, missing or uncallable attribute.
    """
    target = func or name
    where = f"{kind} term '{name}'"
    if ":" in target:
        found = extensions.imported(target, where)
        if problem := no_term(found):
            raise ConfigError(f"{where}: '{target}' is no term: {problem}.")
        return cast("Callable[..., Any]", found)
    table: Mapping[str, Callable[..., Any]] = importlib.import_module(KINDS[kind]).TERMS
    key = target.replace("-", "_")
    if key not in table:
        known = ", ".join(sorted(table))
        raise ConfigError(
            f"{where}: there is no function '{target}'.{nearest(key, table)} "
            f"Known: {known}; or give your own as package.module:function."
        )
    return table[key]


def no_term(found: object) -> str:
    """Why `found`, which somebody named in a config, is no term; '' if it may be one.

    It must not be called to find out: what a config names may be anything (`os:system`).
    """
    plain = inspect.unwrap(found) if callable(found) else found
    if inspect.isclass(plain):
        return "" if dataclasses.is_dataclass(plain) else "the class is no dataclass"
    if not inspect.isfunction(plain):
        return f"it is a {type(found).__name__}, not a Python function"
    settable = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    first = next((p for p in inspect.signature(plain).parameters.values() if p.kind not in settable), None)
    if first is None or first.name.strip("_") in ("view", "key") or "View" in str(first.annotation):
        return ""
    return f"its first parameter, '{first.name}', has to be the view"


def bind(kind: str, name: str, func: str, params: Mapping[str, Any]) -> functools.partial[Any]:
    """The term's function with its checked parameters filled in (see `check`)."""
    function = resolve(kind, name, func)
    values = _checked(f"{kind}.{name}.params", function, params)
    return functools.partial(function, **values)


def check(kind: str, name: str, func: str, params: Mapping[str, Any]) -> None:
    """Check a term of a config without building it.

    Raises:
      ConfigError: unknown function, unknown, missing or ill-typed parameter; names the key.
    """
    _checked(f"{kind}.{name}.params", resolve(kind, name, func), params)


def _checked(where: str, function: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """`params` validated against the keyword-only parameters of `function`."""
    signature = {
        key: parameter
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    hints = get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)
    given = {key.replace("-", "_"): value for key, value in params.items()}
    for key in given:
        if key not in signature:
            allowed = ", ".join(signature) or "none"
            raise ConfigError(
                f"{where}.{key}: unknown parameter.{nearest(key, signature)} Allowed: {allowed}."
            )
    values: dict[str, Any] = {}
    for key, parameter in signature.items():
        if key not in given:
            if parameter.default is inspect.Parameter.empty:
                raise ConfigError(f"{where}.{key}: missing; the term needs it.")
            continue
        try:
            values[key] = _adapter(hints.get(key, Any)).validate_python(given[key])
        except ValidationError as error:
            first = error.errors()[0]
            inner = ".".join([key, *(str(part) for part in first["loc"] if part != "[key]")])
            options = re.findall(r"'(\w+)'", str(first.get("ctx", {}).get("expected", "")))
            hint = nearest(str(first["input"]), options)
            raise ConfigError(
                f"{where}.{inner}: got {show(first['input'])}; {first['msg']}.{hint}"
            ) from error
    return values


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except Exception:  # a pydantic or dataclass type brings its own configuration
        return TypeAdapter(annotation)
