"""The state of a run: made, saved, restored, or begun with the learner of another run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from holosoma_jax import memory
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.experiment import Setup
from holosoma_jax.learn.learner import ReplayFns
from holosoma_jax.parallel import global_arrays, processes
from holosoma_jax.parallel.devices import Devices
from holosoma_jax.robots import record
from holosoma_jax.rollout import seeding
from holosoma_jax.rollout.control_step import global_scalars
from holosoma_jax.rollout.device_bridge import over_devices
from holosoma_jax.rollout.off_policy import ReplayState
from holosoma_jax.rollout.overlapped import Pair
from holosoma_jax.rollout.state import RolloutState, RunnerState
from holosoma_jax.runs import checkpoint
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.training import drivers, warm_start
from holosoma_jax.training.drivers import Driver

REPLAY = "replay"
"""Item of a checkpoint that only some have: the replay buffer, with what learning from it waits for."""
ROLLOUT = "last_rollout"
"""Likewise: an on-policy rollout that is not yet learned from, of the overlapped driver."""
PENDING = {"off_policy": "last_transition", "on_policy": ROLLOUT}
"""Kind of learner -> item of a checkpoint with what was collected and not yet learned from."""

log = logging.getLogger(__name__)


class RunState(NamedTuple):
    """Everything that a run is, between two iterations."""

    runner: RunnerState
    iteration: int
    """iterations completed; the next one has this index"""
    elapsed: float
    """s, over all sessions of the run"""

    @property
    def learner(self) -> Any:
        """What is trained."""
        return self.runner.learner


def create_or_restore(
    setup: Setup, saved: Path | None = None, warm: Path | None = None
) -> tuple[Driver, RunState]:
    """What runs iterations, and the run as checkpoint `saved` left it, or new.

    A new run may begin with the learner of checkpoint `warm` (`warm_start`). An off-policy learner that is resumed
    without its replay buffer, or warm-started, learns from ``resume_learning_starts`` fresh control steps on: the
    first few alone would be replayed many times over. A restored learner is put under this session's settings
    (`Learner.apply_new_hyperparams`); with unchanged settings and the buffer saved, the run continues bit for bit.

    Raises:
      ConfigError: the replay buffer does not fit into memory; a checkpoint is damaged, or of another robot,
        simulator, size or network.
    """
    cfg, learner, algo = setup.cfg, setup.learner, setup.cfg.algo.config
    meta = None if saved is None else require(saved, setup)
    replay_saved = meta is not None and REPLAY in meta.arrays
    if learner.replay is not None:
        _require_memory(setup, learner.replay)
    log.info(f"Compiling for {cfg.training.num_envs} environments ...")
    devices = setup.devices
    driver, keys = drivers.make(setup), seeding.keys(cfg.training.seed, devices)
    # In one jitted function; its operations one by one would each be compiled first.
    init = jax.jit(lambda key: learner.init(key, setup.learner_spec, algo))
    fresh = devices.replicate(init(seeding.stream(seeding.shared(cfg.training.seed), "learner")))
    replay = _init_replay(setup, resumed=saved is not None or warm is not None, allocate=not replay_saved)
    spread = getattr(algo, "init_at_random_ep_len", True)
    state = RunState(driver.start(fresh, keys, replay=replay, spread_clocks=spread), 0, 0.0)
    if saved is not None and meta is not None:
        state = restore(saved, meta, setup, state)
    elif warm is not None:
        runner, meta = warm_start.init_from(warm, setup, state.runner)
        state = state._replace(runner=_under_settings(setup, runner, state.learner, meta))
    return driver, state


def restore(path: Path, meta: checkpoint.Meta, setup: Setup, fresh: RunState) -> RunState:
    """The run as checkpoint `path` holds it.

    Args:
      path: a checkpoint folder.
      meta: what it says of itself.
      setup: the parts of this session; its simulator is set to the saved state.
      fresh: the state before the first iteration, for shapes; it is used up.

    Raises:
      ConfigError: damaged, or of other shapes.
    """
    parts = items(setup, fresh.runner, REPLAY in meta.arrays)
    if ROLLOUT not in meta.arrays:
        parts.pop(ROLLOUT, None)
    found = load(path, setup.devices, parts)
    runner = fresh.runner._replace(
        learner=found["learner"], rollout=_restored_rollout(setup, found, fresh.runner.rollout)
    )
    pending = found.get(PENDING[setup.learner.kind])
    if pending is not None:
        both = isinstance(runner.pending, Pair)
        runner = runner._replace(pending=runner.pending._replace(full=pending) if both else pending)
    runner = runner._replace(replay=found.get(REPLAY, runner.replay))
    return RunState(_under_settings(setup, runner, fresh.learner, meta), meta.step, meta.elapsed_s)


def save(folder: RunDir, setup: Setup, state: RunState) -> Path:
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
        devices=setup.devices.count,
        curriculum=global_scalars(setup.devices.first(state.runner.rollout.carry.env)),
        robot_record=record.record(setup.robot),
    )
    with_replay = getattr(cfg.algo.config, "save_buffer", False)
    every = cfg.training.keep_every
    retention = checkpoint.Retention(
        newest=cfg.training.keep_checkpoints, every=every and every * cfg.algo.config.save_interval
    )
    stored = as_stored(setup.devices, items(setup, state.runner, with_replay))
    return checkpoint.save(folder.checkpoints, stored, meta, retention)


def items(setup: Setup, runner: RunnerState, with_replay: bool) -> dict[str, Any]:
    """What a checkpoint consists of."""
    rollout = runner.rollout
    parts = {
        "learner": runner.learner,
        # The metrics buffer is empty between iterations; left out, a new metric does not spoil old checkpoints.
        "env": rollout.carry.replace(metrics_buffer={}),
        "sim": rollout.sim,
        "physics": dict(over_devices(setup.bridge, setup.devices).get_state(rollout.physics)),
    }
    kind, both = setup.learner.kind, isinstance(runner.pending, Pair)
    if kind == "off_policy" or both:  # else it is empty between iterations
        parts[PENDING[kind]] = runner.pending.full if both else runner.pending
    if kind == "off_policy" and with_replay:
        parts[REPLAY] = runner.replay
    return parts


def load(path: Path, devices: Devices, templates: Mapping[str, Any]) -> dict[str, Any]:
    """This process' share of checkpoint `path`; see `checkpoint.load`."""
    found = checkpoint.load(path, as_stored(devices, templates))
    own = global_arrays.own(
        devices, *({k: v for k, v in trees.items() if k != "learner"} for trees in (found, templates))
    )
    return {**own, "learner": global_arrays.everywhere(devices, found["learner"])}


