"""The training loop of on-policy learners: collect, learn, log, save, until the budget is spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Bridge
from holosoma_jax.config.schema import PpoConfig
from holosoma_jax.experiment import Setup
from holosoma_jax.learn import ppo
from holosoma_jax.rollout import metrics, nan_guard, seeding
from holosoma_jax.rollout.control_step import World
from holosoma_jax.rollout.fused_on_policy import Fused
from holosoma_jax.rollout.iteration import Stepped
from holosoma_jax.runs.checkpoint import Meta
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.signals import Stop
from holosoma_jax.training import drivers, trainer, warm_start
from holosoma_jax.training.trainer import Extras, Result, Sink, State, Stretch


def begin(
    setup: Setup,
    saved: Path | None = None,
    say: Callable[[str], None] = print,
    warm: Path | None = None,
) -> tuple[Stepped | Fused, State]:
    """What runs iterations (`drivers.fused` says how), and the run as checkpoint `saved` left it, or new.

    warm: a new run begins with the learner of this checkpoint; see `warm_start.begin`.

    Raises:
      ConfigError: the checkpoint is damaged, or does not fit; see `restore`.
    """
    cfg = setup.cfg
    if saved is not None:
        trainer.require(saved, setup)
    say(f"Compiling for {cfg.training.num_envs} environments ...")
    Driver = Fused if drivers.fused(setup) else Stepped
    driver = Driver(setup.env, setup.bridge, cfg.algo.ppo.num_steps_per_env)
    shared, root = seeding.shared(cfg.training.seed), seeding.root(cfg.training.seed)
    # In one program; its operations one by one would each be compiled first.
    spec = cast(ppo.PpoSpec, setup.learner)
    init = jax.jit(partial(ppo.init, spec=spec, cfg=cfg.algo.ppo))
    learner = init(seeding.stream(shared, "learner"))
    world = driver.start(learner, root, spread_clocks=cfg.algo.config.init_at_random_ep_len)
    state = State(learner, world, 0, 0.0)
    if saved is not None:
        state = restore(saved, setup, state)
    elif warm is not None:
        state, meta = warm_start.begin(warm, setup, fresh := state)
        state = state._replace(learner=_under(cfg.algo.ppo, state.learner, fresh.learner, meta))
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
    cfg = setup.cfg
    root, shared = seeding.root(cfg.training.seed), seeding.shared(cfg.training.seed)
    watch, check = nan_guard.Guard(run.nonfinite, say), cfg.training.check_finite
    first = state.iteration

    def advance(state: State) -> tuple[State, Stretch]:
        """One iteration."""
        if extras is not None:
            extras.begin(state.iteration)
        on_step = trainer.onlooker(watch, extras, check, int(state.world.carry.step))
        key = seeding.stream(shared, "update", state.iteration)
        done = driver.iterate(state.learner, state.world, root, key, on_step)
        losses, learner = dict(done.losses), done.learner
        if state.iteration == first:
            say(f"Compiled, and the first iteration done, in {time.perf_counter() - driver.created:.1f} s.")
        finite, valid = losses.pop("finite"), losses.pop("valid")
        scalars = {**metrics.averages(done.window), **losses}
        if check:
            if not finite:
                rows = _by_environment(done.batch)
                watch.learner(scalars, learner.replace(hyper=None), rows, state.iteration + 1)
            watch.simulator(1.0 - valid)
        state = state._replace(learner=learner, world=done.world, iteration=state.iteration + 1)
        return state, Stretch(scalars, driver.horizon, done.collection, done.learning, done.physics)

    return trainer.run(
        setup,
        state,
        run,
        advance,
        lambda state: _items(setup.bridge, state.learner, state.world),
        sinks=sinks,
        extras=extras,
        say=say,
        stop=stop or Stop(),
    )


def restore(path: Path, setup: Setup, fresh: State) -> State:
    """The run as checkpoint `path` holds it.

    Coefficients of the learner (`PpoHyper`) are those of this session's config; so a resumed run may
    be given others, and one that is not goes on bit for bit. Learning rates are as they were, unless the
    config gives other initial ones than it did, or fixed ones, or narrower bounds.

    Args:
      path: a checkpoint folder.
      setup: the parts of this session; its simulator is set to the saved state.
      fresh: the state before the first iteration, for shapes; it is used up.

    Raises:
      ConfigError: damaged, or of another robot, simulator, size or network.
    """
    meta = trainer.require(path, setup)
    items = trainer.load(path, _items(setup.bridge, fresh.learner, fresh.world))
    learner = _under(setup.cfg.algo.ppo, items["learner"], fresh.learner, meta)
    world = trainer.restore_world(setup.bridge, items, fresh.world)
    return State(learner, world, meta.step, meta.elapsed_s)


def _under(algo: PpoConfig, saved: ppo.PpoState, fresh: ppo.PpoState, meta: Meta) -> ppo.PpoState:
    """`saved` under the settings `algo`, which `fresh` was made with."""
    learner = ppo.apply_new_hyperparams(saved, fresh)
    if not algo.load_optimizer:
        return ppo.reset_optimizer(learner, algo)
    before = meta.config["algo"]["config"]
    rates = {role: _rate(role, saved, fresh, algo, before) for role in ("actor", "critic")}
    return learner.replace(
        **{role: getattr(learner, role).with_hyperparams(learning_rate=lr) for role, lr in rates.items()}
    )


def _rate(
    role: str, saved: ppo.PpoState, fresh: ppo.PpoState, algo: PpoConfig, before: Mapping[str, Any]
) -> jax.Array:
    """The learning rate that the actor or the critic of `saved` goes on with; `before`: its old settings."""
    name = f"{role}_learning_rate"
    if algo.schedule == "fixed" or before.get(name) != getattr(algo, name):
        return getattr(fresh, role).lr
    lowest, highest = (getattr(fresh.hyper, f"{end}_{name}") for end in ("min", "max"))
    return jnp.clip(getattr(saved, role).lr, lowest, highest)


def _items(bridge: Bridge, learner: ppo.PpoState, world: World) -> dict[str, Any]:
    """What a checkpoint consists of."""
    return {"learner": learner, **trainer.world_items(bridge, world)}


def _by_environment(batch: ppo.PpoBatch) -> dict[str, np.ndarray]:
    """The arrays of a rollout with the environments first, [N, T, ...]; the last value is [N]."""
    arrays = {name: np.asarray(x) for name, x in batch._asdict().items()}
    return {name: x if name == "last_value" else x.swapaxes(0, 1) for name, x in arrays.items()}
