"""What a run leaves beside its numbers: policies, videos, the learning curve.

None of it is worth a run: whatever fails here becomes one warning.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from holosoma_jax.experiment import Setup, build, iteration_name, learner_module
from holosoma_jax.loggers import wandb_sink
from holosoma_jax.policy import exporting
from holosoma_jax.policy.policies import Policy
from holosoma_jax.render import video
from holosoma_jax.rollout.control_step import Step
from holosoma_jax.runs import checkpoint
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.training import learning_curve

FINAL_COMMAND = (0.5, 0.0, 0.0)
"""m/s forward, m/s left, rad/s: what the robot is asked to do in the video at the end"""


class Artifacts:
    """`trainer.Extras` of a run: ONNX files at checkpoints, videos of training episodes, the curve."""

    def __init__(
        self,
        setup: Setup,
        run: RunDir,
        warn: Callable[[str], None],
        share: Callable[[Path], None] = lambda path: None,
    ):
        """Nothing is made yet.

        Args:
          setup: the parts of the run.
          run: where everything goes.
          warn: gets one line for what could not be made.
          share: gets every new checkpoint, policy and video.
        """
        self._setup, self._run, self._warn, self._share = setup, run, warn, share
        self._shared_videos = 0
        self._recorder = video.EpisodeRecorder(
            setup.cfg.logger.video,
            setup.robot,
            setup.terrain.ground,
            run.videos,
            setup.env.spec.control_dt,
            warn=warn,
        )
        self._due: str | None = None  # a video that waits for the next episode of environment 0

    def begin(self, iteration: int) -> None:
        """Ask for a video if it is time for one, and pass on those that are drawn."""
        self._share_videos()
        if self._due is None and self._recorder.due(iteration):
            self._due = f"{iteration:07d}"

    def step(self, step: Step) -> None:
        """Record environment 0, from the start of an episode to its end."""
        if self._due is None and not self._recorder.recording:
            return
        self._recorder.add(step.sim, getattr(step.env, "command", None))
        if bool(step.reset.mask[0]):
            self._recorder.finish()
            if self._due is not None:
                self._recorder.start(self._due)
                self._due = None

    def saved(self, iteration: int, learner: Any) -> None:
        """Export the policy and draw the curve so far."""
        if self._setup.cfg.training.export_onnx:
            self._attempt("policy", lambda: self._share(export(self._setup, self._run, iteration, learner)))
        newest = checkpoint.latest(self._run.checkpoints)
        if newest is not None:
            self._share(newest)
        self._attempt("learning curve", self._curve)

    def finish(self, learner: Any | None) -> None:
        """Wait for the videos; with a `learner`, film it first, alone, walking as `FINAL_COMMAND` says."""
        if learner is not None and self._setup.cfg.logger.video.enabled:
            self._attempt("final video", lambda: self._film(learner))
        self._attempt("videos", self._recorder.close)
        self._share_videos()

    def _share_videos(self) -> None:
        for path in self._recorder.videos[self._shared_videos :]:
            self._shared_videos += 1
            self._share(path)

    def _curve(self) -> None:
        unit = iteration_name(self._setup.cfg)
        learning_curve.draw(self._run.metrics, self._run.curve, unit=unit)

    def _film(self, learner: Any) -> None:
        from holosoma_jax.evaluation import evaluate

        cfg = self._setup.cfg
        one = build(replace(cfg, training=replace(cfg.training, num_envs=1)), evaluation=True)
        try:
            steps = min(
                round(cfg.logger.video.length_s / one.env.spec.control_dt), one.env.spec.max_episode_steps - 1
            )
            policy = Policy("final", jax.jit(learner_module(cfg).policy_fn(learner)))
            command = jnp.array([FINAL_COMMAND])
            self._recorder.finish()
            self._recorder.start("final")
            evaluate.run(
                one,
                policy,
                command,
                steps,
                jax.random.key(0),
                lambda moment: self._recorder.add(moment.sim, command),
            )
            self._recorder.finish()
        finally:
            one.bridge.close()

    def _attempt(self, what: str, make: Callable[[], object]) -> None:
        try:
            make()
        except Exception as error:
            lines = str(error).strip().splitlines()
            self._warn(f"WARNING: no {what}: {lines[0] if lines else type(error).__name__}")


def export(setup: Setup, run: RunDir, iteration: int, learner: Any) -> Path:
    """Write ``policies/<iteration>.onnx`` and its copy ``latest.onnx``.

    Raises:
      OnnxParityError: the graph does not compute what JAX does.
      OSError: nothing can be written.
    """
    path = exporting.write(
        setup,
        run.policies / f"{iteration}.onnx",
        iteration,
        learner_module(setup.cfg).policy_fn(learner),
        wandb_run_path=wandb_sink.run_path(run.path),
    )
    hidden = run.policies / ".latest.tmp"
    shutil.copyfile(path, hidden)
    os.replace(hidden, run.policies / "latest.onnx")
    return path
