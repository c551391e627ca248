"""Observation groups: terms in alphabetical order or in the config's, with noise, scale and history.

One term of one frame is (value + U(-noise, noise)) * scale. With a history of h frames a term
occupies h * dim consecutive entries, oldest frame first. Frames before the reset are zero, or copies of
the first frame after it (`ObservationGroupConfig.history_fill`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import ObservationConfig, ObservationGroupConfig
from holosoma_jax.envs.env import ObservationTerm
from holosoma_jax.envs.terms import registry
from holosoma_jax.envs.terms.observations import mirror_of
from holosoma_jax.envs.terms.term import Term, lifted, term_key
from holosoma_jax.envs.view import View

History = Mapping[str, jax.Array]
"""Group -> past frames [E, history_length, frame_dim], newest last; only groups with history.

For a group that is filled with its first frame also `BEGUN` + group -> [E] bool: that frame is in it.
"""
BEGUN = "begun/"


@dataclass(frozen=True)
class Group:
    """One observation vector, compiled from its config."""

    name: str
    layout: tuple[ObservationTerm, ...]
    terms: Mapping[str, Term]
    """name -> record, in the order of `layout`"""
    history_length: int
    noisy: bool
    fills: bool = False
    """the frames before an episode are copies of its first one"""

    @property
    def frame_dim(self) -> int:
        """Entries of one frame."""
        return sum(term.dim for term in self.layout)

    @property
    def dim(self) -> int:
        """Entries of the vector."""
        return self.frame_dim * self.history_length

    def frame(
        self, view: View, states: Mapping[str, Any], key: jax.Array
    ) -> tuple[jax.Array, dict[str, Any]]:
        """The newest frame [E, frame_dim], with noise where the config asks for it, and the terms' states."""
        parts, after = [], {}
        for place in self.layout:
            term, state = self.terms[place.name], states.get(place.name, ())
            draws = term.draw(term_key(key, self.name, place.name), view.scene) if term.draw else None
            value, after[place.name] = term.call(term.apply, view, state, draws=draws)
            if self.noisy and place.noise > 0.0:
                noise_key = term_key(key, f"{self.name}/noise", place.name)
                value = value + place.noise * jax.random.uniform(noise_key, value.shape, minval=-1.0)
            parts.append(value * place.scale)
        return jnp.concatenate(parts, axis=-1), after

    def vector(self, frames: jax.Array) -> jax.Array:
        """Frames [E, history_length, frame_dim], oldest first -> vector [E, dim], term by term."""
        if self.history_length == 1:
            return frames[:, 0]
        parts, start = [], 0
        for term in self.layout:
            block = frames[:, :, start : start + term.dim]
            parts.append(block.reshape(block.shape[0], -1))
            start += term.dim
        return jnp.concatenate(parts, axis=-1)


def build(cfg: ObservationConfig, example: View) -> tuple[Group, ...]:
    """Compile the groups of a config.

    Args:
      cfg: groups and terms.
      example: a view of arrays with the shapes of a run, to learn each term's width.

    Raises:
      ConfigError: a term's function, parameters or output shape is wrong, a group is empty.
    """
    groups = []
    for name, group in cfg.groups.items():
        if not group.terms:
            raise ConfigError(f"observation.groups.{name}.terms: the group is empty; give it a term.")
        groups.append(_group(name, group, example))
    return tuple(groups)


def _group(name: str, cfg: ObservationGroupConfig, example: View) -> Group:
    layout, terms, start = [], {}, 0
    for term_name in _order(name, cfg):
        term = cfg.terms[term_name]
        record = lifted(registry.make("observations", term_name, term.func, term.params))
        dim = _width(term_name, record, example)
        func = (term.func or term_name).replace("-", "_")
        function = registry.resolve("observations", term_name, term.func)
        index, sign = mirror_of(func, function, example.robot)
        layout.append(
            ObservationTerm(
                group=name,
                name=term_name,
                func=func,
                dim=dim,
                history_length=cfg.history_length,
                scale=term.scale,
                noise=term.noise if cfg.enable_noise else 0.0,
                start=start,
                mirror_index=index,
                mirror_sign=sign,
                params=tuple(sorted(term.params.items())),
                history_fill=cfg.history_fill,
            )
        )
        terms[term_name] = record
        start += dim * cfg.history_length
    fills = cfg.history_fill == "first" and cfg.history_length > 1
    return Group(name, tuple(layout), terms, cfg.history_length, cfg.enable_noise, fills)


def _order(name: str, cfg: ObservationGroupConfig) -> list[str]:
    """The terms' names as they are concatenated.

    Raises:
      ConfigError: `cfg.order` does not name every term once.
    """
    if not cfg.order:
        return sorted(cfg.terms)
    order = [term.replace("-", "_") for term in cfg.order]
    if sorted(order) != sorted(cfg.terms):
        odd = sorted(set(order) ^ set(cfg.terms)) or [next(n for n in order if order.count(n) > 1)]
        raise ConfigError(
            f"observation.groups.{name}.order: has to name every term of the group once; look at '{odd[0]}'. "
            f"Terms: {', '.join(cfg.terms)}."
        )
    return order


def _width(name: str, term: Term, example: View) -> int:
    """Entries of one frame of `term`.

    Raises:
      ConfigError: it is not one row per environment.
    """

    def value(key: jax.Array) -> jax.Array:
        draws = term.draw(key, example.scene) if term.draw else None
        return term.call(term.apply, example, term.init(key, example.scene), draws=draws)[0]

    shape, num_envs = jax.eval_shape(value, jax.random.key(0)).shape, example.scene.num_envs
    if len(shape) != 2 or shape[0] != num_envs:
        raise ConfigError(
            f"observation term '{name}' returned shape {shape} for {num_envs} environments, wanted ({num_envs}, dim): "
            "one row per environment."
        )
    return shape[1]


def empty_history(groups: tuple[Group, ...], num_envs: int) -> dict[str, jax.Array]:
    """Zero frames of every group that keeps a history; all zeros mean that no episode has a frame yet."""
    history = {
        g.name: jnp.zeros((num_envs, g.history_length, g.frame_dim), jnp.float32)
        for g in groups
        if g.history_length > 1
    }
    return history | {BEGUN + g.name: jnp.zeros(num_envs, bool) for g in groups if g.fills}


def observe(
    groups: tuple[Group, ...],
    view: View,
    history: History,
    states: Mapping[str, Mapping[str, Any]],
    key: jax.Array,
) -> tuple[dict[str, jax.Array], dict[str, jax.Array], dict[str, dict[str, Any]]]:
    """New observations, the history that holds their frames, and the states of their terms.

    Args:
      groups: as built.
      view: the state to observe.
      history: past frames; not altered.
      states: group -> term -> state.
      key: for the noise; every group and term gets its own stream.

    Returns:
      group -> vector [E, dim] (not clipped); the history with this frame appended; group -> term -> state.
    """
    vectors, kept, after = {}, {}, {}
    for group in groups:
        frame, after[group.name] = group.frame(view, states.get(group.name, {}), key)
        frame = frame[:, None]
        if group.history_length > 1:
            past = history[group.name]
            if group.fills:
                begun = history[BEGUN + group.name]
                past = jnp.where(begun[:, None, None], past, frame)
                kept[BEGUN + group.name] = jnp.ones_like(begun)
            frame = jnp.concatenate([past[:, 1:], frame], axis=1)
            kept[group.name] = frame
        vectors[group.name] = group.vector(frame)
    return vectors, kept, after