def as_stored(devices: Devices, trees: Mapping[str, Any]) -> dict[str, Any]:
    """Items as all processes save them together: the learner once, of the rest every device its own."""
    return {
        name: (global_arrays.replicated if name == "learner" else global_arrays.joined)(devices, tree)
        for name, tree in trees.items()
    }


def require(path: Path, setup: Setup) -> checkpoint.Meta:
    """What checkpoint `path` says of itself; raises ConfigError unless it belongs to `setup`, robot included."""
    meta = checkpoint.read_meta(path)
    checkpoint.require(
        path,
        meta,
        robot=setup.robot.name,
        learner=setup.cfg.algo.name,
        simulator=setup.bridge.spec.simulator,
        num_envs=setup.cfg.training.num_envs,
        num_devices=setup.devices.total,
    )
    changed = record.reconfigured(meta.config["robot"], compose.to_mapping(setup.cfg)["robot"])
    if difference := record.first_difference(meta.robot_record, setup.robot, but=changed):
        raise ConfigError(
            f"checkpoint {path}: robot '{setup.robot.name}' is not the one that was trained: {difference}. Undo that, "
            "or begin a new run with this policy by --training.warm-start."
        )
    if note := record.unknown_model(path, meta.robot_record, setup.robot):
        log.warning(note)
    return meta


def _under_settings(setup: Setup, runner: RunnerState, fresh: Any, meta: checkpoint.Meta) -> RunnerState:
    """`runner` with its restored learner under the settings of this session, which `fresh` was made with."""
    before, devices = meta.config["algo"]["config"], setup.devices
    saved, fresh = devices.first((runner.learner, fresh))
    learner = setup.learner.apply_new_hyperparams(saved, fresh, setup.cfg.algo.config, before)
    return runner._replace(learner=learner if devices.axis_name is None else devices.replicate(learner))


def _restored_rollout(setup: Setup, found: Mapping[str, Any], fresh: RolloutState) -> RolloutState:
    """Environments and simulator of a checkpoint; the simulator is set to the saved state."""
    bridge = over_devices(setup.bridge, setup.devices)
    physics = bridge.set_state(fresh.physics, found["physics"])
    carry = found["env"].replace(metrics_buffer=fresh.carry.metrics_buffer)
    return RolloutState(carry, physics, found["sim"], fresh.history)


def _init_replay(setup: Setup, *, resumed: bool, allocate: bool) -> ReplayState | None:
    """The empty replay buffer of an off-policy learner, or its shapes alone.

    A buffer that is about to be read from the disk is not allocated first: there may not be room for two.
    """
    fns, algo, num_envs = setup.learner.replay, setup.cfg.algo.config, setup.env.spec.num_envs
    if fns is None:
        return None
    starts = algo.learning_starts
    if resumed:
        starts = max(starts, algo.resume_learning_starts)

    def empty() -> ReplayState:
        return ReplayState(fns.init(algo, setup.learner_spec, num_envs), jnp.int32(starts))

    devices = setup.devices
    return devices.create(empty) if allocate else devices.shapes(jax.eval_shape(empty))


def _require_memory(setup: Setup, fns: ReplayFns) -> None:
    """Log the size of the replay buffer; raise ConfigError if there is no room for it."""
    algo, num_envs, device = setup.cfg.algo.config, setup.env.spec.num_envs, setup.devices.local[0]
    if device.platform == "cpu":
        num_envs *= setup.devices.count  # all in the memory of this machine
    size = fns.size_bytes(algo, setup.learner_spec, num_envs)
    log.info(
        f"Replay buffer: {size / memory.GB:.2f} GB for {algo.buffer_size} transitions of each of {num_envs} "
        f"environments ({getattr(algo, 'buffer_dtype', 'float32')} observations)."
    )
    fits = max(1, int(algo.buffer_size * (memory.available(device) or 0) * 0.8 / size))
    fix = (
        f"Pass --algo.config.buffer-size {fits}, --algo.config.buffer-dtype bfloat16 or a smaller "
        "--training.num-envs."
    )
    memory.require(size, device, "the replay buffer", fix)
