"""Functions of a user's own, guarded: what goes wrong in one is a line that says which, where, and what to do."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

from holosoma_jax.config.errors import ConfigError, nearest

Check: TypeAlias = Callable[..., str | None]
"""result, *arguments -> what is wrong with the result, None if nothing is"""
R = TypeVar("R")
"""a dataclass with functions among its fields"""

PACKAGES = ("holosoma_jax", "bridges")
"""whose functions are not guarded: what fails there is a defect, and deserves a stack trace"""
HINTS = {
    "TracerBoolConversionError": "An array has no truth value in a jitted function: use jnp.where, &, |, ~, "
    "or jax.lax.cond.",
    "TracerArrayConversionError": "NumPy cannot compute in a jitted function: use jax.numpy.",
    "TracerIntegerConversionError": "An array is no index or size in a jitted function: use jnp.take or a mask.",
    "ConcretizationTypeError": "An array has no value yet in a jitted function: use jax.numpy instead of float(), "
    "int() or .item().",
    "UnexpectedTracerError": "An array was kept outside of the function, in a global or an attribute: put it into "
    "the state that the function returns.",
}
"""Name of an error of JAX -> the usual fix."""


def is_own(function: object) -> bool:
    """Whether `function` is a user's, not one of the package."""
    return callable(function) and (_plain(function).__module__ or "").partition(".")[0] not in PACKAGES


def _plain(function: Callable[..., Any]) -> Any:
    """What a jitted, partially applied or otherwise wrapped function is made of."""
    plain = inspect.unwrap(function)
    return _plain(plain.func) if isinstance(plain, functools.partial) else plain


def guarded(
    function: Callable[..., Any], where: str, called: str = "", check: Check | None = None
) -> Callable[..., Any]:
    """`function`, which raises ConfigError for whatever it raises, and for a result that `check` refuses.

    Args:
      function: of a user's own.
      where: which one it is, for the message.
      called: how it is called, e.g. 'view, state -> value, state'; '' if that is not said.
      check: of its result.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
        except Exception as error:
            raise ConfigError(failure(function, where, called, error)) from error
        if check is not None and (problem := check(result, *args)):
            raise ConfigError(
                f"{where} returned {problem}" + (f" It is called as {called}." if called else "")
            )
        return result

    return call


def guarded_fields(record: R, where: str, functions: Mapping[str, tuple[str, Check | None]]) -> R:
    """`record`, its functions guarded, except those that are the package's.

    Args:
      record: a dataclass.
      where: which one it is, for the message.
      functions: field -> how its function is called, check of the result; as for `guarded`.
    """
    own: dict[str, Any] = {}
    for name, (called, check) in functions.items():
        function = getattr(record, name)
        if function is not None and is_own(function):
            own[name] = guarded(function, f"{where}: {name}", called, check)
    return cast("R", replace(cast("Any", record), **own)) if own else record


def failure(function: Callable[..., Any], where: str, called: str, error: Exception) -> str:
    """One line: what failed, where in the user's file, with which error, and the usual fix if there is one."""
    plain = _plain(function)
    file = inspect.getsourcefile(plain) if inspect.isfunction(plain) else None
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    hint = HINTS.get("TracerBoolConversionError" if "truth value" in first else type(error).__name__, "")
    if isinstance(error, AttributeError) and error.name and error.obj is not None:
        hint = nearest(error.name, dir(error.obj)).strip()
    if not frames and isinstance(error, TypeError) and called:  # it was not even entered
        hint = f"It is called as {called}."
    text = f"{where} failed{place} ({type(error).__name__}: {first.rstrip('.')})."
    return f"{text} {hint}" if hint else text


def no_array(result: Any, *_: Any) -> str | None:
    """The `Check` of a function that returns one array."""
    return None if hasattr(result, "shape") else f"{kind_of(result)}, wanted an array."


def kind_of(value: Any) -> str:
    """What `value` is, for a message."""
    if value is None:
        return "nothing"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    if type(value) is tuple:
        return f"a tuple of {len(value)}"
    name = type(value).__name__
    return f"an {name}" if name[0] in "AEIOUaeiou" else f"a {name}"
