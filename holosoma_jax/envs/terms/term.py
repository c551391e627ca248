"""Terms: records of pure functions with a state of their own, after `optax.GradientTransformation`.

There is one record type a kind. A record is made by a *factory*: a function whose parameters are all
keyword-only; a config sets them. All records share these functions:

- ``init(key, scene) -> state``: the term's state for all environments, a pytree, made once.
- ``reset(view, mask, state[, draws]) -> state``: the state where episodes begin, ``mask`` [E] bool. It is
  called once for all environments after `init`; there is no simulator state yet then, and ``view.sim`` is
  at rest at the origin.
- ``draw(key, scene) -> draws``: all that the term draws in one control step. Where a record has `draw`, the
  functions marked ``[, draws]`` get the result as their last argument. The key depends on the step and on the
  term's kind and name, so a new term does not change what the others draw.
- ``value(state)``: what other terms see of the state, by default all of it.
- ``metrics(view, state)``: name -> scalar, or a (sum, count) pair; logged as Env/name. Called once a control step,
  before the curricula's updates and the resets.

States are checkpointed. A state that is one float for all environments, such as a running average, becomes
the mean over devices, and so do the fields that a record lists as `pooled`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.scene import Scene

State: TypeAlias = Any
"""A pytree of arrays; () for a term without state."""
Range: TypeAlias = tuple[float, float]
Disturbance: TypeAlias = Literal["start", "pushes", "delay", "dynamics"]


def no_state(key: jax.Array, scene: Scene) -> State:
    """`init` of a term that remembers nothing."""
    del key, scene
    return ()


def keep(view: Any, mask: jax.Array, state: State, draws: Any = None) -> State:
    """`reset` of a term whose state outlives episodes."""
    del view, mask, draws
    return state


def where(mask: jax.Array, new: State, old: State) -> State:
    """The pytree `new` in the environments of `mask` [E] bool, `old` elsewhere; leaves are [E, ...]."""

    def choose(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(mask.reshape((-1,) + (1,) * (y.ndim - 1)), x, y)

    return jax.tree.map(choose, new, old)


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """What the terms of every kind have in common; see the module."""

    EPISODIC: ClassVar[bool] = True
    """a state of this kind belongs to an episode, unless its `reset` is `keep`"""
    EFFECTS: ClassVar[tuple[str, ...]] = ()
    """functions of which a record of this kind must have one"""

    init: Callable[[jax.Array, Scene], State] = no_state
    reset: Callable[..., State] | None = None
    draw: Callable[[jax.Array, Scene], Any] | None = None
    value: Callable[[State], Any] = lambda state: state
    metrics: Callable[[Any, State], Mapping[str, Any]] | None = None
    pooled: tuple[str, ...] = ()
    """fields of the state that are one for all environments and no single float, such as counts of bins"""

    def __post_init__(self) -> None:
        """Raise ConfigError for a state without reset, and for a record without effect."""
        if self.EPISODIC and self.init is not no_state and self.reset is None:
            raise ConfigError(
                "the term has a state and no reset; pass reset=..., or reset=keep if it outlives episodes."
            )
        if self.EFFECTS and all(getattr(self, name) is None for name in self.EFFECTS):
            raise ConfigError(f"the term does nothing; pass at least one of {', '.join(self.EFFECTS)}.")

    def call(self, function: Callable[..., Any], *args: Any, draws: Any) -> Any:
        """`function` of this record, with `draws` as its last argument if the term draws."""
        return function(*args) if self.draw is None else function(*args, draws)

    def start_episodes(self, view: Any, mask: jax.Array, state: State, draws: Any) -> State:
        """`reset`, if there is one."""
        return state if self.reset is None else self.call(self.reset, view, mask, state, draws=draws)


@dataclass(frozen=True, eq=False, kw_only=True)
class Term(Record):
    """An observation, reward or termination with memory. Without memory, a plain function will do."""

    apply: Callable[..., tuple[jax.Array, State]]
    """view, state[, draws] -> value, state. Value: observation [E, dim], reward [E], termination [E] bool.

    An observation is applied twice a control step: to the state reached (the state it returns is dropped),
    and to the state after resets.
    """


@dataclass(frozen=True, eq=False, kw_only=True)
class Command(Record):
    """What the robot is asked to do, or a clock that goes with it: ``view.commands[name]``."""

    update: Callable[..., State]
    """view, state[, draws] -> state, once a control step, after the resets. ``view.commands`` are those after
    the resets: commands do not see each other's update of the same step."""
    refresh: Callable[[Any, State], State] | None = None
    """view, state -> state, before the observations, when the simulator has carried out resets and pushes"""
    place: Callable[..., tuple[jax.Array, Any]] | None = None
    """view, mask, pose, state[, draws] -> mask, pose: where robots are put. It may add environments to those
    that start an episode ([E] bool), which are then put there within their episode"""
    jump: Callable[[State], jax.Array] | None = None
    """state after `update` -> [E] bool: of the robots that `place` puts elsewhere within their episode, those that
    carry nothing over. Their actions and histories are cleared, what other terms remember of the way there is
    reset, and learners do not look across. The episode, its clock and its sums continue"""
    ghost: Callable[[Any, State], Any] | None = None
    """view, state -> `Pose` [E, ...] in which the robot is to be, for people to see; ``view.sim`` is at rest"""
    ranges: Mapping[str, Range] | None = None
    """axis -> limits of what it draws: exported with the policy, offered by the viewer"""
    steer: Callable[[State, jax.Array], State] | None = None
    """state, velocity [E, 3] -> state that asks for that velocity (m/s, m/s, rad/s)"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Curriculum(Record):
    """What changes as the robot improves: ``view.curricula[name]``, and direct effects on other parts."""

    EPISODIC: ClassVar[bool] = False

    update: Callable[..., State]
    """view, state[, draws] -> state, once a control step, before the resets; ``view.finished`` are the episodes
    that ended. Curricula run in the order of the config and see those before them updated"""
    reward_scale: Callable[[State, tuple[str, ...]], Any] | None = None
    """state, tags of a reward term -> factor [] on its weight, or None if these tags are none of its business"""
    command_ranges: Callable[[State], Mapping[str, tuple[Any, Any]]] | None = None
    """state -> axis -> (low, high), each [] or [E], that the commands draw from instead of their own"""
    spawn_row: Callable[[State], jax.Array] | None = None
    """state -> [E] int32, row of the terrain's tiles that an environment's next episode starts on"""


class Actuation(NamedTuple):
    """What becomes of the policy's action on its way to the actuators."""

    action: jax.Array
    """[E, J] the clipped action that is carried out in this control step"""
    torque: jax.Array | None = None
    """[E, decimation, J] N m, added to the actuators' torque"""
    torque_scale: jax.Array | None = None
    """[E, J] factor on `torque`"""


