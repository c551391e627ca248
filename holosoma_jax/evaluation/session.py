"""One evaluation at the terminal: from a config and flags to a table and a file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import Progress

from holosoma_jax import envs, experiment
from holosoma_jax.config import compose, keys, trust
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config, ViewerConfig
from holosoma_jax.config.schema.evaluation import EvalArgs
from holosoma_jax.config.trust import Saved
from holosoma_jax.evaluation import commands, evaluate, perturbations, report, sweep
from holosoma_jax.evaluation.recorder import EvalRecorder
from holosoma_jax.evaluation.scores import Scores
from holosoma_jax.evaluation.teleop import Teleop, command_limits
from holosoma_jax.experiment import Setup
from holosoma_jax.files import replacing, require_writable
from holosoma_jax.policy import exporting, policies
from holosoma_jax.policy.policies import Policy
from holosoma_jax.rollout.state import StepInfo
from holosoma_jax.signals import on_signal
from holosoma_jax.viewer.session import frames_of, viewer_session

DEFAULT_ENVS = 64
"""Environments, unless the command line says otherwise: the training's number is for learning."""
ENDLESS_S = 100_000.0
"""s of an evaluation that a user watches, unless the command line says otherwise: until they have enough"""


def saved_config(source: policies.PolicySource, *, watched: bool = False) -> Saved:
    """The config that the policy was trained with, sized and silenced for an evaluation.

    Args:
      source: the policy.
      watched: there is a viewer; one robot is looked at, and one is quick enough for real time.
    """
    sized: Mapping[str, Any] = {
        # The exported policy of a training lies beside its checkpoint already; on request it is made here.
        "training": {
            "num_envs": 1 if watched else DEFAULT_ENVS,
            "headless": True,  # whoever evaluates says whether to watch, not whoever trained
            "checkpoint": None,
            "multigpu": False,
            "export_onnx": False,
        },
        "logger": {"type": "disabled"},
        "viewer": compose.to_mapping(ViewerConfig()),  # of the machine, not of the policy
    }
    return source.config._replace(config=keys.overlay(source.config.config, sized))


