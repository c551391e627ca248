"""The training loop of on-policy learners: collect, learn, log, save, until the budget is spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from bridges.protocol import Bridge
from holosoma_jax.config import compose
from holosoma_jax.learn import ppo
from holosoma_jax.loop import checkpoint, guard, metrics, parallel, seeding
from holosoma_jax.loop.rollout import Collected, Step, Stepped, World
from holosoma_jax.loop.run_dir import RunDir
from holosoma_jax.loop.setup import Setup
from holosoma_jax.loop.stop import Stop


class State(NamedTuple):
    """Everything that a run is, between two iterations."""

    learner: ppo.PpoState
    world: World
    iteration: int
    """iterations completed; the next one has this index"""
    elapsed: float
    """s, over all sessions of the run"""


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

    def saved(self, iteration: int, learner: ppo.PpoState) -> None:
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
    """of the last iteration; empty if there was none"""


def begin(
    setup: Setup, saved: Path | None = None, say: Callable[[str], None] = print
) -> tuple[Stepped, State]:
    """The compiled halves of a control step, and the run as checkpoint `saved` left it, or new.

    Raises:
      ConfigError: the checkpoint is damaged, or does not fit; see `restore`.
    """
    cfg = setup.cfg
    if saved is not None:
        _require(saved, setup)
    say(f"Compiling for {cfg.training.num_envs} environments ...")
    driver = Stepped(setup.env, setup.bridge, cfg.algo.ppo.num_steps_per_env)
    shared, root = seeding.shared(cfg.training.seed), seeding.root(cfg.training.seed)
    # In one program; its operations one by one would each be compiled first.
    init = jax.jit(partial(ppo.init, spec=setup.learner, cfg=cfg.algo.ppo))
    learner = init(seeding.stream(shared, "learner"))
    world = driver.start(learner, root, spread_clocks=cfg.algo.config.init_at_random_ep_len)
    state = State(learner, world, 0, 0.0)
    return driver, state if saved is None else restore(saved, setup, state)


def train(
    setup: Setup,
    driver: Stepped,
    state: State,
    run: RunDir,
    *,
    sinks: Sequence[Sink] = (),
    extras: Extras | None = None,
    say: Callable[[str], None] = print,
    stop: Stop | None = None,
) -> Result:
    """Run iterations until ``num_learning_iterations`` are completed or `stop` is set.

    Args:
      setup: the parts of the run.
      driver: from `begin`.
      state: from `begin`; it is used up.
      run: where checkpoints and reports go.
      sinks: get every iteration's numbers.
      extras: what else the run leaves.
      say: gets messages, one line each.
      stop: asks for an early end; the iteration that runs is finished and saved.

    Raises:
      NonFiniteError: the learner, or most of the simulator's states, are no longer numbers.
    """
    cfg, algo, stop = setup.cfg, setup.cfg.algo.config, stop or Stop()
    root, shared = seeding.root(cfg.training.seed), seeding.shared(cfg.training.seed)
    learn = jax.jit(_learn, donate_argnums=0)
    watch, check = guard.Guard(run.nonfinite, say), cfg.training.check_finite
    first = state.iteration
    saved, unsaved, scalars = checkpoint.latest(run.checkpoints), False, dict[str, float]()

    def on_step(step: Step) -> None:
        if step.nonfinite and check:
            watch.environments(step.bad, step.history, state.iteration * driver.horizon + step.t)
        if extras is not None:
            extras.step(step)

    while state.iteration < algo.num_learning_iterations:
        if extras is not None:
            extras.begin(state.iteration)
        began = time.perf_counter()
        collected = driver.collect(state.learner, state.world, root, on_step)
        jax.block_until_ready(collected.batch.last_value)
        learning = time.perf_counter()
        key = seeding.stream(shared, "update", state.iteration)
        learner, losses = learn(collected.learner, collected.batch, key)
        losses = metrics.numbers(losses)  # waits for the update
        ended = time.perf_counter()
        state = State(learner, collected.world, state.iteration + 1, state.elapsed + ended - began)
        if state.iteration == first + 1:
            say(f"Compiled, and the first iteration done, in {ended - driver.created:.1f} s.")
        finite, valid = losses.pop("finite"), losses.pop("valid")
        if check:
            if not finite:
                watch.learner(losses, learner.replace(hyper=None), collected.batch, state.iteration)
            watch.simulator(1.0 - valid)
        scalars = {
            **metrics.averages(collected.window),
            **losses,
            **_performance(cfg.training.num_envs, driver.horizon, state, collected, began, learning, ended),
        }
        last = state.iteration == algo.num_learning_iterations
        if parallel.is_main() and (last or stop.requested or state.iteration % cfg.logger.interval == 0):
            for sink in sinks:
                sink.write(state.iteration, scalars)
        last = last or stop.requested  # read once, so that what ends the loop is what was saved
        if last or state.iteration % algo.save_interval == 0:
            saved, unsaved = _attempt_save(run, setup, state, saved, extras, say)
        if last:
            break
    return Result(state, saved, unsaved, scalars)


def _attempt_save(
    run: RunDir,
    setup: Setup,
    state: State,
    before: Path | None,
    extras: Extras | None,
    say: Callable[[str], None],
) -> tuple[Path | None, bool]:
    """The newest checkpoint after trying to write one, and whether that failed; `before` it was another."""
    try:
        path = save(run, setup, state)
    except checkpoint.SaveError as error:
        say(f"WARNING: {error}. Earlier checkpoints are untouched.")
        return before, True
    if extras is not None and parallel.is_main():
        extras.saved(state.iteration, state.learner)
    return path, False


def save(run: RunDir, setup: Setup, state: State) -> Path:
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
        processes=jax.process_count(),
    )
    return checkpoint.save(run.checkpoints, _items(setup.bridge, state.learner, state.world), meta)


def restore(path: Path, setup: Setup, fresh: State) -> State:
    """The run as checkpoint `path` holds it.

    Coefficients of the learner (`PpoHyper`) are those of this session's config; so a resumed run may
    be given others, and one that is not goes on bit for bit.

    Args:
      path: a checkpoint folder.
      setup: the parts of this session; its simulator is set to the saved state.
      fresh: the state before the first iteration, for shapes; it is used up.

    Raises:
      ConfigError: damaged, or of another robot, simulator, size or network.
    """
    meta = _require(path, setup)
    items = checkpoint.load(path, _items(setup.bridge, fresh.learner, fresh.world))
    learner = items["learner"].replace(hyper=fresh.learner.hyper)
    if not setup.cfg.algo.ppo.load_optimizer:
        learner = ppo.reset_optimizer(learner, setup.cfg.algo.ppo)
    physics = setup.bridge.set_state(fresh.world.physics, items["physics"])
    carry = items["env"].replace(window=fresh.world.carry.window)
    world = World(carry, physics, items["sim"], fresh.world.history)
    return State(learner, world, meta.step, meta.elapsed_s)


def _require(path: Path, setup: Setup) -> checkpoint.Meta:
    """What checkpoint `path` says of itself; raises ConfigError unless it belongs to `setup`."""
    meta = checkpoint.read_meta(path)
    simulator, num_envs = setup.bridge.spec.simulator, setup.cfg.training.num_envs
    checkpoint.require(path, meta, robot=setup.robot.name, simulator=simulator, num_envs=num_envs)
    return meta


def _items(bridge: Bridge, learner: ppo.PpoState, world: World) -> dict[str, Any]:
    """What a checkpoint consists of."""
    return {
        "learner": learner,
        # The window is empty between iterations; left out, a new metric does not spoil old checkpoints.
        "env": world.carry.replace(window={}),
        "sim": world.sim,
        "physics": dict(bridge.get_state(world.physics)),
    }


def _learn(
    learner: ppo.PpoState, batch: ppo.PpoBatch, key: jax.Array
) -> tuple[ppo.PpoState, dict[str, jax.Array]]:
    """`ppo.update`, and whether what came out of it and went into it can be trusted."""
    learner, losses = ppo.update(learner, batch, key)
    # A floor of -inf among the coefficients is meant; everything that is learnt has to be finite.
    finite = guard.finite((learner.replace(hyper=None), losses))
    return learner, {**losses, "finite": finite, "valid": jnp.mean(batch.valid, dtype=jnp.float32)}


def _performance(
    num_envs: int,
    horizon: int,
    state: State,
    collected: Collected,
    began: float,
    learning: float,
    ended: float,
) -> dict[str, float]:
    """Speed and size, under the reference's names."""
    samples = num_envs * horizon
    return {
        "Train/num_samples": float(state.iteration * samples),
        "Perf/total_fps": samples / (ended - began),
        "Perf/collection_time": learning - began,
        "Perf/learning_time": ended - learning,
        "Perf/physics_time": collected.physics_seconds,
    }
