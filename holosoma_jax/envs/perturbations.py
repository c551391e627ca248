"""What an evaluation disturbs the robot with: a function from the trained config to the one to run.

Four kinds of disturbance can be switched: observation noise, pushes, action delay, and model
randomisation (masses, friction, gains, torque noise, ... and any other term of a user's own). How episodes
start (joint angles and root velocity around the initial pose) is part of the task and stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from holosoma_jax.config.schema import Config, ObservationConfig, TermConfig
from holosoma_jax.envs.terms import registry
from holosoma_jax.envs.terms.term import Curriculum, Randomization

Terms = Mapping[str, TermConfig]


@dataclass(frozen=True)
class Perturbations:
    """Which disturbances act, and how strong they are compared with training."""

    noise: bool = False
    pushes: bool = False
    delay: bool = False
    randomization: bool = False
    strength: float = 1.0
    """1: as trained. Noise, push speeds and the width of every randomised range grow by this factor,
    push intervals shrink by it, and above 1 the longest delay grows by one control step"""


_FLOORS = {
    "friction_range": 0.05,
    "link_mass_range": 0.1,
    "kp_range": 0.1,
    "kd_range": 0.1,
    "rfi_lim_range": 0.0,
}
"""Lower ends that widening must not cross: physics has no negative friction, mass, gain or size of noise."""


def apply_perturbations(cfg: Config, perturbations: Perturbations) -> Config:
    """`cfg` with the disturbances of `perturbations`, and with rewards at their full weight.

    A disturbance that the config does not have is not invented, and one that it has switched off
    stays off: True means 'as trained'.

    Raises:
      ConfigError: a term that cannot be made.
    """
    physics = replace(
        cfg.randomization,
        setup_terms=_randomization(cfg.randomization.setup_terms, perturbations),
        reset_terms=_randomization(cfg.randomization.reset_terms, perturbations),
    )
    return replace(
        cfg,
        observation=_noise(cfg.observation, perturbations),
        randomization=physics,
        curriculum=replace(cfg.curriculum, setup_terms=_full_weights(cfg.curriculum.setup_terms)),
    )


def _noise(cfg: ObservationConfig, perturbations: Perturbations) -> ObservationConfig:
    groups = {}
    for name, group in cfg.groups.items():
        terms = {k: replace(t, noise=t.noise * perturbations.strength) for k, t in group.terms.items()}
        groups[name] = replace(group, enable_noise=group.enable_noise and perturbations.noise, terms=terms)
    return replace(cfg, groups=groups)


def _randomization(terms: Terms, perturbations: Perturbations) -> dict[str, TermConfig]:
    """The terms that act, with the parameters of their strength; a plain function has none that are known."""
    switches = {
        "start": True,
        "pushes": perturbations.pushes,
        "delay": perturbations.delay,
        "dynamics": perturbations.randomization,
    }
    active = {}
    for name, term in terms.items():
        record = registry.make("randomization", name, term.func, term.params)
        kind = record.disturbance if isinstance(record, Randomization) else "dynamics"
        if not switches[kind]:
            continue
        active[name] = term
        if kind != "start" and isinstance(record, Randomization):
            params = registry.parameters("randomization", name, term.func, term.params)
            changed = _stronger(params, perturbations.strength)
            active[name] = replace(term, params={**term.params, **changed})
    return active


def _stronger(params: Mapping[str, Any], strength: float) -> dict[str, Any]:
    """Parameters for a disturbance of another strength, by what their names say.

    ``*_step_range``: one more above strength 1; other ``*_range``: wider about the middle; ``*_interval_s``:
    shorter; ``max_*``: larger; ``in_evaluation``: yes.
    """
    changed: dict[str, Any] = {}
    for name, value in params.items():
        if name == "in_evaluation":
            changed[name] = True
        elif name.endswith("_step_range"):
            changed[name] = (value[0], value[1] + 1 if strength > 1.0 else value[1])
        elif name.endswith("_interval_s"):
            changed[name] = tuple(t / strength for t in value)
        elif name.startswith("max_") and isinstance(value, tuple):
            changed[name] = tuple(v * strength for v in value)
        elif name.endswith("_range") and isinstance(value, Mapping):
            changed[name] = {axis: _wider(pair, strength) for axis, pair in value.items()}
        elif name.endswith("_range"):
            low, high = _wider(value, strength)
            changed[name] = (max(low, min(value[0], _FLOORS.get(name, low))), high)
    return changed


def _wider(pair: tuple[float, float], strength: float) -> tuple[float, float]:
    extra = 0.5 * (strength - 1.0) * (pair[1] - pair[0])
    return pair[0] - extra, pair[1] + extra


def _full_weights(terms: Terms) -> dict[str, TermConfig]:
    """Without the curricula that scale rewards, so that reports of any two policies compare."""

    def scales(name: str, term: TermConfig) -> bool:
        record = registry.make("curriculum", name, term.func, term.params)
        return isinstance(record, Curriculum) and record.reward_scale is not None

    return {name: term for name, term in terms.items() if not scales(name, term)}
