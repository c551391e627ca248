"""What the robot is asked to do: observations, rewards, terminations and the other terms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from holosoma_jax.config.schema.types import Magnitude, PositiveFloat, PositiveInt, Weight

HistoryFill: TypeAlias = Literal["zero", "first"]
"""What the frames of a history hold that lie before the episode: zeros, or its first frame."""


@dataclass(frozen=True)
class ObservationTermConfig:
    """One observation term: (value + U(-noise, noise)) * scale."""

    func: str = ""
    """Name in envs/terms/observations.py, or package.module:function; default: the term's name."""
    scale: Weight = 1.0
    """Multiplies the term after noise."""
    noise: Magnitude = 0.0
    """Half-width of the uniform noise, in the term's own unit."""
    params: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the function."""


@dataclass(frozen=True)
class ObservationGroupConfig:
    """One observation vector: its terms, in alphabetical order unless `order` says otherwise."""

    enable_noise: bool = True
    """False switches the noise of every term off."""
    history_length: PositiveInt = 1
    """Frames kept per term, oldest first."""
    history_fill: HistoryFill = "zero"
    """What the frames before an episode hold: zeros, as in holosoma, or its first frame, as in Isaac Lab."""
    order: tuple[str, ...] = ()
    """Every term's name, in the order of the vector; default: alphabetical, as in holosoma."""
    terms: dict[str, ObservationTermConfig] = field(default_factory=dict)


@dataclass(frozen=True)
class ObservationConfig:
    """What policy and critic see."""

    groups: dict[str, ObservationGroupConfig] = field(default_factory=dict)
    clip_observations: PositiveFloat = 100.0
    """Observations are clipped to +- this."""


@dataclass(frozen=True)
class RewardTermConfig:
    """One reward term: weight * value * control_dt is added each step."""

    weight: Weight
    """Negative for a penalty; 0 switches the term off."""
    func: str = ""
    """Name in envs/terms/rewards.py, or package.module:function; default: the term's name."""
    params: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the function."""
    tags: tuple[str, ...] = ()
    """Curricula act on the terms that carry their tag."""


@dataclass(frozen=True)
class RewardConfig:
    """The reward: a weighted sum of terms."""

    terms: dict[str, RewardTermConfig] = field(default_factory=dict)
    only_positive_rewards: bool = False
    """Clip the sum at zero."""


@dataclass(frozen=True)
class TerminationTermConfig:
    """One reason for an episode to end."""

    func: str = ""
    """Name in envs/terms/terminations.py, or package.module:function; default: the term's name."""
    is_timeout: bool = False
    """True: a truncation (bootstrapped), not a failure."""
    params: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the function."""


@dataclass(frozen=True)
class TerminationConfig:
    """When episodes end."""

    terms: dict[str, TerminationTermConfig] = field(default_factory=dict)


@dataclass(frozen=True)
class TermConfig:
    """A named function with parameters."""

    func: str = ""
    """Name of the function, or package.module:function; default: the term's name."""
    params: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the function."""


@dataclass(frozen=True)
class CommandConfig:
    """What the robot is asked to do."""

    setup_terms: dict[str, TermConfig] = field(default_factory=dict)


@dataclass(frozen=True)
class RandomizationConfig:
    """What differs between environments and episodes."""

    setup_terms: dict[str, TermConfig] = field(default_factory=dict)
    """Drawn when the environments are created (and, for schedules and gains, at resets)."""
    reset_terms: dict[str, TermConfig] = field(default_factory=dict)
    """Drawn at every reset."""
    ignore_unsupported: bool = False
    """Skip, with a warning, what the simulator cannot randomise, instead of stopping."""


@dataclass(frozen=True)
class CurriculumConfig:
    """What becomes harder as the robot improves."""

    setup_terms: dict[str, TermConfig] = field(default_factory=dict)
