"""What the training loops share: when to log, save and stop; how a run is saved and restored.

A loop brings two things of its own: `advance`, which takes the run from one log line to the next, and
the items that its checkpoints consist of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any, NamedTuple, Protocol

from bridges.protocol import Bounded, Bridge, Physics
from holosoma_jax.config import compose
from holosoma_jax.config.schema import Config
from holosoma_jax.experiment import Setup
from holosoma_jax.parallel import processes
from holosoma_jax.rollout import nan_guard
from holosoma_jax.rollout.control_step import Step, World, shared_numbers
from holosoma_jax.runs import checkpoint
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.signals import Stop

_EARLY = 20
"""stretches after which a simulator's buffers have seen robots fall, stand and be pushed"""


class State(NamedTuple):
    """Everything that a run is, between two log lines."""

    learner: Any
    world: World
    iteration: int
    """iterations completed; the next one has this index"""
    elapsed: float
    """s, over all sessions of the run"""
    experience: Any = None
    """what the learner has yet to learn from (`off_policy.Experience`); None if it learns on-policy"""


class Stretch(NamedTuple):
    """What the iterations since the last log line amounted to."""

    scalars: Mapping[str, float]
    control_steps: int
    collection: float | None
    """s, in environments and simulator; None where that cannot be told apart"""
    learning: float | None
    """s, in the learner"""
    physics: float | None
    """s, of `collection`, inside the simulator"""


Advance = Callable[[State], tuple[State, Stretch]]
"""Uses up a state; returns the one at the next log line, its time not yet counted."""

Items = Callable[[State], dict[str, Any]]
"""What a checkpoint consists of."""


class Sink(Protocol):
    """A place where numbers go."""

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Take in the numbers of iteration `step`."""
        ...


class Extras(Protocol):
    """What a run leaves beside numbers and checkpoints; nothing in it may stop the run."""

    def begin(self, iteration: int) -> None:
        """An iteration starts."""
        ...

    def step(self, step: Step) -> None:
        """A control step has been taken; its arrays are borrowed."""
        ...

    def saved(self, iteration: int, learner: Any) -> None:
        """A checkpoint has been written."""
        ...


@dataclass(frozen=True)
class Result:
    """How a session ended."""

    state: State
    checkpoint: Path | None
    """the newest one on the disk"""
    unsaved: bool
    """the last iterations could not be saved"""
    scalars: Mapping[str, float]
    """of the last log line; empty if there was none"""


def run(
    setup: Setup,
    state: State,
    folder: RunDir,
    advance: Advance,
    items: Items,
    *,
    sinks: Sequence[Sink] = (),
    extras: Extras | None = None,
    say: Callable[[str], None] = print,
    stop: Stop,
) -> Result:
    """Advance until ``num_learning_iterations`` are completed or `stop` is set.

    Args:
      setup: the parts of the run.
      state: where it stands; it is used up.
      folder: where checkpoints go.
      advance: ends at every multiple of ``save_interval``, at the budget, and soon after a stop.
      items: what to save of a state.
      sinks: get the numbers of every stretch.
      extras: what else the run leaves.
      say: gets messages, one line each.
      stop: asks for an early end; what has been done by then is saved.

    Raises:
      CapacityError: the simulator left something out, as a buffer was too small.
    """
    cfg, algo = setup.cfg, setup.cfg.algo.config
    saved, unsaved, scalars = checkpoint.latest(folder.checkpoints), False, dict[str, float]()
    buffers = _Buffers(setup.bridge, say)
    while state.iteration < algo.num_learning_iterations:
        began = time.perf_counter()
        state, stretch = advance(state)
        seconds = time.perf_counter() - began
        state = state._replace(elapsed=state.elapsed + seconds)
        stopping = _agreed(stop)  # read once, so that what ends the loop is what was saved
        # Counted, not multiplied out: a resumed run may have another horizon.
        samples = cfg.training.num_envs * int(state.world.carry.step)
        scalars = {
            **stretch.scalars,
            "Train/num_samples": float(samples),
            "Perf/total_fps": cfg.training.num_envs * stretch.control_steps / seconds,
            **_times(stretch),
        }
        last = stopping or state.iteration >= algo.num_learning_iterations
        if processes.is_main() and (last or state.iteration % cfg.logger.interval == 0):
            for sink in sinks:
                sink.write(state.iteration, scalars)
        buffers.look(state.world.physics, last=last)
        if last or state.iteration % algo.save_interval == 0:
            try:
                saved, unsaved = save(folder, setup, state, items(state)), False
            except checkpoint.SaveError as error:
                say(f"WARNING: {error}. Earlier checkpoints are untouched.")
                unsaved = True
            else:
                if extras is not None and processes.is_main():
                    extras.saved(state.iteration, state.learner)
        if last:
            break
    return Result(state, saved, unsaved, scalars)


def _agreed(stop: Stop) -> bool:
    """Whether any process was asked to stop; then all are."""
    number = processes.largest(stop.signal or 0)
    if number and not stop.requested:
        stop.signal = Signals(number)
    return number > 0


def _times(stretch: Stretch) -> dict[str, float]:
    """Where the time went, as far as that is known."""
    times = {"collection": stretch.collection, "learning": stretch.learning, "physics": stretch.physics}
    return {f"Perf/{name}_time": seconds for name, seconds in times.items() if seconds is not None}


class _Buffers:
    """Watches a simulator's buffers, if it has any of a fixed size; says once how full they get."""

    def __init__(self, bridge: Bridge, say: Callable[[str], None]):
        self._bridge = bridge if isinstance(bridge, Bounded) else None
        self._say, self._stretches = say, 0

    def look(self, physics: Physics, *, last: bool) -> None:
        """After every stretch; raises CapacityError if the simulator has left something out."""
        if self._bridge is None:
            return
        self._bridge.check(physics)
        self._stretches += 1
        if self._stretches == _EARLY or (last and self._stretches < _EARLY):
            self._say(self._bridge.usage(physics))


