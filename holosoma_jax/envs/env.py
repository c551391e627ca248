"""What an environment is: four pure functions over one state, and the values they exchange."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from bridges.protocol import Array, PhysicsParams, Pose, SimState

EnvState: TypeAlias = Any
"""A frozen pytree: clocks, states of all terms, histories, keys. Checkpointed whole."""

Observations: TypeAlias = Mapping[str, Array]
"""Observation group -> [E, dim] float32; always 'actor_obs' and 'critic_obs'."""


@dataclass(frozen=True)
class ObservationTerm:
    """Where one term lies in its group's vector, and how it was made."""

    group: str
    name: str
    func: str
    dim: int
    """entries of one frame"""
    history_length: int
    """frames, oldest first; the term occupies dim * history_length entries"""
    scale: float
    noise: float
    start: int
    """index of its first entry in the group's vector"""
    mirror_index: tuple[int, ...]
    """[dim] entry i of the mirrored frame is entry mirror_index[i] ..."""
    mirror_sign: tuple[float, ...]
    """[dim] ... times mirror_sign[i]"""
    params: tuple[tuple[str, Any], ...] = ()
    history_fill: str = "zero"
    """frames before the episode: 'zero', or copies of its 'first' frame"""


@dataclass(frozen=True)
class EnvSpec:
    """Static facts of an environment."""

    num_envs: int
    action_dim: int
    control_dt: float
    """s"""
    max_episode_steps: int
    layout: tuple[ObservationTerm, ...]
    """every term of every group, in the order of concatenation"""
    obs_dims: Mapping[str, int]
    """group -> length of its vector"""
    action_mirror_index: tuple[int, ...]
    action_mirror_sign: tuple[float, ...]
    reward_names: tuple[str, ...]
    command_ranges: Mapping[str, tuple[float, float]] | None
    clip_observations: float
    pooled: frozenset[str] = frozenset()
    """paths in `EnvState`, a/b/c, of arrays that are one for all environments: they become the mean over devices, as
    single floats do"""
    action_clip: float | None = None
    """actions are clipped to +- this before they become targets; None: not stated"""


class ActuatorCommand(NamedTuple):
    """What a control step commands the robot's actuators to do: the arguments of `Bridge.step`."""

    targets: Array
    """[E, J] rad"""
    torque_offset: Array | None
    """[E, decimation, J] N m, or None when torque noise is off"""


class Reset(NamedTuple):
    """What the bridge has to reset after a control step."""

    mask: Array
    """[E] bool: environments that are placed anew: an episode begins, or the task places them within one"""
    pose: Pose
    params: PhysicsParams
    """parameters redrawn for the environments in ``mask``"""
    push_mask: Array
    """[E] bool: environments whose root velocity is replaced"""
    push_lin: Array
    """[E, 3] m/s"""
    push_ang: Array
    """[E, 3] rad/s"""


class StepResult(NamedTuple):
    """What a control step is worth to the learner."""

    reward: Array
    """[E]"""
    terminated: Array
    """[E] bool: the task failed; nothing is bootstrapped"""
    truncated: Array
    """[E] bool: the clock ran out; may coincide with terminated"""
    final_obs: Observations
    """observations [E, dim] of the state reached, before any reset"""
    reset: Reset
    episode_return: Array
    """[E] sum of rewards of the running episode, this step included (final where reset.mask)"""
    episode_length: Array
    """[E] int32, control steps of the running episode, this step included (likewise)"""
    metrics: Mapping[str, Any]
    """'Group/name' -> scalar, or a (sum, count) pair of scalars to be pooled over a window"""
    nonfinite: Array
    """[E] bool: the simulator returned a non-finite state; the environment is reset and the
    transition carries zero reward and ``truncated``"""
    jumped: Array | None = None
    """[E] bool: the robot is placed elsewhere within its episode, and nothing is carried over; None: none is"""

    @property
    def cut(self) -> Array:
        """[E] bool: no failure, and yet what follows is not what the step led to: `truncated` or `jumped`.

        Learners bootstrap from `final_obs` there, and look no further.
        """
        return self.truncated if self.jumped is None else self.truncated | self.jumped


def no_velocity_command(state: EnvState) -> None:
    """What `Env.velocity_command` is for a task without velocity commands."""
    del state


def no_ghost(state: EnvState) -> None:
    """What `Env.ghost` is for a task without a second pose to show."""
    del state


class Env(NamedTuple):
    """One task: pure functions, to be jitted by the loop that owns them.

    The control step, in this order for every simulator::

        state, actuator_command = env.pre_step(state, action)
        physics, sim = bridge.step(physics, *actuator_command)
        state, result = env.post_step(state, sim)
        physics, sim = bridge.reset / randomize / set_root_velocity as result.reset asks
        state, obs = env.observe(state, sim)
    """

    spec: EnvSpec
    init: Callable[[Array], tuple[EnvState, Reset]]
    """key -> state, and the first poses and parameters of every environment (mask all true)"""
    pre_step: Callable[[EnvState, Array], tuple[EnvState, ActuatorCommand]]
    """state, action [E, action_dim] -> state, actuator command"""
    post_step: Callable[[EnvState, SimState], tuple[EnvState, StepResult]]
    """state, simulator state after physics -> state, rewards, terminations, resets"""
    observe: Callable[[EnvState, SimState], tuple[EnvState, Observations]]
    """state, simulator state after resets -> state, observations for the policy"""
    randomize_clocks: Callable[[EnvState, Array], EnvState]
    """state, key -> state with uniform random episode clocks (spreads the first time-outs)"""
    velocity_command: Callable[[EnvState], Array | None] = no_velocity_command
    """state -> [E, 3] m/s forward, m/s left, rad/s yaw rate, to be shown to people; None if there is none"""
    ghost: Callable[[EnvState], Pose | None] = no_ghost
    """state -> pose [E, ...] in which the robot is asked to be, to be shown to people; None if there is none"""
    task: Any = None
    """`envs.task.Task` that this is the environment of"""
    mdp: Any = None
    """`envs.mdp.Mdp`, its terms"""
