"""The training loop, the same for every learner, simulator and driver: collect, learn, check, log, save."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from bridges.protocol import Physics
from holosoma_jax import memory
from holosoma_jax.experiment import Setup
from holosoma_jax.loggers.sinks import Sink
from holosoma_jax.parallel import processes
from holosoma_jax.rollout import device_bridge, seeding
from holosoma_jax.rollout.state import IterationStats, StepInfo
from holosoma_jax.runs import checkpoint, saved_steps
from holosoma_jax.runs.open_run import OpenedRun
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.signals import Stop
from holosoma_jax.training import run_state
from holosoma_jax.training.callbacks import Callback
from holosoma_jax.training.drivers import Driver
from holosoma_jax.training.nonfinite_report import NonFiniteReporter
from holosoma_jax.training.run_state import RunState

_EARLY = 20
"""log lines after which a simulator's buffers have seen robots fall, stand and be pushed"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """How a session ended."""

    state: RunState
    checkpoint: Path | None
    """the newest one on the disk"""
    unsaved: bool
    """the last iterations could not be saved"""
    scalars: Mapping[str, float]
    """of the last log line; empty if there was none"""
    folder: RunDir
    """of the run; another than it began with if it lost that (`OpenedRun.is_lost`), which ends the session"""


def train(
    setup: Setup,
    driver: Driver,
    state: RunState,
    folder: RunDir,
    *,
    opened: OpenedRun | None = None,
    sinks: Sequence[Sink] = (),
    callbacks: Sequence[Callback] = (),
    stop: Stop | None = None,
) -> Result:
    """Run iterations until ``num_learning_iterations`` are completed or `stop` is set.

    Args:
      setup: the parts of the run.
      driver: from `run_state.create_or_restore`.
      state: likewise; it is used up.
      folder: where checkpoints and reports go.
      opened: tells whether `folder` is still the run's; None: nobody looks.
      sinks: get the numbers of every log line.
      callbacks: see `Callback`.
      stop: asks for an early end; the iteration under way is finished, and the run saved.

    Raises:
      NonFiniteError: the learner, or most of the simulator's states, are no longer numbers.
      CapacityError: the simulator left something out, as a buffer was too small.
      ConfigError: `folder` is another run's now, and no new one can be written.
    """
    cfg, algo, stop = setup.cfg, setup.cfg.algo.config, stop or Stop()
    keys, reporter = seeding.keys(cfg.training.seed, setup.devices), NonFiniteReporter(folder.nonfinite)
    events = _Events(setup, driver, state.iteration, callbacks, reporter, stop)
    buffers = _SimulatorBuffers(setup)
    saved, unsaved, scalars = saved_steps.latest(folder.checkpoints), False, dict[str, float]()
    explained = False
    while state.iteration < algo.num_learning_iterations:
        # collect and learn
        began, count = time.perf_counter(), _until_log_line(setup, state.iteration)
        events.first_step = _steps_done(setup, state)
        runner, stats = driver.iterate(
            state.runner,
            keys,
            state.iteration,
            count,
            on_step=events.on_step,
            on_iteration=events.on_iteration,
        )
        seconds = time.perf_counter() - began
        state = RunState(runner, state.iteration + stats.iterations, state.elapsed + seconds)
        events.on_iterations_done()
        # check
        if not stats.finite and (cfg.training.check_finite or stats.iterations < count):
            learned = setup.learner.learned(setup.devices.first(state.learner))
            batch = driver.report(runner.pending)
            terms = list(dict.fromkeys([*stats.causes, *driver.culprits(runner)]))
            reporter.learner(stats.scalars, learned, batch, state.iteration, terms)
        if cfg.training.check_finite:
            reporter.simulator(1.0 - stats.valid)
        # log
        stopping = _agreed(stop)  # read once, so that what ends the loop is what was saved
        now = _folder(folder, opened)
        last = stopping or now != folder or state.iteration >= algo.num_learning_iterations
        scalars = {**stats.scalars, **_progress(setup, state, stats, seconds)}
        if processes.is_main() and (last or state.iteration % cfg.logger.interval == 0):
            for sink in sinks:
                sink.write(state.iteration, scalars)
        buffers.check(runner.rollout.physics, last=last)
        if not explained and setup.env.task is not None:
            problem = setup.env.task.explain(cfg, scalars)
            explained = problem is not None
            if explained and processes.is_main():
                log.warning(problem)
        # save
        if last or state.iteration % algo.save_interval == 0:
            try:
                saved, unsaved = run_state.save(now, setup, state), False
            except checkpoint.SaveError as error:
                log.warning(f"{error}. Earlier checkpoints are untouched.")
                unsaved = True
            else:
                learner = setup.devices.first(state.learner)
                for callback in callbacks if now == folder else ():
                    callback.on_checkpoint(state.iteration, learner)
        if last:
            return Result(state, saved, unsaved, scalars, now)
    return Result(state, saved, unsaved, scalars, folder)


