"""Which learner, and its settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from holosoma_jax.config import extensions
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.fast_sac import FastSacConfig
from holosoma_jax.config.schema.optimizer import OptimizerConfig
from holosoma_jax.config.schema.types import (
    OWN,
    ChosenBy,
    Fraction,
    Magnitude,
    Names,
    NonNegativeFloat,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    Std,
    Weight,
)

T = TypeVar("T")


@dataclass(frozen=True)
class PpoConfig:
    """Proximal policy optimisation (Schulman et al. 2017) with a KL-adaptive learning rate."""

    num_learning_iterations: PositiveInt = 25_000
    """Iterations in total, counted from the first start of the run."""
    num_steps_per_env: PositiveInt = 24
    """Control steps per environment in one iteration."""
    num_learning_epochs: PositiveInt = 8
    """Passes over each iteration's data."""
    num_mini_batches: PositiveInt = 4
    """Mini-batches per pass."""
    clip_param: PositiveFloat = 0.2
    """Clip range of the importance ratio, and of the value update."""
    gamma: Fraction = 0.99
    """Discount per control step."""
    lam: Fraction = 0.95
    """Lambda of the generalised advantage estimate."""
    value_loss_coef: Magnitude = 1.0
    """Weight of the value loss."""
    clip_value_loss: bool = True
    """Clip the value update to clip_param around the old value."""
    entropy_coef: Weight = 0.01
    """Weight of the entropy bonus."""
    actor_learning_rate: PositiveFraction = 1e-5
    """Initial rate of the actor; the KL rule moves it."""
    critic_learning_rate: PositiveFraction = 1e-5
    """Initial rate of the critic; the KL rule moves it."""
    min_actor_learning_rate: PositiveFraction | None = None
    """Lower bound; default: min(initial, 1e-5)."""
    max_actor_learning_rate: PositiveFraction | None = None
    """Upper bound; default: max(initial, 1e-2)."""
    min_critic_learning_rate: PositiveFraction | None = None
    """Lower bound; default: min(initial, 1e-5)."""
    max_critic_learning_rate: PositiveFraction | None = None
    """Upper bound; default: max(initial, 1e-2)."""
    schedule: Literal["adaptive", "fixed"] = "adaptive"
    """adaptive: the rates follow the KL divergence; fixed: they stay."""
    desired_kl: PositiveFloat = 0.01
    """Target of the adaptive schedule."""
    max_grad_norm: PositiveFloat = 1.0
    """Global gradient norm, of actor and critic separately."""
    actor_optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    critic_optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    actor_hidden: tuple[PositiveInt, ...] = (512, 256, 128)
    """Hidden widths of the actor."""
    critic_hidden: tuple[PositiveInt, ...] = (512, 256, 128)
    """Hidden widths of the critic."""
    activation: Literal["elu", "relu", "silu", "tanh"] = "elu"
    """Activation of the hidden layers."""
    init_noise_std: Std = 0.8
    """Initial standard deviation of the actions."""
    min_noise_std: NonNegativeFloat | None = 1e-3
    """Floor of the standard deviation; null: none (holosoma; it can become NaN)."""
    reference_action: bool = False
    """Add the policy's output to the action that asks each joint for the angle of the task's reference, which a term
    of the actor's observations must show; False: to the default pose, as in holosoma."""
    empirical_normalization: bool = False
    """Normalise observations with running statistics."""
    use_symmetry: bool = True
    """Learn from every mini-batch and its left-right mirror image."""
    symmetry_actor_coef: Magnitude = 1.0
    """Weight of the actor's mirror loss."""
    symmetry_critic_coef: Magnitude = 0.0
    """Weight of the critic's mirror loss."""
    init_at_random_ep_len: bool = True
    """Start episodes at random clock values, so that time-outs do not coincide."""
    reshuffle_each_epoch: bool = False
    """New mini-batches every epoch; False: one permutation an iteration."""
    save_interval: PositiveInt = 100
    """Iterations between checkpoints."""
    load_optimizer: bool = True
    """Restore the optimiser when resuming."""
    phase_mirror: Literal["swap", "holosoma"] = "swap"
    """Mirror of the gait phase; holosoma: negates the left entry only."""
    variance_merge: Literal["exact", "holosoma"] = "exact"
    """Merge of running variances; holosoma: underestimates early."""
    timeout_bootstrap: Literal["unless_terminated", "holosoma"] = "unless_terminated"
    """holosoma: bootstraps a failure that coincides with a time-out."""
    advantage_std: Literal["biased", "holosoma"] = "biased"
    """holosoma: Bessel's correction, eps outside the root."""


SECTIONS: Mapping[str, type] = {"ppo": PpoConfig, "fast_sac": FastSacConfig}
"""Built-in learner -> its settings, known without importing the learner, which needs JAX."""
LearnerName = Annotated[
    str,
    Field(
        pattern=f"^({'|'.join(SECTIONS)}|{OWN})$",
        description=f"one of {', '.join(SECTIONS)}, or package.module:LEARNER",
    ),
    Names(tuple(SECTIONS)),
]
LossName = Annotated[str, Field(pattern=f"^{OWN}$", description="package.module:NAME")]


def section(name: str) -> type | None:
    """The settings of a learner: a frozen dataclass, documented as this schema is; None: no such learner.

    Raises:
      ConfigError: `name` is package.module:NAME, and that cannot be imported or is no learner.
    """
    if ":" not in name:
        return SECTIONS.get(name)
    found = getattr(extensions.imported(name, "algo.name"), "config", None)
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise ConfigError(f"algo.name: '{name}' is no learner; its attribute `config` has to be a dataclass.")
    return found


@dataclass(frozen=True)
class AlgoConfig:
    """The learner."""

    name: LearnerName = "ppo"
    """Learner; chosen with algo:NAME, which brings its settings."""
    config: Annotated[Any, ChosenBy("name", "ppo", section)] = field(default_factory=PpoConfig)
    loss: LossName | None = None
    """A loss of your own instead of the learner's, as package.module:NAME (docs/ppo.md, docs/fast_sac.md)."""

    def __post_init__(self) -> None:
        """Raise ValueError unless the settings are those of the named learner."""
        wanted = section(self.name)
        if wanted is None or not isinstance(self.config, wanted):
            raise ValueError(
                f"AlgoConfig(name='{self.name}') holds a {type(self.config).__name__}; wanted "
                f"{wanted.__name__ if wanted else f'a name of {sorted(SECTIONS)}'}."
            )

    @property
    def ppo(self) -> PpoConfig:
        """PPO's settings; raises TypeError where another learner is chosen."""
        return self._settings(PpoConfig)

    @property
    def fast_sac(self) -> FastSacConfig:
        """FastSAC's settings; raises TypeError where another learner is chosen."""
        return self._settings(FastSacConfig)

    def _settings(self, section: type[T]) -> T:
        if not isinstance(self.config, section):
            raise TypeError(f"algo.name is '{self.name}', so there is no {section.__name__} in this config.")
        return self.config
