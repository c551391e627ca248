"""Checks of what a bridge is handed; every violation is one line that names the array and the value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bridges.protocol import Array

Format = tuple[tuple[int, ...], np.dtype]
"""shape and element type"""


def array(name: str, value: Array, shape: tuple[int, ...], kind: type = np.floating) -> np.ndarray:
    """`value` as a NumPy array, zero-copy where it lies in the host's memory; waits until it is computed.

    Args:
      name: what to call it in an error.
      value: a JAX or NumPy array.
      shape: the shape it must have.
      kind: the (abstract) NumPy type its elements must have.

    Raises:
      ValueError: another shape or type.
    """
    return shaped(name, np.asarray(value), shape, kind)


def shaped(name: str, value: Array, shape: tuple[int, ...], kind: type = np.floating) -> Array:
    """`value`, whose shape and element type must be these; for arrays that are still being traced, too.

    Raises:
      ValueError: another shape or type.
    """
    value = value if hasattr(value, "dtype") else np.asarray(value)
    if np.shape(value) != shape:
        raise ValueError(f"{name}: got shape {np.shape(value)}, wanted {shape}.")
    if not np.issubdtype(value.dtype, kind):
        wanted = "floating-point numbers" if kind is np.floating else f"{np.dtype(kind).name} values"
        raise ValueError(f"{name}: got {value.dtype}, wanted {wanted}.")
    return value


def stiff(joint_names: Sequence[str], kp: np.ndarray) -> None:
    """Every joint must have a stiffness: MuJoCo's bridges add a torque offset by shifting the target.

    Raises:
      ValueError: one has none; names it.
    """
    for name, value in zip(joint_names, kp, strict=True):
        if value <= 0.0:
            raise ValueError(
                f"torque_offset: got one for joint '{name}', whose kp is {value:g}; wanted kp above 0, "
                "as MuJoCo adds an offset by shifting the target."
            )


def finite(name: str, rows: np.ndarray, envs: np.ndarray | None = None) -> np.ndarray:
    """`rows` [n, ...], which must be finite; `envs` [n] are the environments they belong to."""
    good = np.isfinite(rows)
    if not good.all():
        raise ValueError(f"{name}: got {_first(rows, good, envs)}, wanted finite numbers.")
    return rows


def at_least(
    name: str, rows: np.ndarray, low: float, envs: np.ndarray | None = None, *, exclusive: bool = False
) -> np.ndarray:
    """`rows` [n, ...], which must be finite and at least (`exclusive`: above) `low`."""
    good = np.isfinite(rows) & ((rows > low) if exclusive else (rows >= low))
    if not good.all():
        wanted = f"above {low:g}" if exclusive else f"{low:g} or more"
        raise ValueError(f"{name}: got {_first(rows, good, envs)}, wanted finite numbers, {wanted}.")
    return rows


def unit(name: str, quat: np.ndarray, envs: np.ndarray) -> np.ndarray:
    """`quat` [n, 4], which must have norm 1 up to rounding."""
    norm = np.linalg.norm(quat, axis=1)
    good = np.abs(norm - 1.0) < 1e-3
    if not good.all():
        got = _first(norm, good, envs)
        raise ValueError(f"{name}: got norm {got}, wanted unit quaternions (w x y z).")
    return quat


def state(
    arrays: Mapping[str, np.ndarray], required: Mapping[str, Format], extra: Mapping[str, Format]
) -> None:
    """Saved `arrays` must be all of `required` and some of `extra`."""
    known = {**required, **extra}
    for name in required:
        if name not in arrays:
            raise ValueError(f"state: no array '{name}'; got {', '.join(sorted(arrays)) or 'nothing'}.")
    for name, value in arrays.items():
        if name not in known:
            raise ValueError(f"state: unknown array '{name}'; known: {', '.join(known)}.")
        shape, dtype = known[name]
        if value.shape != shape or value.dtype != dtype:
            raise ValueError(
                f"state: '{name}' is {value.dtype} {value.shape}, wanted {dtype} {shape}. It is of another "
                "robot or number of environments, or was cast on the way."
            )


def _first(rows: np.ndarray, good: np.ndarray, envs: np.ndarray | None) -> str:
    """The first bad value and where it is."""
    at = tuple(int(i) for i in np.argwhere(~good)[0])
    env = at[0] if envs is None else int(envs[at[0]])
    entry = f", entry {at[1:] if len(at) > 2 else at[1]}" if len(at) > 1 else ""
    return f"{rows[at]:g} in environment {env}{entry}"
