"""Settings of FastSAC."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from holosoma_jax.config.schema.optimizer import OptimizerConfig
from holosoma_jax.config.schema.types import (
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    Weight,
)

Atoms = Annotated[int, Field(ge=2)]
LogStd = Annotated[float, Field(ge=-20, le=7)]
HiddenWidth = Annotated[int, Field(ge=4, multiple_of=4, description="an integer >= 4, a multiple of 4")]


@dataclass(frozen=True)
class FastSacConfig:
    """Soft actor-critic (Haarnoja et al. 2018) with categorical critics, for thousands of environments."""

    num_learning_iterations: PositiveInt = 50_000
    """Control steps (of all environments at once) in total, counted from the first start of the run."""
    num_updates: PositiveInt = 8
    """Updates of critic and temperature after each control step."""
    policy_frequency: PositiveInt = 4
    """Updates per update of the actor; at least 2 where num_updates is."""
    gamma: Fraction = 0.97
    """Discount per control step."""
    tau: PositiveFraction = 0.125
    """Share of the critic that its target takes over at each update."""
    batch_size: PositiveInt = 8192
    """Transitions in one update, over all devices; mirror images come on top."""
    buffer_size: PositiveInt = 1024
    """Transitions kept for each environment."""
    num_steps: PositiveInt = 1
    """Rewards summed before the critic takes over (n-step returns)."""
    learning_starts: NonNegativeInt = 10
    """Control steps before the first update."""
    resume_learning_starts: NonNegativeInt = 64
    """Fresh control steps before the first update of a resumed run whose replay buffer was not saved."""
    save_buffer: bool = False
    """Keep the replay buffer in checkpoints, so that a resumed run continues exactly."""
    buffer_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the observations in the replay buffer."""
    actor_learning_rate: PositiveFraction = 3e-4
    """Rate of the actor."""
    critic_learning_rate: PositiveFraction = 3e-4
    """Rate of the critics."""
    alpha_learning_rate: PositiveFraction = 3e-4
    """Rate of the logarithm of the temperature."""
    actor_optimizer: OptimizerConfig = field(default_factory=lambda: _adamw(1e-3))
    critic_optimizer: OptimizerConfig = field(default_factory=lambda: _adamw(1e-3))
    alpha_optimizer: OptimizerConfig = field(default_factory=lambda: _adamw(0.0))
    max_grad_norm: NonNegativeFloat = 0.0
    """Global gradient norm, of actor and critics separately; 0: no limit."""
    alpha_init: PositiveFloat = 1e-3
    """Initial temperature: the weight of the entropy."""
    use_autotune: bool = True
    """Move the temperature until the entropy meets its target; False: it stays."""
    target_entropy_ratio: Weight = 0.0
    """The target is minus this times the number of actions, in nats of the scaled actions."""
    final_target_entropy_ratio: Weight | None = None
    """The ratio at the end of the run, with anneal_share: the target goes there as the learning rates fall. null: it
    stays."""
    num_critics: Annotated[int, Field(ge=1, le=100)] = 2
    """Critics; each follows its own target, the actor their mean."""
    num_atoms: Atoms = 101
    """Points of the critics' return distribution."""
    v_min: Weight = -20.0
    """Lowest return that the critics represent."""
    v_max: Weight = 20.0
    """Highest."""
    actor_hidden_dim: HiddenWidth = 512
    """First hidden width of the actor; the others are a half and a quarter of it."""
    critic_hidden_dim: HiddenWidth = 768
    """First hidden width of each critic; the others are a half and a quarter of it."""
    use_layer_norm: bool = True
    """Layer normalisation after every hidden linear layer."""
    use_tanh: bool = True
    """Squash actions to the joints' range; False: a plain Gaussian."""
    action_bounds: Literal["limits", "holosoma"] = "limits"
    """What tanh = 1 asks for. limits: the joint limit that is furthest from the default pose. holosoma: as if every
    joint had the scale `robot.control.action_scale`, which matters where torque limits and gains scale them."""
    tanh_log_det: Literal["capped", "exact"] = "capped"
    """Logarithm of the squashing's derivative; capped: ln(1 - tanh^2 + 1e-6), as in holosoma."""
    log_std_min: LogStd = -5.0
    """Lowest logarithm of the standard deviation, before squashing."""
    log_std_max: LogStd = 0.0
    """Highest."""
    unit_actions: bool = False
    """Show the critics actions divided by their scale; False: in action units, as in holosoma."""
    obs_normalization: bool = True
    """Normalise observations with running statistics of the replayed ones."""
    use_symmetry: bool = True
    """Learn from every transition and its left-right mirror image."""
    symmetric_networks: bool = False
    """With use_symmetry, in place of mirrored transitions: policy and critics average a network's answers to a state
    and to its mirror image, so they are symmetric whatever was learnt."""
    anneal_share: Fraction = 0.0
    """Share of the run, at its end, over which the learning rates of actor and critics fall linearly, to 2 %."""
    bf16: bool | None = None
    """Multiply matrices in bfloat16, accumulate in float32; null: on accelerators and on processors
    with AVX512-BF16 or AMX."""
    init_at_random_ep_len: bool = True
    """Start episodes at random clock values, so that time-outs do not coincide."""
    save_interval: PositiveInt = 1000
    """Control steps between checkpoints."""
    logging_interval: PositiveInt = 100
    """Control steps between log lines, each the mean over them."""
    phase_mirror: Literal["swap", "holosoma"] = "swap"
    """Mirror of the gait phase; holosoma: negates the left entry only."""
    variance_merge: Literal["exact", "holosoma"] = "exact"
    """Merge of running variances; holosoma: underestimates early."""


def _adamw(weight_decay: float) -> OptimizerConfig:
    return OptimizerConfig(weight_decay=weight_decay, b1=0.9, b2=0.95)
