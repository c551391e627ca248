"""The training loop of off-policy learners: act and learn at every control step, log, save.

An iteration is one control step of every environment, with its updates. The numbers of a stretch of
iterations are pooled on the device and fetched at its end: at every multiple of ``logging_interval``, and
before every checkpoint, so that what is logged does not depend on where a run was resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import jax

from bridges.protocol import Bridge
from holosoma_jax import memory
from holosoma_jax.experiment import Setup
from holosoma_jax.learn import fast_sac, replay
from holosoma_jax.parallel import processes
from holosoma_jax.rollout import metrics, nan_guard, seeding
from holosoma_jax.rollout.control_step import placed
from holosoma_jax.rollout.experience import VALID, Experience, algorithm, keys
from holosoma_jax.rollout.fused_off_policy import Fused
from holosoma_jax.rollout.stepped_off_policy import Stepped
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.signals import Stop
from holosoma_jax.training import drivers, trainer, warm_start
from holosoma_jax.training.trainer import Extras, Result, Sink, State, Stretch

REPLAY, WAIT = "replay", "wait"
"""Items of a checkpoint that only some have: the replay buffer, and what learning from it waits for."""


def begin(
    setup: Setup,
    saved: Path | None = None,
    say: Callable[[str], None] = print,
    warm: Path | None = None,
) -> tuple[Stepped | Fused, State]:
    """What takes control steps (`drivers.fused` says how), and the run as checkpoint `saved` left it, or new.

    warm: a new run begins with the learner of this checkpoint (`warm_start.begin`), and learns once it has
      seen ``resume_learning_starts`` control steps, as one that is resumed without its buffer.

    Raises:
      ConfigError: the replay buffer does not fit into memory; the checkpoint is damaged, or does not
        fit; see `restore`.
    """
    cfg, algo = setup.cfg, setup.cfg.algo.fast_sac
    spec = cast(fast_sac.FastSacSpec, setup.learner)
    remembered = saved is not None and REPLAY in trainer.require(saved, setup).arrays
    num_envs, device = setup.env.spec.num_envs, jax.local_devices()[0]
    size = replay.size_bytes(algo, spec, num_envs)
    say(
        f"Replay buffer: {size / memory.GB:.2f} GB for {algo.buffer_size} transitions of each of {num_envs} "
        f"environments ({algo.buffer_dtype} observations)."
    )
    memory.require(size, device, "the replay buffer", _smaller(setup, size, memory.available(device)))
    say(f"Compiling for {cfg.training.num_envs} environments ...")
    parts = (setup.env, setup.bridge, algorithm(algo, processes.size()))
    driver = Fused(*parts, longest=algo.logging_interval) if drivers.fused(setup) else Stepped(*parts)
    roots = keys(cfg.training.seed)
    # In one program; its operations one by one would each be compiled first.
    learner = jax.jit(partial(fast_sac.init, spec=spec, cfg=algo))(seeding.stream(roots.shared, "learner"))
    empty = partial(replay.init, algo, spec, num_envs)
    # A buffer that is about to be read from the disk is not made first: there may not be room for two.
    stored = jax.eval_shape(empty) if remembered else placed(jax.jit(empty)())
    wait = algo.learning_starts if warm is None else max(algo.learning_starts, algo.resume_learning_starts)
    world, experience = driver.start(
        learner, stored, roots, wait=wait, spread_clocks=algo.init_at_random_ep_len
    )
    state = State(learner, world, 0, 0.0, experience)
    if saved is not None:
        state = restore(saved, setup, state)
    elif warm is not None:
        state, _ = warm_start.begin(warm, setup, fresh := state)
        state = state._replace(learner=_under(state.learner, fresh.learner))
    return driver, state


def train(
    setup: Setup,
    driver: Stepped | Fused,
    state: State,
    run: RunDir,
    *,
    sinks: Sequence[Sink] = (),
    extras: Extras | None = None,
    say: Callable[[str], None] = print,
    stop: Stop | None = None,
) -> Result:
    """Take control steps until ``num_learning_iterations`` are completed or `stop` is set.

    Args:
      setup: the parts of the run.
      driver: from `begin`.
      state: from `begin`; it is used up.
      run: where checkpoints and reports go.
      sinks: get the numbers of every stretch.
      extras: what else the run leaves.
      say: gets messages, one line each.
      stop: asks for an early end; the control step under way is finished, and the run saved.

    Raises:
      NonFiniteError: the learner, or most of the simulator's states, are no longer numbers.
    """
    cfg, algo, stop = setup.cfg, setup.cfg.algo.fast_sac, stop or Stop()
    roots = keys(cfg.training.seed)
    watch, check = nan_guard.Guard(run.nonfinite, say), cfg.training.check_finite
    first = state.iteration

    def advance(state: State) -> tuple[State, Stretch]:
        """The control steps up to the next log line."""

        def go_on(taken: int) -> bool:
            if taken == 1 and state.iteration == first:
                say(f"Compiled, and the first step taken, in {time.perf_counter() - driver.created:.1f} s.")
            if extras is not None:
                extras.begin(state.iteration + taken)
            return processes.size() > 1 or not stop.requested  # several agree on a stop between stretches

        wanted = _until_log_line(state.iteration, algo.logging_interval, algo.save_interval, budget)
        began = time.perf_counter()
        done = driver.advance(
            state.learner,
            state.experience,
            state.world,
            wanted,
            roots,
            trainer.onlooker(watch, extras, check, state.iteration),
            go_on,
        )
        scalars = metrics.averages(done.window)  # waits for the last update
        valid = scalars.pop(VALID, 1.0)
        iteration = state.iteration + done.steps
        if not done.finite and (check or done.steps < wanted):
            watch.learner(
                scalars, done.learner.replace(hyper=None), done.experience.pending._asdict(), iteration
            )
        if check:
            watch.simulator(1.0 - valid)
        learning = done.learning_seconds
        collection = None if learning is None else time.perf_counter() - began - learning
        state = State(done.learner, done.world, iteration, state.elapsed, done.experience)
        return state, Stretch(scalars, done.steps, collection, learning, done.physics_seconds)

    budget = algo.num_learning_iterations
    return trainer.run(
        setup,
        state,
        run,
        advance,
        lambda state: _items(setup.bridge, state, algo.save_buffer),
        sinks=sinks,
        extras=extras,
        say=say,
        stop=stop,
    )


def restore(path: Path, setup: Setup, fresh: State) -> State:
    """The run as checkpoint `path` holds it.

    With the replay buffer in it the run goes on bit for bit. Without, it starts with an empty one, and
    learns from ``resume_learning_starts`` fresh control steps on: the first few alone would be replayed
    many times over. Coefficients of the learner (`FastSacHyper`) and its learning rates are those of this
    session's config.

    Args:
      path: a checkpoint folder.
      setup: the parts of this session; its simulator is set to the saved state.
      fresh: the state before the first iteration, for shapes; it is used up.

    Raises:
      ConfigError: damaged, or of another robot, simulator, size or network.
    """
    algo, meta = setup.cfg.algo.fast_sac, trainer.require(path, setup)
    remembered = REPLAY in meta.arrays
    templates = _items(setup.bridge, fresh, remembered)
    if remembered:
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        templates[REPLAY] = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), templates[REPLAY]
        )
    items = trainer.load(path, templates)
    wait = jax.numpy.int32(max(algo.learning_starts, algo.resume_learning_starts))
    experience = Experience(
        replay=items[REPLAY] if remembered else fresh.experience.replay,
        pending=items["pending"],
        wait=items[WAIT]["steps"] if remembered else wait,
    )
    world = trainer.restore_world(setup.bridge, items, fresh.world)
    return State(_under(items["learner"], fresh.learner), world, meta.step, meta.elapsed_s, experience)


def _under(saved: fast_sac.FastSacState, fresh: fast_sac.FastSacState) -> fast_sac.FastSacState:
    """`saved` with the coefficients and learning rates of `fresh`."""
    return fast_sac.apply_new_hyperparams(saved, fresh)


def _until_log_line(done: int, logging: int, saving: int, budget: int) -> int:
    """Iterations from `done` to the next multiple of either interval, or the budget."""
    return min(logging - done % logging, saving - done % saving, budget - done)


def _items(bridge: Bridge, state: State, with_replay: bool) -> dict[str, Any]:
    """What a checkpoint consists of."""
    items = {
        "learner": state.learner,
        "pending": state.experience.pending,
        **trainer.world_items(bridge, state.world),
    }
    if with_replay:
        items |= {REPLAY: state.experience.replay, WAIT: {"steps": state.experience.wait}}
    return items


def _smaller(setup: Setup, size: int, free: int | None) -> str:
    """What to do about a replay buffer of `size` bytes where only `free` are left."""
    algo = setup.cfg.algo.fast_sac
    fits = max(1, int(algo.buffer_size * (free or 0) * 0.8 / size))
    return (
        f"Pass --algo.config.buffer-size {fits}, --algo.config.buffer-dtype bfloat16 or a smaller "
        "--training.num-envs."
    )
