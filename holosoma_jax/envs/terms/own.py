"""Terms of a user's own: what their functions raise or return by mistake is one line that names the function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax.numpy as jnp

from bridges.protocol import PhysicsParams, Pose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.own_code import Check, guarded, guarded_fields, is_own, kind_of, no_array
from holosoma_jax.envs.terms.term import Actuation, Record, RootVelocity

R = TypeVar("R", bound=Record)
DIMENSIONS = {
    "mass_ratio": "[E, B]",
    "com_offset": "[E, B, 3]",
    "friction": "[E]",
    "object_mass_ratio": "[E]",
    "object_inertia_ratio": "[E, 3]",
    "object_friction": "[E]",
}
"""of the fields of `PhysicsParams` that are not one number a joint"""
POSITIONAL = frozenset({inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD})


def _array(result: Any, *_: Any) -> str | None:
    if isinstance(result, tuple):
        return (
            "a tuple, wanted one array. A term with memory is a function without positional parameters that returns a "
            "Term."
        )
    return no_array(result)


def _pair(first: str, kind: type | None = None) -> Check:
    def check(result: Any, *_: Any) -> str | None:
        if not isinstance(result, tuple | list) or len(result) != 2:
            return f"{kind_of(result)}, wanted {first} and the state."
        if kind is None and not hasattr(result[0], "shape"):
            return f"{kind_of(result[0])} for its {first}, wanted an array."
        if kind is not None and not isinstance(result[0], kind):
            return f"{kind_of(result[0])} for its {first}, wanted one {kind.__name__}."
        return None

    return check


def _one(kind: type) -> Check:
    def check(result: Any, *_: Any) -> str | None:
        return None if isinstance(result, kind) else f"{kind_of(result)}, wanted one {kind.__name__}."

    return check


def _bias(result: Any, *_: Any) -> str | None:
    return None if getattr(result, "ndim", None) == 2 else f"{kind_of(result)}, wanted angles [E, J] rad."


def _params(result: Any, *_: Any) -> str | None:
    """Only what the shapes say without a robot: the bridge checks the rest."""
    if not isinstance(result, PhysicsParams):
        return f"{kind_of(result)}, wanted a PhysicsParams."
    for name, value in result._asdict().items():
        wanted = DIMENSIONS.get(name, "[E, J]")
        if value is not None and jnp.ndim(value) != wanted.count(",") + 1:
            return f"{kind_of(value)} for '{name}', wanted {wanted}."
    return None


def _numbers(result: Any, *_: Any) -> str | None:
    if not isinstance(result, Mapping):
        return f"{kind_of(result)}, wanted a dict of numbers."
    for name, value in result.items():
        parts = value if isinstance(value, tuple) else (value,)
        if len(parts) > 2 or any(jnp.shape(x) for x in parts):
            shapes = ", ".join(str(jnp.shape(x)) for x in parts)
            return f"'{name}' of shape {shapes}, wanted a number [] or a (sum, count): take the mean over environments."
    return None


def _factor(result: Any, *_: Any) -> str | None:
    if result is None or not jnp.shape(result):
        return None
    return f"shape {jnp.shape(result)}, wanted one factor [] or None."


def _rows(result: Any, *_: Any) -> str | None:
    if getattr(result, "ndim", None) == 1 and jnp.issubdtype(result.dtype, jnp.integer):
        return None
    return f"{kind_of(result)}, wanted rows [E] int32."


def _mask(result: Any, *_: Any) -> str | None:
    return (
        None
        if getattr(result, "dtype", None) is jnp.dtype(bool)
        else f"{kind_of(result)}, wanted a mask [E] bool."
    )


def _ranges(result: Any, *_: Any) -> str | None:
    if not isinstance(result, Mapping):
        return f"{kind_of(result)}, wanted a dict of axis -> (low, high)."
    odd = next(
        (axis for axis, pair in result.items() if not isinstance(pair, tuple | list) or len(pair) != 2), None
    )
    return odd and f"{kind_of(result[odd])} for '{odd}', wanted (low, high)."


FUNCTIONS: Mapping[str, tuple[str, Check | None]] = {
    "init": ("key, scene -> state", None),
    "reset": ("view, mask, state[, draws] -> state", None),
    "draw": ("key, scene -> draws", None),
    "value": ("state -> value", None),
    "metrics": ("view, state -> dict", _numbers),
    "apply": ("view, state[, draws] -> value, state", _pair("value")),
    "update": ("view, state[, draws] -> state", None),
    "refresh": ("view, state -> state", None),
    "place": ("view, mask, pose, state[, draws] -> mask, pose", _pair("mask")),
    "jump": ("state -> mask", _mask),
    "ghost": ("view, state -> Pose", _one(Pose)),
    "steer": ("state, velocity -> state", None),
    "reward_scale": ("state, tags -> factor or None", _factor),
    "command_ranges": ("state -> dict", _ranges),
    "spawn_row": ("state -> rows", _rows),
    "startup": ("key, scene -> PhysicsParams", _params),
    "physics": ("view, state[, draws] -> PhysicsParams", _params),
    "pose": ("view, pose, state[, draws] -> Pose", _one(Pose)),
    "joint_bias": ("state -> angles [E, J]", _bias),
    "actuate": ("scene, actuation, state[, draws] -> Actuation, state", _pair("actuation", Actuation)),
    "push": ("view, state[, draws] -> RootVelocity, state", _pair("push", RootVelocity)),
}
"""Function of a record -> how it is called, where ``[, draws]`` is there if the record has `draw`; what it returns."""
PLAIN: Mapping[str, tuple[str, Check]] = {
    "observations": ("view -> [E, dim]", _array),
    "rewards": ("view -> [E]", _array),
    "terminations": ("view -> [E] bool", _array),
    "randomization": ("key, robot, num_envs -> PhysicsParams", _params),
}
"""Kind -> signature of a plain function that is a term without memory; what it returns."""


def require_arguments(function: Callable[..., Any], kind: str, where: str) -> None:
    """Raise ConfigError unless a plain function can be called as those of its kind are."""
    called = PLAIN[kind][0]
    wanted = called.partition(" ->")[0].split(", ")
    given = [p for p in inspect.signature(function).parameters.values() if p.kind in POSITIONAL]
    extra = [p.name for p in given[len(wanted) :] if p.default is inspect.Parameter.empty]
    if extra:
        raise ConfigError(
            f"{where}: {function.__name__} is called as {called}, and has '{extra[0]}' beside that. Put `*, ` before "
            "it to make it a parameter that a config sets."
        )
    if len(given) < len(wanted):
        raise ConfigError(
            f"{where}: {function.__name__} has {len(given)} positional parameters, wanted {called}."
        )


def guarded_record(record: R, where: str) -> R:
    """`record`, its functions guarded, except those that are the package's."""
    drawn = ", draws" if record.draw is not None else ""
    functions = {
        name: (called.replace("[, draws]", drawn), check)
        for name, (called, check) in FUNCTIONS.items()
        if hasattr(record, name)
    }
    return guarded_fields(record, where, functions)


def guarded_function(function: Callable[..., Any], kind: str, where: str) -> Callable[..., Any]:
    """A plain function, guarded unless it is the package's."""
    return guarded(function, where, *PLAIN[kind]) if is_own(function) else function
