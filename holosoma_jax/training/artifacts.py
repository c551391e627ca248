"""What a run leaves beside its numbers: policies, videos, the learning curve.

Whatever fails here becomes one warning; the run continues.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import jax

from holosoma_jax.config.schema import Config
from holosoma_jax.experiment import Setup
from holosoma_jax.loggers import wandb_sink
from holosoma_jax.policy import exporting
from holosoma_jax.render import video
from holosoma_jax.rollout.state import StepInfo
from holosoma_jax.runs import saved_steps
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.training import learning_curve
from holosoma_jax.training.callbacks import Callback

log = logging.getLogger(__name__)

Film: TypeAlias = Callable[[Config, Callable[[Any], Any], Callable[..., None]], None]
"""config, policy (observations -> actions), what takes each control step's (simulator state, velocity command, ghost):
lets the policy act for the video at the end of a run, such as `evaluation.film.walk`"""


class ArtifactWriter(Callback):
    """ONNX files at checkpoints, videos of training episodes, the learning curve."""

    def __init__(
        self,
        setup: Setup,
        run: RunDir,
        share: Callable[[Path], None] = lambda path: None,
        film: Film | None = None,
    ):
        """Nothing is made yet.

        Args:
          setup: the parts of the run.
          run: where everything goes.
          share: gets every new checkpoint, policy and video.
          film: makes the video at the end; None: there is none.
        """
        self._setup, self._run, self._share, self._film = setup, run, share, film
        self._shared_videos = 0
        self.recorder = video.EpisodeRecorder(
            setup.cfg.logger.video,
            setup.robot,
            setup.terrain.ground,
            run.videos,
            setup.env.spec.control_dt,
            warn=log.warning,
        )
        self._due: str | None = None  # a video that waits for the next episode of environment 0

    def on_iteration_start(self, iteration: int) -> None:
        """Ask for a video if it is time for one, and pass on those that are drawn."""
        self._share_videos()
        if self._due is None and self.recorder.due(iteration):
            self._due = f"{iteration:07d}"

    def on_step(self, info: StepInfo) -> None:
        """Record environment 0, from the start of an episode to its end."""
        if self._due is None and not self.recorder.recording:
            return
        self.recorder.add(info.sim, info.command, info.ghost)
        if bool(info.reset[0]):
            self.recorder.finish()
            if self._due is not None:
                self.recorder.start(self._due)
                self._due = None

    def on_checkpoint(self, iteration: int, learner: Any) -> None:
        """Export the policy and draw the curve so far."""
        if self._setup.cfg.training.export_onnx:
            self._attempt("policy", lambda: self._share(export(self._setup, self._run, iteration, learner)))
        newest = saved_steps.latest(self._run.checkpoints)
        if newest is not None:
            self._share(newest)
        self._attempt("learning curve", self._curve)

    def finish(self, learner: Any | None) -> None:
        """Wait for the videos; with a `learner`, film it first."""
        film = self._film
        if learner is not None and film is not None and self._setup.cfg.logger.video.enabled:
            self._attempt("final video", lambda: self._final_video(film, learner))
        self._attempt("videos", self.recorder.close)
        self._share_videos()

    def _share_videos(self) -> None:
        for path in self.recorder.videos[self._shared_videos :]:
            self._shared_videos += 1
            self._share(path)

    def _curve(self) -> None:
        learning_curve.draw(self._run.metrics, self._run.curve, unit=self._setup.learner.iteration_name)

    def _final_video(self, film: Film, learner: Any) -> None:
        self.recorder.finish()
        self.recorder.start("final")
        film(self._setup.cfg, jax.jit(self._setup.learner.policy_fn(learner)), self.recorder.add)
        self.recorder.finish()

    def _attempt(self, what: str, make: Callable[[], object]) -> None:
        try:
            make()
        except Exception as error:
            lines = str(error).strip().splitlines()
            log.warning(f"no {what}: {lines[0] if lines else type(error).__name__}")


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
        setup.learner.policy_fn(learner),
        wandb_run_path=wandb_sink.run_path(run.path),
    )
    hidden = run.policies / ".latest.tmp"
    shutil.copyfile(path, hidden)
    os.replace(hidden, run.policies / "latest.onnx")
    return path
