"""What an evaluation disturbs the robot with: a function from the trained config to the one to run.

Four kinds of disturbance can be switched: observation noise, pushes, action delay, and model
randomisation (masses, friction, gains, torque noise, ... and any term of a user's own). How episodes
start (joint angles and root velocity around the initial pose) is part of the task and stays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from holosoma_jax.config.schema import Config, ObservationConfig, TermConfig
from holosoma_jax.envs.terms import curriculum, randomization, registry

Mode = Literal["clean", "train_like", "stress"]

Terms = Mapping[str, TermConfig]


@dataclass(frozen=True)
class Conditions:
    """Which disturbances act, and how strong they are compared with training."""

    noise: bool = False
    pushes: bool = False
    delay: bool = False
    randomization: bool = False
    strength: float = 1.0
    """1: as trained. Noise, push speeds and the width of every randomised range grow by this factor,
    push intervals shrink by it, and above 1 the longest delay grows by one control step"""


MODES: Mapping[Mode, Conditions] = {
    "clean": Conditions(),
    "train_like": Conditions(noise=True, pushes=True, delay=True, randomization=True),
    "stress": Conditions(noise=True, pushes=True, delay=True, randomization=True, strength=1.5),
}

_FLOORS = {"friction_range": 0.05, "link_mass_range": 0.1, "kp_range": 0.1, "kd_range": 0.1}
"""Lower ends that widening must not cross: physics has no negative friction, mass or gain."""


def choose(mode: Mode, **switches: bool | None) -> Conditions:
    """The mode's conditions, with the switches that are not None in their place."""
    return replace(MODES[mode], **{name: on for name, on in switches.items() if on is not None})


def apply(cfg: Config, conditions: Conditions) -> Config:
    """`cfg` with the disturbances of `conditions`, and with penalties at their full weight.

    A disturbance that the config does not have is not invented, and one that it has switched off
    stays off: True means 'as trained'.

    Raises:
      ConfigError: a randomisation term that cannot be bound.
    """
    physics = replace(
        cfg.randomization,
        setup_terms=_randomization(cfg.randomization.setup_terms, conditions),
        reset_terms=_randomization(cfg.randomization.reset_terms, conditions),
    )
    return replace(
        cfg,
        observation=_noise(cfg.observation, conditions),
        randomization=physics,
        curriculum=replace(cfg.curriculum, setup_terms=_full_penalties(cfg.curriculum.setup_terms)),
    )


def _noise(cfg: ObservationConfig, conditions: Conditions) -> ObservationConfig:
    groups = {}
    for name, group in cfg.groups.items():
        terms = {k: replace(t, noise=t.noise * conditions.strength) for k, t in group.terms.items()}
        groups[name] = replace(group, enable_noise=group.enable_noise and conditions.noise, terms=terms)
    return replace(cfg, groups=groups)


def _randomization(terms: Terms, conditions: Conditions) -> dict[str, TermConfig]:
    kept = {}
    for name, term in terms.items():
        kind = registry.resolve("randomization", name, term.func)
        if kind in (randomization.ResetJoints, randomization.ResetRoot):
            kept[name] = term
        elif kind is randomization.Push:
            if conditions.pushes:
                kept[name] = _changed(name, term, lambda push: _pushes(push, conditions.strength))
        elif kind is randomization.ActionDelay:
            if conditions.delay:
                kept[name] = _changed(name, term, lambda delay: _delay(delay, conditions.strength))
        elif conditions.randomization:
            kept[name] = _changed(name, term, lambda made: _widened(made, conditions.strength))
    return kept


def _changed(name: str, term: TermConfig, change: Callable[[Any], dict[str, Any]]) -> TermConfig:
    """The term with the parameters that `change` returns; a plain function of a user's own stays."""
    if not isinstance(registry.resolve("randomization", name, term.func), type):
        return term
    made = registry.bind("randomization", name, term.func, term.params)()
    return replace(term, params={**term.params, **change(made)})


def _pushes(push: randomization.Push, strength: float) -> dict[str, Any]:
    return {
        "in_evaluation": True,
        "push_interval_s": tuple(t / strength for t in push.push_interval_s),
        "max_push_vel": tuple(v * strength for v in push.max_push_vel),
    }


def _delay(delay: randomization.ActionDelay, strength: float) -> dict[str, Any]:
    low, high = delay.ctrl_delay_step_range
    return {"ctrl_delay_step_range": (low, high + 1 if strength > 1.0 else high)}


def _widened(term: Any, strength: float) -> dict[str, Any]:
    """Every `*_range` parameter of a term, wider about its middle."""
    changed = {}
    for field in dataclasses.fields(term):
        value = getattr(term, field.name)
        if field.name.endswith("_range") and isinstance(value, Mapping):
            changed[field.name] = {axis: _wider(pair, strength) for axis, pair in value.items()}
        elif field.name.endswith("_range"):
            low, high = _wider(value, strength)
            changed[field.name] = (max(low, min(value[0], _FLOORS.get(field.name, low))), high)
    return changed


def _wider(pair: tuple[float, float], strength: float) -> tuple[float, float]:
    extra = 0.5 * (strength - 1.0) * (pair[1] - pair[0])
    return pair[0] - extra, pair[1] + extra


def _full_penalties(terms: Terms) -> dict[str, TermConfig]:
    """Without the curriculum that scales penalties, so that reports of any two policies compare."""
    return {
        name: term
        for name, term in terms.items()
        if registry.resolve("curriculum", name, term.func) is not curriculum.PenaltyCurriculum
    }