def onlooker(
    watch: nan_guard.Guard, extras: Extras | None, check: bool, first: int
) -> Callable[[Step], None]:
    """What sees every control step: the guard, if it is to `check`, and `extras`.

    first: control steps of the run before the one that `Step.t` counts from.
    """

    def on_step(step: Step) -> None:
        if step.nonfinite and check:
            watch.environments(step.bad, step.history, first + step.t)
        if extras is not None:
            extras.step(step)

    return on_step


def save(folder: RunDir, setup: Setup, state: State, items: Mapping[str, Any]) -> Path:
    """Write ``checkpoints/<iterations completed>``; see `checkpoint.save`."""
    cfg = setup.cfg
    meta = checkpoint.Meta(
        step=state.iteration,
        robot=setup.robot.name,
        simulator=setup.bridge.spec.simulator,
        num_envs=cfg.training.num_envs,
        seed=cfg.training.seed,
        elapsed_s=state.elapsed,
        config=compose.to_mapping(cfg),
        processes=processes.size(),
        curriculum=shared_numbers(state.world.carry.env),
    )
    return checkpoint.save(folder.checkpoints, as_stored(items), meta, _retention(cfg))


def _retention(cfg: Config) -> checkpoint.Retention:
    every = cfg.training.keep_every
    return checkpoint.Retention(
        newest=cfg.training.keep_checkpoints, every=every and every * cfg.algo.config.save_interval
    )


def load(path: Path, templates: Mapping[str, Any]) -> dict[str, Any]:
    """This process' share of checkpoint `path`; see `checkpoint.load`."""
    return processes.restored(checkpoint.load(path, as_stored(templates)), dict(templates))


def as_stored(items: Mapping[str, Any]) -> dict[str, Any]:
    """`items` as all processes save them together: the learner once, of the rest everyone its own."""
    return {
        name: processes.replicated(tree) if name == "learner" else processes.joined(processes.exact(tree))
        for name, tree in items.items()
    }


def require(path: Path, setup: Setup) -> checkpoint.Meta:
    """What checkpoint `path` says of itself; raises ConfigError unless it belongs to `setup`."""
    meta = checkpoint.read_meta(path)
    simulator, num_envs = setup.bridge.spec.simulator, setup.cfg.training.num_envs
    checkpoint.require(
        path,
        meta,
        robot=setup.robot.name,
        learner=setup.cfg.algo.name,
        simulator=simulator,
        num_envs=num_envs,
        num_processes=processes.size(),
    )
    return meta


def world_items(bridge: Bridge, world: World) -> dict[str, Any]:
    """The share of environments and simulator in a checkpoint."""
    return {
        # The window is empty between iterations; left out, a new metric does not spoil old checkpoints.
        "env": world.carry.replace(window={}),
        "sim": world.sim,
        "physics": dict(bridge.get_state(world.physics)),
    }


def restore_world(bridge: Bridge, items: Mapping[str, Any], fresh: World) -> World:
    """The inverse of `world_items`; the simulator is set to the saved state, `fresh` is used up."""
    physics = bridge.set_state(fresh.physics, items["physics"])
    carry = items["env"].replace(window=fresh.carry.window)
    return World(carry, physics, items["sim"], fresh.history)
