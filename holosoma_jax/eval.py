"""`python -m holosoma_jax.eval`: score a checkpoint or an ONNX policy, without learning.

Prints a table and writes ``eval/<policy>.json`` beside the policy.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from holosoma_jax.config import compose, keys
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config

if TYPE_CHECKING:
    from bridges.protocol import SimState

DEFAULT_ENVS = 64
"""Environments, unless the command line says otherwise: the training's number is for learning."""


@dataclass(frozen=True)
class EvalArgs:
    """Evaluation."""

    checkpoint: str | None = None
    """A run directory, one of its checkpoints/<step> folders, or an .onnx policy file."""
    velocity: tuple[float, float, float] | None = None
    """Command of every environment: m/s forward, m/s left, rad/s yaw rate; default: drawn as in
    training, one for each environment."""
    mode: Literal["clean", "train_like", "stress"] = "clean"
    """Disturbances: none; noise, pushes, delay and randomisation as trained; or half as strong again."""
    noise: bool | None = None
    """Observation noise; default: as the mode says."""
    pushes: bool | None = None
    """Pushes; default: as the mode says."""
    delay: bool | None = None
    """Action delay; default: as the mode says."""
    dynamics: bool | None = None
    """Randomised masses, friction, gains, ...; default: as the mode says."""
    video: bool = False
    """Film the first environment, for logger.video.length_s at most."""
    output: str | None = None
    """Folder of the results; default: eval/ beside the policy."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    cfg, args = compose.parse_or_exit(
        list(sys.argv[1:] if argv is None else argv),
        "python -m holosoma_jax.eval",
        "Scores a policy. The config is the policy's own; choices and overrides change it.",
        extra=EvalArgs,
        base=saved_config,
    )
    try:
        run(cfg, args)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: no scores", file=sys.stderr)
        return 130
    return 0


def saved_config(args: EvalArgs) -> dict[str, Any]:
    """The config that the policy was trained with, sized and silenced for an evaluation.

    Raises:
      ConfigError: no such policy.
    """
    from holosoma_jax.loop import policies

    sized: Mapping[str, Any] = {
        "training": {"num_envs": DEFAULT_ENVS, "checkpoint": None, "multigpu": False},
        "logger": {"name": "disabled"},
    }
    return keys.overlay(policies.find(_checkpoint(args)).config, sized)


def run(cfg: Config, args: EvalArgs) -> dict[str, Any]:
    """Score the policy of `args` in the environments of `cfg`; print, write and return the record.

    Raises:
      ConfigError: the policy does not fit the environment, or the results cannot be written.
    """
    import jax
    import jax.numpy as jnp
    from rich.console import Console
    from rich.progress import Progress

    from holosoma_jax.io import video
    from holosoma_jax.loop import conditions, evaluate, policies, report, seeding, setup

    source = policies.find(_checkpoint(args))
    target = _target(Path(args.output) if args.output else source.folder / "eval", source.path.stem)
    acting = conditions.choose(
        args.mode, noise=args.noise, pushes=args.pushes, delay=args.delay, randomization=args.dynamics
    )
    cfg = conditions.apply(_long_enough(cfg), acting)
    console = Console()
    parts = setup.build(cfg, evaluation=True, adapt=source.adapt)
    try:
        policy, spec = source.policy(parts), parts.env.spec
        key, steps = jax.random.key(cfg.training.seed), cfg.training.max_eval_steps or spec.max_episode_steps
        command = evaluate.draw_commands(cfg, spec.num_envs, seeding.stream(key, "command"))
        if args.velocity is not None:
            command = jnp.tile(jnp.asarray(args.velocity, jnp.float32)[None], (spec.num_envs, 1))
        console.print(
            f"{policy.name}: {parts.robot.name} on {cfg.simulator.name}, {spec.num_envs} environments, "
            f"{steps} steps ({steps * spec.control_dt:g} s), {args.mode}",
            soft_wrap=True,
        )
        recorder = video.EpisodeRecorder(
            replace(cfg.logger.video, enabled=args.video),
            parts.robot,
            parts.terrain.ground,
            target.parent,
            spec.control_dt,
            warn=console.print,
        )
        if args.video:
            recorder.start(target.stem)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("evaluating", total=steps)

            def on_step(step: int, sim: SimState) -> None:
                recorder.add(sim, command)
                progress.update(task, completed=step + 1)

            scores = evaluate.run(parts, policy, command, steps, key, on_step)
    finally:
        parts.bridge.close()
    record = report.record(
        scores,
        cfg,
        acting,
        policy=policy.name,
        robot=parts.robot.name,
        steps=steps,
        control_dt=spec.control_dt,
        velocity=args.velocity,
    )
    console.print(report.tables(scores))
    target.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    for path in [target, *recorder.close()]:
        console.print(f"written to {path}", soft_wrap=True)
    return record


def _checkpoint(args: EvalArgs) -> str:
    if not args.checkpoint:
        raise ConfigError("--checkpoint is missing: give a run directory, a checkpoint or an .onnx file.")
    return args.checkpoint


def _long_enough(cfg: Config) -> Config:
    """Episodes that the clock does not cut before the evaluation ends."""
    sim = cfg.simulator.config.sim
    asked = (cfg.training.max_eval_steps or 0) * sim.control_decimation / sim.fps
    sim = replace(sim, max_episode_length_s=max(sim.max_episode_length_s, asked))
    return replace(cfg, simulator=replace(cfg.simulator, config=replace(cfg.simulator.config, sim=sim)))


def _target(folder: Path, stem: str) -> Path:
    """The file to write, in a folder that exists and can be written: seen before the work, not after."""
    target = folder / f"{stem}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ConfigError(f"{target} cannot be written ({error.strerror}); choose --output FOLDER.") from None
    return target


if __name__ == "__main__":
    sys.exit(main())
