"""Observation groups: terms in alphabetical order, with noise, scale and history.

One term of one frame is (value + U(-noise, noise)) * scale. With a history of h frames a term
occupies h * dim consecutive entries, oldest frame first; frames before the reset are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import ObservationConfig, ObservationGroupConfig
from holosoma_jax.envs.env import ObservationTerm
from holosoma_jax.envs.terms import registry
from holosoma_jax.envs.terms.observations import mirror_of
from holosoma_jax.envs.view import View
from holosoma_jax.robots.robot import Robot

History = Mapping[str, jax.Array]
"""Group -> past frames [E, history_length, frame_dim], newest last; only groups with history."""

TermFunction = Callable[[View], jax.Array]


@dataclass(frozen=True)
class Group:
    """One observation vector, compiled from its config."""

    name: str
    terms: tuple[ObservationTerm, ...]
    functions: tuple[TermFunction, ...]
    history_length: int
    noisy: bool

    @property
    def frame_dim(self) -> int:
        """Entries of one frame."""
        return sum(term.dim for term in self.terms)

    @property
    def dim(self) -> int:
        """Entries of the vector."""
        return self.frame_dim * self.history_length

    def frame(self, view: View, key: jax.Array) -> jax.Array:
        """The newest frame [E, frame_dim], with noise where the config asks for it.

        Raises:
          ValueError: a term returned another shape than at build time.
        """
        parts = []
        for index, (term, function) in enumerate(zip(self.terms, self.functions, strict=True)):
            value = function(view)
            if self.noisy and term.noise > 0.0:
                unit = jax.random.uniform(jax.random.fold_in(key, index), value.shape, minval=-1.0)
                value = value + term.noise * unit
            parts.append(value * term.scale)
        return jnp.concatenate(parts, axis=-1)

    def vector(self, frames: jax.Array) -> jax.Array:
        """Frames [E, history_length, frame_dim], oldest first -> vector [E, dim], term by term."""
        if self.history_length == 1:
            return frames[:, 0]
        parts, start = [], 0
        for term in self.terms:
            block = frames[:, :, start : start + term.dim]
            parts.append(block.reshape(block.shape[0], -1))
            start += term.dim
        return jnp.concatenate(parts, axis=-1)


def build(cfg: ObservationConfig, robot: Robot, example: View) -> tuple[Group, ...]:
    """Compile the groups of a config.

    Args:
      cfg: groups and terms.
      robot: for mirrors.
      example: a `View` of abstract or real arrays, to learn each term's width.

    Raises:
      ConfigError: a term's function, parameters or output shape is wrong, a group is empty.
    """
    groups = []
    for name, group in cfg.groups.items():
        if not group.terms:
            raise ConfigError(f"observation.groups.{name}.terms: the group is empty; give it a term.")
        groups.append(_group(name, group, robot, example))
    return tuple(groups)


def _group(name: str, cfg: ObservationGroupConfig, robot: Robot, example: View) -> Group:
    terms, functions, start = [], [], 0
    for term_name, term in sorted(cfg.terms.items()):
        function = registry.bind("observations", term_name, term.func, term.params)
        shape = jax.eval_shape(lambda f=function: f(example)).shape
        if len(shape) != 2 or shape[0] != example.command.shape[0]:
            raise ConfigError(
                f"observation term '{term_name}' returned shape {shape}, "
                f"wanted ({example.command.shape[0]}, dim): one row per environment."
            )
        func = (term.func or term_name).replace("-", "_")
        index, sign = mirror_of(func, function.func, robot)
        terms.append(
            ObservationTerm(
                group=name,
                name=term_name,
                func=func,
                dim=shape[1],
                history_length=cfg.history_length,
                scale=term.scale,
                noise=term.noise if cfg.enable_noise else 0.0,
                start=start,
                mirror_index=index,
                mirror_sign=sign,
                params=tuple(sorted(term.params.items())),
            )
        )
        functions.append(function)
        start += shape[1] * cfg.history_length
    return Group(name, tuple(terms), tuple(functions), cfg.history_length, cfg.enable_noise)


def empty_history(groups: tuple[Group, ...], num_envs: int) -> dict[str, jax.Array]:
    """Zero frames of every group that keeps a history."""
    return {
        g.name: jnp.zeros((num_envs, g.history_length, g.frame_dim), jnp.float32)
        for g in groups
        if g.history_length > 1
    }


def observe(
    groups: tuple[Group, ...], view: View, history: History, key: jax.Array
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """New observations and the history that holds their frames.

    Args:
      groups: as built.
      view: the state to observe.
      history: past frames; not altered.
      key: for the noise; every group and term gets its own stream.

    Returns:
      group -> vector [E, dim] (not clipped), and the history with this frame appended.
    """
    vectors, kept = {}, {}
    for index, group in enumerate(groups):
        frame = group.frame(view, jax.random.fold_in(key, index))[:, None]
        if group.history_length > 1:
            frame = jnp.concatenate([history[group.name][:, 1:], frame], axis=1)
            kept[group.name] = frame
        vectors[group.name] = group.vector(frame)
    return vectors, kept
