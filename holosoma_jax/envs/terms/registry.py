"""Terms by name: one table a kind, the check of their parameters, and the records made from them.

*Keyword-only* parameters are what a config may set. A function that has positional ones as well is a term
without memory, and gets them from the environment. A function that has none is a factory: it returns the
kind's record (`terms.term`). A name is looked up in the kind's table, or imported when it reads
`package.module:function`.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from holosoma_jax.config import extensions
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.own_code import failure, is_own
from holosoma_jax.config.values import text_as_number
from holosoma_jax.config.values import wanted as value_wanted
from holosoma_jax.config.yaml12 import show
from holosoma_jax.envs.terms.own import PLAIN, POSITIONAL, guarded_function, guarded_record, require_arguments
from holosoma_jax.envs.terms.term import Command, Curriculum, Randomization, Record, Term

KINDS = {
    "observations": "holosoma_jax.envs.terms.observations",
    "rewards": "holosoma_jax.envs.terms.rewards",
    "terminations": "holosoma_jax.envs.terms.terminations",
    "commands": "holosoma_jax.envs.terms.commands",
    "randomization": "holosoma_jax.envs.terms.randomization",
    "curriculum": "holosoma_jax.envs.terms.curriculum",
}
"""Kind -> module whose `TERMS` dict names the built-in ones."""
SHOWN = 14
"""Names that a message about an unknown one lists at most, those most like it."""


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
        known = ", ".join(sorted(difflib.get_close_matches(key, table, n=SHOWN, cutoff=0.0)))
        known += ", ..." if len(table) > SHOWN else ""
        raise ConfigError(
            f"{where}: there is no function '{target}'.{nearest(key, table)} "
            f"Known: {known}; or give your own as package.module:function."
        )
    return table[key]


def is_built_in(kind: str, target: str) -> bool:
    """Whether `target`, package.module:function, names a function of the table of `kind`."""
    table: Mapping[str, Callable[..., Any]] = importlib.import_module(KINDS[kind]).TERMS
    return target in {f"{function.__module__}:{function.__name__}" for function in table.values()}


def no_term(found: object) -> str:
    """Why `found`, which somebody named in a config, is no term; '' if it may be one.

    It must not be called to find out: what a config names may be anything (`os:system`).
    """
    plain = inspect.unwrap(found) if callable(found) else found
    if not inspect.isfunction(plain):
        return f"it is a {type(found).__name__}, not a Python function"
    settable = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    first = next((p for p in inspect.signature(plain).parameters.values() if p.kind not in settable), None)
    if first is None or first.name.strip("_") in ("view", "key") or "View" in str(first.annotation):
        return ""
    return f"its first parameter, '{first.name}', has to be the view"


RECORDS: Mapping[str, type[Record]] = {
    "observations": Term,
    "rewards": Term,
    "terminations": Term,
    "commands": Command,
    "randomization": Randomization,
    "curriculum": Curriculum,
}
"""Kind -> record of its terms."""


def make(kind: str, name: str, func: str, params: Mapping[str, Any]) -> Record | Callable[..., Any]:
    """A term of a config: its record, or a plain function with its parameters filled in.

    Raises:
      ConfigError: unknown function; unknown, missing or ill-typed parameter; a term of another kind. The functions of
        a term that is not the package's raise it, too, for whatever goes wrong in them.
    """
    function = resolve(kind, name, func)
    where = f"{kind} term '{name}'"
    values = _checked(f"{kind}.{name}.params", function, params)
    if _takes_arguments(function):
        if kind not in PLAIN:
            raise ConfigError(f"{where}: {_wanted(kind)}, got a function with positional parameters.")
        require_arguments(function, kind, where)
        return functools.partial(guarded_function(function, kind, f"{where} ({function.__name__})"), **values)
    returned = _hints(function, ("return",), where).get("return")
    if not (inspect.isclass(returned) and issubclass(returned, RECORDS[kind])):
        says = f"one of {getattr(returned, '__name__', returned)}" if returned else "no annotation"
        raise ConfigError(f"{where}: {_wanted(kind)}; got {says}.")
    try:
        record = function(**values)
    except ConfigError as error:
        at_fault = str(error).partition(":")[0].partition(".")[0]
        # A record may refuse itself, whatever its parameters are.
        prefix = f"{kind}.{name}.params." if at_fault in _settable(function) else f"{where}: "
        raise ConfigError(f"{prefix}{error}") from error
    except Exception as error:
        if not is_own(function):
            raise
        raise ConfigError(failure(function, f"{where}: {function.__name__}", "", error)) from error
    if not isinstance(record, RECORDS[kind]):
        raise ConfigError(
            f"{where}: {function.__name__} returned {type(record).__name__}, wanted a {RECORDS[kind].__name__}."
        )
    return guarded_record(record, where)


def _hints(function: Callable[..., Any], names: Iterable[str], where: str) -> dict[str, Any]:
    """The annotations of these parameters of `function`, evaluated; others may be for type checkers alone.

    Raises:
      ConfigError: one cannot be evaluated; it names something that is there for type checkers alone, say.
    """
    plain = inspect.unwrap(function)
    wanted = {name: hint for name, hint in plain.__annotations__.items() if name in set(names)}
    try:
        return get_type_hints(
            SimpleNamespace(__annotations__=wanted), globalns=plain.__globals__, include_extras=True
        )
    except Exception as error:
        hint = " Import it outside of `if TYPE_CHECKING`." if isinstance(error, NameError) else ""
        raise ConfigError(
            f"{where}: an annotation of {function.__name__} cannot be evaluated ({error}).{hint}"
        ) from error


def parameters(kind: str, name: str, func: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of a term, checked: what `params` says, else the function's default."""
    function = resolve(kind, name, func)
    defaults = {
        k: p.default for k, p in _settable(function).items() if p.default is not inspect.Parameter.empty
    }
    return defaults | _checked(f"{kind}.{name}.params", function, params)


