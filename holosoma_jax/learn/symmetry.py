"""The left-right mirror of observations and actions.

A mirror image is one gather and one multiplication: mirrored[i] = sign[i] * x[index[i]]. The tables
are static, so they are constants of the compiled program.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import chex
import jax
import numpy as np
from flax.core import FrozenDict

PhaseMirror = Literal["swap", "holosoma"]
PHASE_TERMS = ("sin_phase", "cos_phase")
"""Terms [left, right] of the gait clock."""


@dataclass(frozen=True)
class Reflection:
    """A signed permutation of a vector: mirrored[i] = sign[i] * x[index[i]]."""

    index: tuple[int, ...]
    sign: tuple[float, ...]


@dataclass(frozen=True)
class Mirror:
    """How every observation group and the action look in the mirror (hashable)."""

    obs: Mapping[str, Reflection]
    """observation group -> its reflection; kept as a FrozenDict"""
    action: Reflection

    def __post_init__(self) -> None:
        """Freeze `obs`, and check that every reflection undoes itself."""
        object.__setattr__(self, "obs", FrozenDict(self.obs))
        for name, reflection in (*self.obs.items(), ("action", self.action)):
            _check(f"the mirror of '{name}'", reflection, dim=len(reflection.index))


class MirroredTerm(Protocol):
    """What `mirror_from` reads of one term of an observation vector."""

    @property
    def group(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def dim(self) -> int: ...  # noqa: D102
    @property
    def history_length(self) -> int: ...  # noqa: D102
    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def mirror_index(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def mirror_sign(self) -> tuple[float, ...]: ...  # noqa: D102


def reflect(x: jax.Array, reflection: Reflection) -> jax.Array:
    """The mirror image of `x` [..., dim]."""
    index, sign = np.array(reflection.index), np.array(reflection.sign, np.float32)
    return x[..., index] * sign.reshape((1,) * (x.ndim - 1) + (-1,))


def check_mirror(mirror: Mirror | None, dims: Mapping[str, int], spec: str) -> None:
    """Raise ValueError unless `mirror` reflects vectors of these lengths.

    Args:
      mirror: an environment's mirror, if it has one.
      dims: observation group, or 'action' -> length.
      spec: name of the learner's record that holds the mirror, for messages.
    """
    if mirror is None:
        raise ValueError(
            f"algo.config.use_symmetry is true, but the environment has no mirror ({spec}.mirror is None). "
            "Give the spec one, or set algo.config.use_symmetry to false."
        )
    widths = {name: len(reflection.index) for name, reflection in mirror.obs.items()}
    widths["action"] = len(mirror.action.index)
    for name, dim in dims.items():
        where = f"entries of '{name}' in {spec}.mirror and in the {spec}: build both from one environment"
        chex.assert_equal(widths.get(name, 0), dim, custom_message=where, exception_type=ValueError)


def mirror_from(
    layout: Iterable[MirroredTerm],
    action_index: Sequence[int],
    action_sign: Sequence[float],
    phase_mirror: PhaseMirror = "swap",
) -> Mirror:
    """The mirror of an environment, from the layout of its observations.

    Terms are laid out one after the other, each as [history][dim], so every frame of a term is
    reflected by itself.

    Args:
      layout: the terms of all groups, in the order of concatenation.
      action_index: [A] entry i of the mirrored action is entry action_index[i] ...
      action_sign: [A] ... times action_sign[i].
      phase_mirror: what becomes of `sin_phase` and `cos_phase`. 'swap' exchanges left and right,
        the true mirror image. 'holosoma' negates the left entry only, which is right while the legs are
        half a period apart and wrong in standing.

    Raises:
      ValueError: a term without a mirror, a table that is no mirror, or a layout with gaps.
    """
    groups: dict[str, tuple[list[int], list[float]]] = {}
    for term in layout:
        index, sign = groups.setdefault(term.group, ([], []))
        where = f"observation term '{term.name}' of '{term.group}'"
        if term.start != len(index):
            raise ValueError(
                f"{where} starts at {term.start}, expected {len(index)}: terms must be in order."
            )
        frame = _frame(term, where, phase_mirror)
        for h in range(term.history_length):
            index += [term.start + h * term.dim + i for i in frame.index]
            sign += frame.sign
    obs = {group: Reflection(tuple(index), tuple(sign)) for group, (index, sign) in groups.items()}
    action = Reflection(tuple(int(i) for i in action_index), tuple(float(s) for s in action_sign))
    return Mirror(obs=obs, action=action)


def _frame(term: MirroredTerm, where: str, phase_mirror: PhaseMirror) -> Reflection:
    """The reflection of one frame of a term."""
    frame = Reflection(tuple(map(int, term.mirror_index)), tuple(map(float, term.mirror_sign)))
    if term.name in PHASE_TERMS:
        swap = phase_mirror == "swap"
        frame = Reflection((1, 0), (1.0, 1.0)) if swap else Reflection((0, 1), (-1.0, 1.0))
    _check(where, frame, dim=term.dim)
    return frame


def _check(where: str, reflection: Reflection, dim: int) -> None:
    """Raise ValueError unless `reflection` undoes itself on vectors of length `dim`."""
    index, sign = reflection.index, reflection.sign
    if len(index) != dim or len(sign) != dim:
        raise ValueError(
            f"{where} has {dim} entries, but its mirror has {len(index)} indices and {len(sign)} signs. "
            "Give it mirror tables of that length, or set algo.config.use_symmetry to false."
        )
    for i, j in enumerate(index):
        if not 0 <= j < dim or index[j] != i or abs(sign[i]) != 1.0 or sign[j] != sign[i]:
            raise ValueError(
                f"{where} is no mirror at entry {i} (index {j}, sign {sign[i]:g}): reflecting twice must "
                "give the original, so index[index[i]] = i, and sign[index[i]] = sign[i] is +1 or -1."
            )
