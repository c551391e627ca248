"""Learners and losses of a user's own: what goes wrong in one is a line that names the function."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.own_code import Check, guarded, guarded_fields, is_own, kind_of, no_array
from holosoma_jax.learn.learner import Learner


def _pair(result: Any, first: str, second: str) -> str | None:
    if isinstance(result, tuple | list) and len(result) == 2:
        return None
    return f"{kind_of(result)}, wanted {first} and {second}."


def _act(result: Any, *_: Any) -> str | None:
    if problem := _pair(result, "the action", "extras"):
        return problem
    if isinstance(result[1], tuple) and hasattr(result[1], "_fields"):
        return None
    return f"{kind_of(result[1])} for its extras, wanted a NamedTuple of arrays [N, ...]."


def _update(result: Any, state: Any, *_: Any) -> str | None:
    if problem := _pair(result, "the state", "metrics") or _same(result[0], state):
        return problem
    if not isinstance(result[1], Mapping):
        return f"{kind_of(result[1])} for its metrics, wanted a dict of numbers."
    odd = next((name for name, x in result[1].items() if jnp.shape(x)), None)
    return odd and f"the metric '{odd}' of shape {jnp.shape(result[1][odd])}, wanted a number []."


def _same(result: Any, state: Any, *_: Any) -> str | None:
    """A state has the leaves of the state that came in."""
    (was, before), (now, after) = jax.tree_util.tree_flatten_with_path(state), jax.tree.flatten(result)
    if before != after:
        return "a state of another structure than it was given."
    for (path, x), y in zip(was, now, strict=True):
        if (jnp.shape(x), jnp.result_type(x)) != (jnp.shape(y), jnp.result_type(y)):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return (
                f"{jnp.result_type(y)}{list(jnp.shape(y))} for '{name}' of the state, which was "
                f"{jnp.result_type(x)}{list(jnp.shape(x))}."
            )
    return None


def _loss(result: Any, *_: Any) -> str | None:
    if problem := _pair(result, "the loss []", "metrics"):
        return problem
    return (
        f"a loss of shape {jnp.shape(result[0])}, wanted []: take the mean." if jnp.shape(result[0]) else None
    )


FUNCTIONS: Mapping[str, tuple[str, Check | None]] = {
    "init": ("key, spec, cfg -> state", None),
    "act": ("state, obs, key -> action, extras", _act),
    "update": ("state, batch, key, axis_name -> state, metrics", _update),
    "mode": ("state, obs -> action", no_array),
    "observe": ("state, obs, axis_name -> state", _same),
    "value": ("state, obs -> value [N]", no_array),
    "learned": ("state -> part of it", None),
}
"""Function of the record -> how it is called, and what it returns."""


def guarded_learner(learner: Learner, where: str) -> Learner:
    """`learner`, its functions guarded, except those that are the package's.

    Raises:
      ConfigError: one cannot be called as it will be.
    """
    for name, (called, _) in FUNCTIONS.items():
        function = getattr(learner, name)
        if function is not None and is_own(function):
            try:
                inspect.signature(function).bind(*called.partition(" ->")[0].split(", "))
            except TypeError as error:
                raise ConfigError(f"{where}: {name}: {error}. It is called as {called}.") from None
    return guarded_fields(learner, where, FUNCTIONS)


def guarded_loss(loss: Any, where: str) -> Any:
    """`loss`, a function or a NamedTuple of functions, guarded where it is a user's own."""
    if isinstance(loss, tuple) and hasattr(loss, "_fields"):
        parts: dict[str, Any] = loss._asdict()  # type: ignore[attr-defined]
        return type(loss)(*(guarded_loss(part, f"{where}: {name}") for name, part in parts.items()))
    if isinstance(loss, type | tuple) or not is_own(loss):
        return loss
    return guarded(loss, where, check=_loss)