def _folder(folder: RunDir, opened: OpenedRun | None) -> RunDir:
    """`folder`, made again if it was removed; another one where it is no longer the run's. All processes ask."""
    if opened is None:
        return folder
    lost = False
    if processes.is_main():
        with contextlib.suppress(OSError):  # whoever writes there next says so
            lost = not opened.restore()
    if not processes.largest(int(lost)):
        return folder
    return RunDir(Path(processes.from_main(lambda: str(opened.save_elsewhere().path))))


def _until_log_line(setup: Setup, done: int) -> int:
    """Iterations from `done` to the next log line, checkpoint or the end; their numbers are pooled on the device.

    On-policy learners log every iteration. Log lines and checkpoints are at multiples, so that what is logged does
    not depend on where a run was resumed.
    """
    algo = setup.cfg.algo.config
    if setup.learner.kind == "on_policy":
        return 1
    logging_, saving = algo.logging_interval, algo.save_interval
    return min(logging_ - done % logging_, saving - done % saving, algo.num_learning_iterations - done)


def _steps_done(setup: Setup, state: RunState) -> int:
    """Control steps since the run began."""
    return int(setup.devices.first(state.runner.rollout.carry.step))


def _progress(setup: Setup, state: RunState, stats: IterationStats, seconds: float) -> dict[str, float]:
    """How far the run is, how fast, and where the time went, as far as that is known."""
    num_envs = setup.cfg.training.num_envs
    parts = {"collection": stats.collection_s, "learning": stats.learning_s, "physics": stats.physics_s}
    return {
        # Counted, not multiplied out: a resumed run may have another horizon.
        "Train/num_samples": float(num_envs * _steps_done(setup, state)),
        "Perf/total_fps": num_envs * stats.control_steps / seconds,
        **{f"Perf/{name}_time": value for name, value in parts.items() if value is not None},
    }


def _agreed(stop: Stop) -> bool:
    """Whether any process was asked to stop; then all are."""
    number = processes.largest(stop.signal or 0)
    if number and not stop.requested:
        stop.signal = Signals(number)
    return number > 0


class _Events:
    """Passes what happens within `Driver.iterate` on to callbacks, reports and the log."""

    def __init__(
        self,
        setup: Setup,
        driver: Driver,
        first: int,
        callbacks: Sequence[Callback],
        reporter: NonFiniteReporter,
        stop: Stop,
    ):
        self._check, self._unit = setup.cfg.training.check_finite, setup.learner.iteration_name
        self._created, self._second = driver.created, first + 1
        self._callbacks, self._reporter, self._stop = callbacks, reporter, stop
        self._compiled = False
        self.first_step = 0  # control steps of the run before the one that `StepInfo.t` counts from

    def on_step(self, info: StepInfo) -> None:
        if info.any_nonfinite and self._check:
            self._reporter.environments(info.nonfinite, info.history, self.first_step + info.t)
        for callback in self._callbacks:
            callback.on_step(info)

    def on_iteration(self, iteration: int) -> bool:
        """False asks to end; several processes agree on that between calls of the driver."""
        if iteration >= self._second:
            self.on_iterations_done()
        for callback in self._callbacks:
            callback.on_iteration_start(iteration)
        return processes.size() > 1 or not self._stop.requested

    def on_iterations_done(self) -> None:
        if not self._compiled:
            self._compiled = True
            seconds = time.perf_counter() - self._created
            log.info(f"Compiled, and the first {self._unit} done, in {seconds:.1f} s.")
            memory.give_back()


class _SimulatorBuffers:
    """Watches a simulator's buffers, if it has any of a fixed size; logs once how full they get."""

    def __init__(self, setup: Setup):
        self._bridge, self._devices = setup.bridge, setup.devices
        self._lines = 0

    def check(self, physics: Physics, *, last: bool) -> None:
        """With every log line; raises CapacityError if the simulator has left something out."""
        device_bridge.check_buffers(self._bridge, self._devices, physics)
        self._lines += 1
        if self._lines == _EARLY or (last and self._lines < _EARLY):
            line = device_bridge.usage(self._bridge, self._devices, physics)
            if line is not None:
                log.info(line)