def run(cfg: Config, args: EvalArgs, source: policies.PolicySource) -> dict[str, Any]:
    """Score a policy in the environments of `cfg`; print, write and return the record.

    Args:
      cfg: the policy's config (`saved_config`) with the user's changes.
      args: the command's flags.
      source: the policy.

    Raises:
      ConfigError: the policy does not fit the environment, or the results cannot be written.
    """
    _require_writable(cfg, args, source)
    allowed = trust.outside(compose.to_mapping(cfg))  # whoever gave `cfg` trusts them
    target = _target(Path(args.output) if args.output else source.folder / "eval", source.path.stem)
    acting = perturbations.from_mode(
        args.mode, noise=args.noise, pushes=args.pushes, delay=args.delay, randomization=args.dynamics
    )
    cfg = envs.task_of(cfg).perturb(_long_enough(cfg), acting)
    console = Console()
    parts = experiment.build(cfg, evaluation=True, adapt=source.adapt)
    try:
        policy, spec = source.policy(parts), parts.env.spec
        steps = cfg.training.max_eval_steps or spec.max_episode_steps
        count = f"{spec.num_envs} environment{'s' * (spec.num_envs != 1)}"
        console.print(
            f"{policy.name}: {parts.robot.name} on {cfg.simulator.name}, {count}, "
            f"{_duration(cfg, steps, spec.control_dt)}, {args.mode}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
        rope = cfg.simulator.config.virtual_gantry
        if rope.enabled:
            until = "until you let go" if rope.hold_s is None else f"for {rope.hold_s + rope.release_s:g} s"
            console.print(f"A gantry holds every robot {until}; scores count that time.", soft_wrap=True)
        unit = "" if source.path.suffix else f"{parts.learner.iteration_name} "
        title = f"{parts.robot.name}: {unit}{source.path.name}"
        first = args.velocity or (0.0, 0.0, 0.0)
        limits = None if cfg.training.headless or parts.env.task.steering is None else command_limits(parts)
        print_line = partial(console.print, soft_wrap=True)
        with viewer_session(parts, title, print_line, command=first, limits=limits) as viewer:
            if viewer is not None:  # steered as the user likes: there is no one command to compare with
                velocity = None if limits is None else first
                args = replace(args, velocity=velocity, commands="drawn", pictures=False)
            command, groups = commands.choose(parts, args)
            for line in commands.notes(parts, args):
                console.print(line, soft_wrap=True, markup=False, highlight=False)
            recorder = EvalRecorder(parts, command, args, target, console.print)
            if viewer is None:
                scores = _scores(parts, policy, command, steps, recorder, groups)
            else:
                with on_signal(lambda text: None) as stop:  # Ctrl-C ends it as closing the viewer does
                    teleop = Teleop(viewer, spec.num_envs, spec.control_dt, stop, frames_of(parts))
                    scores = _with_live_command(parts, policy, command, steps, recorder, teleop)
    finally:
        parts.bridge.close()
    measures = parts.env.task.measures
    record = report.record(
        scores,
        cfg,
        acting,
        measures,
        policy=policy.name,
        robot=parts.robot.name,
        steps=steps,
        control_dt=spec.control_dt,
        velocity=args.velocity,
        commands=sweep.COMMANDS if args.commands == "sweep" else None,
    )
    console.print(report.tables(scores, measures))
    if groups:
        by_group = sweep.table(scores) if args.commands == "sweep" else report.group_table(scores, measures)
        console.print("", by_group)
    files = []
    if cfg.training.headless:
        try:
            with replacing(target) as hidden:
                hidden.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
        except OSError as error:
            raise _unwritten(target, error) from None
        files.append(target)
    try:
        shown = recorder.finish(
            f"{policy.name}: {parts.robot.name} on {cfg.simulator.name}, {args.mode}, survival "
            f"{scores.survival_rate:.1%}",
            policy=policy.name,
            simulator=cfg.simulator.name,
            seed=cfg.training.seed,
        )
    except OSError as error:
        raise _unrecorded(str(args.record), error) from None
    if cfg.training.export_onnx:
        shown.append(exporting.from_checkpoint(source, allow_code=allowed))
    for path in [*files, *shown]:
        console.print(f"written to {path}", soft_wrap=True, markup=False, highlight=False)
    if args.record:
        console.print(
            f"Look at it: python -m holosoma_jax.replay {shlex.quote(args.record)}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
    return record


def _scores(
    parts: Setup,
    policy: Policy,
    command: jax.Array | None,
    steps: int,
    recorder: EvalRecorder,
    groups: Mapping[str, np.ndarray],
) -> Scores:
    """Run the evaluation under a progress bar."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("evaluating", total=steps)

        def on_step(info: StepInfo) -> None:
            recorder(info)
            progress.update(task, completed=info.t + 1)

        key = jax.random.key(parts.cfg.training.seed)
        return evaluate.run(parts, policy, command, steps, key, on_step, groups=groups)


def _with_live_command(
    parts: Setup,
    policy: Policy,
    command: jax.Array | None,
    steps: int,
    recorder: EvalRecorder,
    teleop: Teleop,
) -> Scores:
    """Run it with the commands that the user of the viewer gives."""

    def on_step(info: StepInfo) -> None:
        recorder(info)
        teleop(info)

    key = jax.random.key(parts.cfg.training.seed)
    return evaluate.run(parts, policy, command, steps, key, on_step, teleop)


def _duration(cfg: Config, steps: int, control_dt: float) -> str:
    if not cfg.training.headless and cfg.training.max_eval_steps is None:
        return "until the viewer is closed"
    return f"{steps} steps ({steps * control_dt:g} s)"


def _require_writable(cfg: Config, args: EvalArgs, source: policies.PolicySource) -> None:
    """Raise ConfigError for outputs that cannot be made and flags that contradict, before the work."""
    if args.commands == "sweep" and args.velocity is not None:
        raise ConfigError("--commands sweep: --velocity gives another command; leave one of them out.")
    if args.record and not args.record.endswith(".npz"):
        raise ConfigError(f"--record: got '{args.record}'; wanted a file that ends in .npz.")
    if args.record:
        try:
            require_writable(Path(args.record).parent)
        except OSError as error:
            raise _unrecorded(args.record, error) from None
    if cfg.training.export_onnx and policies.is_file(source.path):
        raise ConfigError(f"--training.export-onnx: {source.path} is an ONNX file already; leave it out.")


def _unrecorded(path: str, error: OSError) -> ConfigError:
    return ConfigError(f"--record: cannot write {path} ({error.strerror or error}); choose another file.")


def _long_enough(cfg: Config) -> Config:
    """Episodes that the clock does not cut before the evaluation ends."""
    sim = cfg.simulator.config.sim
    duration_s = (cfg.training.max_eval_steps or 0) * sim.control_decimation / sim.fps
    if not cfg.training.headless:
        duration_s = duration_s or ENDLESS_S
    sim = replace(sim, max_episode_length_s=max(sim.max_episode_length_s, duration_s))
    return replace(cfg, simulator=replace(cfg.simulator, config=replace(cfg.simulator.config, sim=sim)))


def _target(folder: Path, stem: str) -> Path:
    """The file to write, in a folder that exists and can be written: seen before the work, not after."""
    target = folder / f"{stem}.json"
    try:
        require_writable(folder)
    except OSError as error:
        raise _unwritten(target, error) from None
    return target


def _unwritten(target: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{target} cannot be written ({error.strerror or error}); choose --output FOLDER.")
