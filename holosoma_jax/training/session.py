"""One session of a training run at the terminal: from a config to its files and an exit code."""

from __future__ import annotations

import logging
import math
import shlex
import sys
from typing import Any

import bridges
from bridges.protocol import CapacityError, SimulatorError
from holosoma_jax.config import compose, trust
from holosoma_jax.config.schema import Config
from holosoma_jax.experiment import Setup, build
from holosoma_jax.loggers.console import REWARD, ConsoleSink
from holosoma_jax.loggers.jsonl import read_metrics
from holosoma_jax.loggers.sinks import Sink, make_sinks, share
from holosoma_jax.loggers.sinks import require as require_logger
from holosoma_jax.parallel import processes
from holosoma_jax.rollout import nan_guard
from holosoma_jax.runs import checkpoint, saved_steps
from holosoma_jax.runs.open_run import OpenedRun, open_run
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.signals import on_signal
from holosoma_jax.terminal import messages_to
from holosoma_jax.training import loop, run_state
from holosoma_jax.training.artifacts import ArtifactWriter, Film
from holosoma_jax.training.callbacks import Callback
from holosoma_jax.training.viewer_callback import ViewerCallback
from holosoma_jax.viewer.session import viewer_session
from holosoma_jax.viewer.viewer import Viewer


def require(cfg: Config) -> None:
    """Raise ConfigError for a simulator or a logger that is not there."""
    bridges.require(cfg.simulator)
    require_logger(cfg.logger)


def run(cfg: Config, film: Film | None = None) -> int:
    """Train as `cfg` says; returns the exit code (see `holosoma_jax.train.main`).

    film: lets the trained policy act for the video at the end.

    Raises:
      ConfigError: something in `cfg` is wrong, or its checkpoint does not fit.
    """
    with messages_to(_print, _level()), open_run(cfg) as run:
        setup = build(run.config)
        try:
            with viewer_session(setup, f"{setup.robot.name}: {cfg.training.name}", _print) as viewer:
                return _run(run, setup, viewer, film)
        finally:
            setup.bridge.close()


def _run(run: OpenedRun, setup: Setup, viewer: Viewer | None, film: Film | None) -> int:
    cfg, folder, saved, warm = run.config, run.folder, run.checkpoint, run.warm_start
    total, unit = cfg.algo.config.num_learning_iterations, setup.learner.iteration_name
    _print(f"Run: {folder.path}")
    driver, state = run_state.create_or_restore(setup, saved, warm)
    if saved is not None:
        _print(f"Continuing from {saved}: {state.iteration} of {total} {unit}s are done.")
    elif warm is not None:
        _print(f"Beginning with the policy of {warm}.")
    console, files = _sinks(run, setup, state.iteration)
    callbacks: list[Callback] = []
    artifacts = None
    if processes.is_main():
        artifacts = ArtifactWriter(setup, folder, lambda path: share(files, path), film)
        callbacks.append(artifacts)
    try:
        with messages_to(console.note, _level()), on_signal(console.stopping) as stop:
            if viewer is not None:
                callbacks.append(ViewerCallback(viewer, setup.env.spec.control_dt, stop))
            result = loop.train(
                setup,
                driver,
                state,
                folder,
                opened=run,
                sinks=[*files, console],
                callbacks=callbacks,
                stop=stop,
            )
            console.close()
            lost = result.folder != folder
            if artifacts is not None and not lost:
                _finish(cfg, artifacts, None if stop.requested else setup.devices.first(result.state.learner))
    except (nan_guard.NonFiniteError, CapacityError, SimulatorError, checkpoint.BrokenSave) as error:
        console.close()
        print(f"error: {error}", file=sys.stderr)
        _print(_next_steps(cfg, folder, finished=False))
        return 1
    finally:
        for sink in (console, *files):
            sink.close()
    if result.state.iteration == state.iteration and not stop.requested:
        _print(f"Nothing was left to do: all {total} {unit}s were done before.")
    else:
        _print(console.summary())
    _print(_next_steps(cfg, result.folder, finished=not (stop.requested or lost)))
    if not (lost or result.unsaved):
        return stop.exit_code
    if not processes.is_main():
        return 0  # all know; a second failure would cut the main process short while it closes its files
    if lost:
        print(f"error: {folder.path} was taken from the run; see the warning above", file=sys.stderr)
    if result.unsaved:
        print("error: the last iterations could not be saved; see the warnings above", file=sys.stderr)
    return 1


def _level() -> int:
    """Of the messages that are shown: of other processes than the main one, warnings only."""
    return logging.INFO if processes.is_main() else logging.WARNING


def _finish(cfg: Config, artifacts: ArtifactWriter, learner: Any | None) -> None:
    """Wait for the videos, and film `learner`; Ctrl-C leaves that out."""
    if cfg.logger.video.enabled:
        _print("Drawing the videos ...")
    try:
        artifacts.finish(learner)
    except KeyboardInterrupt:
        _print("The last video is left out.")


def _sinks(run: OpenedRun, setup: Setup, completed: int) -> tuple[ConsoleSink, list[Sink]]:
    """The terminal, and the files; only the main process has either."""
    cfg, folder, main = run.config, run.folder, processes.is_main()
    files = _files(run, completed) if main else []
    rows = read_metrics(folder.metrics) if folder.metrics.exists() else []
    rewards = [row.get(REWARD, math.nan) for row in rows]
    best = max((reward for reward in rewards if math.isfinite(reward)), default=-math.inf)
    quiet = cfg.logger.type == "disabled" or not main
    total = cfg.algo.config.num_learning_iterations
    console = ConsoleSink(
        total,
        completed,
        title=str(folder.path),
        unit=setup.learner.iteration_name,
        learner=setup.learner.console,
        mode="quiet" if quiet else "auto",
        best=best,
    )
    return console, files


def _files(run: OpenedRun, completed: int) -> list[Sink]:
    return make_sinks(
        run.config.logger,
        run.folder.path,
        completed=completed,
        config=compose.to_mapping(run.config),
        project=run.config.training.project,
        restore=run.restore,
    )


def _next_steps(cfg: Config, folder: RunDir, *, finished: bool) -> str:
    """What the run has left, and what to type next."""
    left = {
        "checkpoints": saved_steps.latest(folder.checkpoints),
        "policy": folder.policies / "latest.onnx",
        "curve": folder.curve,
        "metrics": folder.metrics,
        "videos": folder.videos,
        "reports": folder.nonfinite,
    }
    lines = [f"  {name:<12} {path}" for name, path in left.items() if path is not None and path.exists()]
    # Whoever reads the run's config again has to allow what it names.
    allowed = f" {flags}" if (flags := trust.flags(compose.to_mapping(cfg))) else ""
    again = f"python -m holosoma_jax.train --training.checkpoint {shlex.quote(str(folder.path))}{allowed}"
    if finished:
        done = int(left["checkpoints"].name) if left["checkpoints"] is not None else 0
        budget = 2 * max(done, cfg.algo.config.num_learning_iterations)
        again += f" --algo.config.num-learning-iterations {budget}"
    lines += [f"{'Train on:' if finished else 'Resume:':<14} {again}"]
    if left["checkpoints"] is not None:
        where = f"--checkpoint {shlex.quote(str(folder.path))}{allowed}"
        lines += [f"{'Evaluate:':<14} python -m holosoma_jax.eval {where}"]
        lines += [f"{'Export:':<14} python -m holosoma_jax.export {where}"]
    return "\n".join(lines)


def _print(text: str) -> None:
    """One line of the main process, at once even into a pipe."""
    if processes.is_main():
        print(text, flush=True)