def check(kind: str, name: str, func: str, params: Mapping[str, Any]) -> None:
    """Check a term of a config (see `make`).

    Raises:
      ConfigError: names the term or the key.
    """
    make(kind, name, func, params)


def _wanted(kind: str) -> str:
    record = f"a function of keyword-only parameters that is annotated '-> {RECORDS[kind].__name__}'"
    return f"wanted {PLAIN[kind][0]}, or {record}" if kind in PLAIN else f"wanted {record}"


def _takes_arguments(function: Callable[..., Any]) -> bool:
    kinds = {p.kind for p in inspect.signature(function).parameters.values()}
    return bool(kinds & POSITIONAL)


def _settable(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters.items()
    return {key: p for key, p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _checked(where: str, function: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """`params` validated against the keyword-only parameters of `function`."""
    signature = _settable(function)
    hints = _hints(function, signature, where)
    given = {key.replace("-", "_"): value for key, value in params.items()}
    for key in given:
        if key not in signature:
            allowed = ", ".join(signature) or "none"
            if key in inspect.signature(function).parameters:
                raise ConfigError(
                    f"{where}.{key}: '{key}' is a positional parameter of {function.__name__}. Put `*, ` before it, so "
                    f"that a config can set it. Allowed: {allowed}."
                )
            hint = nearest(key, signature)
            if is_own(function) and not hint:
                if given[key] is None:
                    continue
                hint = " A preset may have it for another function: null takes it out."
            raise ConfigError(
                f"{where}.{key}: unknown parameter of {function.__name__}.{hint} Allowed: {allowed}."
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
            if isinstance(own := first.get("ctx", {}).get("error"), ConfigError):  # raised by a __post_init__
                raise ConfigError(f"{where}.{own}") from error
            inner = ".".join([key, *(str(part) for part in first["loc"] if part != "[key]")])
            options = re.findall(r"'(\w+)'", str(first.get("ctx", {}).get("expected", "")))
            hint = nearest(str(first["input"]), options)
            wanted = f"{first['msg']}.{hint}"
            if inner == key:
                wanted = value_wanted(first["input"], hints.get(key, Any))
            raise ConfigError(f"{where}.{inner}: got {show(first['input'])}; {wanted}") from error
        for inner, text, of in text_as_number(given[key], values[key], key):
            raise ConfigError(f"{where}.{inner}: got the text {show(text)}; {value_wanted(text, of)}")
    return values


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except Exception:  # a pydantic or dataclass type brings its own configuration
        return TypeAdapter(annotation)
