"""What a learner is: a record of pure functions, its settings, and what a run needs to know of it.

PPO's is `learn.ppo.record.LEARNER`, FastSAC's `learn.fast_sac.record.LEARNER`. One of your own is such a record in a
module, named in the config or on the command line::

    python -m holosoma_jax.train exp:g1-29dof algo:my_package.my_learner:LEARNER

docs/new_learner.md says what each function is given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.learn.prior import ActionPrior
from holosoma_jax.learn.symmetry import Mirror

State = Any
"""A frozen pytree: everything that the learner changes or reads. It is checkpointed whole."""

ON_POLICY = ("num_learning_iterations", "save_interval", "num_steps_per_env")
OFF_POLICY = (
    "num_learning_iterations",
    "save_interval",
    "logging_interval",
    "buffer_size",
    "learning_starts",
    "resume_learning_starts",
    "save_buffer",
)
"""Settings that the training loop reads from a learner's config, by the learner's kind."""


@dataclass(frozen=True)
class LearnerSpec:
    """What a learner has to know of the environment."""

    obs_dims: Mapping[str, int]
    """observation group -> entries of its vector; 'actor_obs' and 'critic_obs' among them"""
    action_dim: int
    action_reach: tuple[float, ...]
    """[action_dim] per joint, the action whose joint target is the limit furthest from the default pose"""
    mirror: Mirror | None = None
    """left-right mirror of observations and actions; None unless the settings say `use_symmetry`"""
    prior: ActionPrior | None = None
    """the action that the task's reference asks for; None unless the settings say `reference_action`"""


class ReplayFns(NamedTuple):
    """The replay buffer of an off-policy learner.

    A buffer is a Flax struct with `ptr`, the number [] int32 of control steps ever written. `write` puts a step in
    the slot that `ptr` determines, so that a step is undone by setting `ptr` back.
    """

    init: Callable[..., Any]
    """cfg, spec, num_envs -> an empty buffer"""
    write: Callable[..., Any]
    """buffer, `learn.replay.Transition` -> buffer"""
    sample: Callable[..., Any]
    """buffer, key, cfg, axis_size -> the batch of one `update`"""
    size_bytes: Callable[..., int]
    """cfg, spec, num_envs -> bytes of a buffer"""


class ConsoleMetric(NamedTuple):
    """A number that the terminal shows."""

    label: str
    key: str
    """as `update` names it, or the task"""
    form: str = "{:.3f}"
    in_line: str | None = None
    """its label where there is one line per iteration; None: it is shown in the table only"""


def _the_same(saved: State, fresh: State, cfg: Any, before: Mapping[str, Any]) -> State:
    return saved


@dataclass(frozen=True)
class Learner:
    """A learner. Functions are pure, free of I/O, and not jitted: the training loop compiles them."""

    name: str
    kind: Literal["on_policy", "off_policy"]
    """on_policy: `update` once per rollout; off_policy: once per control step, from a replay buffer"""
    config: type
    """its settings (`algo.config`): a frozen dataclass with at least the fields `ON_POLICY` or `OFF_POLICY`. Read
    where they are there: `use_symmetry` and `phase_mirror`, `action_bounds`, `reference_action`,
    `init_at_random_ep_len`."""
    init: Callable[[Any, Any, Any], State]
    """key, spec, cfg -> state"""
    act: Callable[[State, Mapping[str, Any], Any], tuple[Any, Any]]
    """state, raw observations {group: [N, dim]}, key -> action [N, A], extras: a NamedTuple of [N, ...] arrays"""
    update: Callable[..., tuple[State, dict[str, Any]]]
    """state, batch, key, axis_name=None -> state, metrics {'Group/name': scalar}"""
    mode: Callable[[State, Any], Any]
    """state, raw observations [N, dim] of 'actor_obs' -> the action [N, A] without noise: evaluation and export"""

    spec: Callable[[LearnerSpec], Any] = lambda spec: spec
    """what `init` is given instead of a `LearnerSpec`"""
    batch: type | None = None
    """on-policy: a NamedTuple, of `act`'s extras and of action, reward, terminated, truncated, final_value, valid
    [T, N, ...] and last_value [N]; `update` is given the fields that it has"""
    replay: ReplayFns | None = None
    """off-policy: the replay buffer"""
    observe: Callable[..., State] | None = None
    """on-policy: state, observations, axis_name -> state, before every `act`: a running normaliser"""
    value: Callable[[State, Mapping[str, Any]], Any] | None = None
    """on-policy: state, observations -> value [N], for the bootstrap; without it final values are 0"""
    learned: Callable[[State], Any] = lambda state: state
    """the part of the state that has to be finite"""
    apply_new_hyperparams: Callable[[State, State, Any, Mapping[str, Any]], State] = _the_same
    """restored state, fresh state, cfg, cfg that it was saved under -> the restored state under this session's cfg"""
    check: Callable[[Any, Callable[[str, Any, str], None]], None] | None = None
    """config of the run, refuse(key, value, what is wanted): relations between settings"""
    with_loss: Callable[[Any], Callable[..., Any]] | None = None
    """a loss (`algo.loss`) -> `update` with it; raises ValueError saying what is wanted of one"""
    compiler_options: Callable[[], dict[str, str]] = dict
    """for XLA, where it compiles `update`"""
    iteration_name: str = "iteration"
    """what an iteration is called"""
    console: tuple[ConsoleMetric, ...] = ()
    """what the terminal shows of it, beside reward and episode length"""

    def __post_init__(self) -> None:
        """Raise ValueError where something is missing that this kind of learner needs."""
        needed = {"on_policy": ("batch", ON_POLICY), "off_policy": ("replay", OFF_POLICY)}
        if self.kind not in needed:
            raise ValueError(
                f"Learner '{self.name}': kind is '{self.kind}', wanted one of {', '.join(needed)}."
            )
        part, settings = needed[self.kind]
        if getattr(self, part) is None:
            raise ValueError(f"Learner '{self.name}' is {self.kind} and has no `{part}`.")
        present = {field.name for field in fields(self.config)}
        missing = [name for name in settings if name not in present]
        if missing:
            raise ValueError(
                f"Learner '{self.name}': {self.config.__name__} has no field {', '.join(missing)}, which the training "
                f"loop reads of an {self.kind} learner."
            )

    def replace_loss(self, loss: Any, key: str) -> Learner:
        """This learner with another loss in the place of its own.

        Args:
          loss: what the setting `key` names.
          key: for messages.

        Raises:
          ConfigError: the learner takes none, or not this one.
        """
        if self.with_loss is None:
            raise ConfigError(f"{key}: learner '{self.name}' takes no loss of another module. Leave it out.")
        try:
            return replace(self, update=self.with_loss(loss))
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from None

    def policy_fn(self, state: State) -> Callable[[Any], Any]:
        """The deterministic policy, raw observations [N, dim] of 'actor_obs' -> actions [N, A]."""
        return lambda obs: self.mode(state, obs)


def takes_arguments(function: Any, names: tuple[str, ...]) -> Any:
    """`function`, if it can be called with as many positional arguments.

    Raises:
      ValueError: it cannot; names the arguments.
    """
    wanted = f"wanted a function of ({', '.join(names)})"
    if not callable(function):
        raise ValueError(f"got {type(function).__name__} {function!r:.80}; {wanted}.")
    try:
        inspect.signature(function).bind(*names)
    except (TypeError, ValueError):
        shown = getattr(function, "__name__", repr(function))
        raise ValueError(f"got {shown}{inspect.signature(function)}; {wanted}.") from None
    return function