class RootVelocity(NamedTuple):
    """A push: the root's velocity is replaced."""

    mask: jax.Array
    """[E] bool"""
    lin: jax.Array
    """[E, 3] m/s, world frame"""
    ang: jax.Array
    """[E, 3] rad/s, world frame"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Randomization(Record):
    """What differs between environments, episodes and moments; by when it acts."""

    EPISODIC: ClassVar[bool] = False
    EFFECTS: ClassVar[tuple[str, ...]] = ("startup", "physics", "pose", "joint_bias", "actuate", "push")

    startup: Callable[[jax.Array, Scene], Any] | None = None
    """key, scene -> `PhysicsParams`, drawn once"""
    physics: Callable[..., Any] | None = None
    """view, state[, draws] -> `PhysicsParams` of a new episode"""
    pose: Callable[..., Any] | None = None
    """view, pose, state[, draws] -> `Pose` at the start of an episode"""
    joint_bias: Callable[[State], jax.Array] | None = None
    """state -> [E, J] rad, error of the joints' zero: shifts the pose of a zero action, and what is observed"""
    actuate: Callable[..., tuple[Actuation, State]] | None = None
    """scene, actuation, state[, draws] -> actuation, state, before the physics"""
    push: Callable[..., tuple[RootVelocity, State]] | None = None
    """view, state[, draws] -> push, state, once a control step, after the resets"""
    disturbance: Disturbance = "dynamics"
    """what an evaluation counts it as, when it switches disturbances on and off"""


def lifted(term: Any) -> Term:
    """A `Term` as it is; a plain function ``view -> value`` as a term without state."""
    if isinstance(term, Term):
        return term

    def apply(view: Any, state: State) -> tuple[jax.Array, State]:
        return term(view), state

    return Term(apply=apply)


def term_key(key: jax.Array, kind: str, name: str) -> jax.Array:
    """The key of one term, which does not depend on the others."""
    return jax.random.fold_in(key, zlib.crc32(f"{kind}/{name}".encode()))
