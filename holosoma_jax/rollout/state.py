"""The values of a rollout: what goes from control step to control step, and what is seen of one.

E = environments of this process. With several devices (`parallel.devices`) every array here but those of `StepInfo` has
a leading device axis [D, ...], and E is the number of environments of one device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import struct

from bridges.protocol import Array, Physics, Pose, SimState
from holosoma_jax.envs.env import ActuatorCommand, EnvState, StepResult
from holosoma_jax.rollout import metrics, nan_guard


class EnvCarry(struct.PyTreeNode):
    """What changes on the device from control step to control step, beside learner and simulator."""

    env: EnvState
    episodes: metrics.Episodes
    metrics_buffer: dict[str, metrics.Mean]  # since it was last flushed
    step: jax.Array  # [] int32, control steps since the run began


class RolloutState(NamedTuple):
    """Environments and simulator between two control steps. Owns its arrays: nothing in it is borrowed."""

    carry: EnvCarry
    physics: Physics
    sim: SimState
    """state that the next observation is made from"""
    history: nan_guard.History
    """the last simulator states, for the report on a non-finite one"""


class RunnerState(NamedTuple):
    """Everything that changes during a run."""

    learner: Any
    replay: Any
    """what `act` stores transitions in and learns from (`off_policy.ReplayState`); None on-policy"""
    pending: Any
    """what both halves of a control step write to: on-policy `on_policy.RolloutBuffer`, off-policy the last
    `Transition`, in an evaluation its running scores; `overlapped.Pair` has two of them"""
    rollout: Any
    """`RolloutState`"""


class EnvStep(NamedTuple):
    """The environments' half of a control step, for `RolloutFns.process`."""

    before: EnvState
    """the state in which the action was taken"""
    sim: SimState
    """the state that the simulator reached, before any reset"""
    command: ActuatorCommand
    """what the simulator was asked to do"""
    result: StepResult


class StepInfo(NamedTuple):
    """A control step as a callback sees it, before the simulator resets anything.

    Arrays are borrowed: what outlives the call has to be copied.
    """

    t: int
    """control steps before this one, in this call of the driver"""
    sim: SimState
    """the state reached"""
    command: Array | None
    """[E, 3] the velocity command under which the action was taken, if the task has one (`Env.velocity_command`)"""
    targets: Array | None
    """[E, J] rad, what the simulator was asked for; None in a replayed callback"""
    reset: Array
    """[E] bool: environments whose episode ended"""
    nonfinite: Array
    """[E] bool: environments whose simulator state was not finite"""
    any_nonfinite: bool
    history: nan_guard.History
    """with several devices gathered only where `any_nonfinite`"""
    pending: Any
    """`RunnerState.pending` after this step; None in a replayed callback"""
    ghost: Pose | None = None
    """[E, ...] the pose that the step was to reach, if the task has one (`Env.ghost`)"""


class Keys(NamedTuple):
    """Roots of the random streams."""

    own: jax.Array
    """of this process: exploration, environments, what is replayed"""
    shared: jax.Array
    """of all processes: what must be the same on each"""


class IterationStats(NamedTuple):
    """What some iterations amounted to; on the host."""

    iterations: int
    control_steps: int
    scalars: Mapping[str, float]
    valid: float
    """share of environment steps whose simulator state was finite"""
    finite: bool
    """whether all that is learnt is, and all rewards were"""
    collection_s: float | None = None
    """s, in environments and simulator; None where that cannot be told apart"""
    learning_s: float | None = None
    """s, in the learner"""
    physics_s: float | None = None
    """s, of `collection_s`, inside the simulator"""
    causes: tuple[str, ...] = ()
    """if not `finite`: terms that were not in the first control step in which anything was not, where the driver
    continues before `culprits` can be asked"""


OnStep = Callable[[StepInfo], None]
"""Called once per control step."""

OnIteration = Callable[[int], bool]
"""Called before iteration `i` of the run; False: end before it, if the driver can."""


def no_callback(info: StepInfo) -> None:
    """An `OnStep` that does nothing."""


def keep_going(iteration: int) -> bool:
    """An `OnIteration` that never ends anything."""
    return True
