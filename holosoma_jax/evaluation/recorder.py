"""What an evaluation leaves beside its scores: a video, pictures, a recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import SimState
from holosoma_jax import rotations
from holosoma_jax.config.schema.evaluation import EvalArgs
from holosoma_jax.evaluation import timeline_plot, tracking_plot
from holosoma_jax.experiment import Setup
from holosoma_jax.render import video, video_job
from holosoma_jax.render.recording import Recorder
from holosoma_jax.render.video_job import Trajectory, VideoUnavailable
from holosoma_jax.rollout.state import StepInfo


class EvalRecorder:
    """An `evaluate.OnStep` that keeps what is to be shown afterwards; nothing it cannot show is fatal."""

    def __init__(
        self,
        parts: Setup,
        command: jax.Array | None,
        args: EvalArgs,
        target: Path,
        warn: Callable[[str], None],
    ):
        """Start without a frame, or with the video's file open.

        Args:
          parts: of the evaluation.
          command: [E, 3] m/s, m/s, rad/s; None where the task takes none.
          args: which of these are wanted.
          target: the results' file; the others lie beside it and share its stem.
          warn: gets one line for what cannot be drawn.
        """
        self._parts, self._args = parts, args
        self._target, self._warn = target, warn
        self._host_command = None if command is None else np.asarray(command)
        self._velocity = jax.jit(_velocities)
        self._measured: list[np.ndarray] = []
        self._first: list[np.ndarray] = []
        self._played: list[np.ndarray] = []
        self._shown: list[dict[str, np.ndarray]] = []
        self._frames: list[Trajectory] = []
        self._recorder = Recorder(parts.robot, ground=parts.terrain.ground)
        self._video = video.EpisodeRecorder(
            replace(parts.cfg.logger.video, enabled=args.video),
            parts.robot,
            parts.terrain.ground,
            target.parent,
            parts.env.spec.control_dt,
            warn=warn,
        )
        if args.video:
            self._video.start(target.stem)

    def __call__(self, info: StepInfo) -> None:
        """Copy what is wanted of one control step."""
        sim, command = info.sim, info.command
        self._video.add(sim, command, info.ghost)
        if self._args.record:
            self._recorder.add(
                sim,
                None if command is None else np.asarray(command),
                info.pending.action,
                info.targets,
                episode_start=bool(info.pending.starts[0]),
                ghost=info.ghost,
            )
        if not self._args.pictures:
            return
        first = np.asarray(info.pending.first)
        self._measured.append(np.asarray(self._velocity(sim)))
        self._first.append(first)
        if info.pending.frame is not None:
            self._played.append(np.asarray(info.pending.frame))
            self._shown.append({name: np.asarray(value) for name, value in info.pending.shown.items()})
        if first[0]:
            self._frames.append(video_job.frame_of(sim, 0, self._host_command, info.ghost))

    def finish(self, title: str, **facts: object) -> list[Path]:
        """Write everything, and wait for it.

        Args:
          title: of the plot.
          facts: for the metadata of the recording.

        Returns:
          The files.

        Raises:
          OSError: the recording cannot be written.
        """
        files = []
        if self._args.record:
            spec = self._parts.bridge.spec
            path = Path(self._args.record)
            files.append(
                self._recorder.save(path, control_dt=spec.control_dt, decimation=spec.decimation, **facts)
            )
        if self._args.pictures and self._measured:
            files += [*self._plot(title), *self._plot_timeline(title), *self._sheet()]
        return files + self._video.close()

    def _plot(self, title: str) -> list[Path]:
        if self._host_command is None:
            return []
        try:
            path = tracking_plot.draw(
                self._beside("velocity"),
                self._host_command,
                np.stack(self._measured),
                np.stack(self._first),
                self._parts.env.spec.control_dt,
                title,
            )
        except OSError as error:
            self._warn(f"no picture of the velocities: {error.strerror or error}.")
            return []
        return [path]

    def _plot_timeline(self, title: str) -> list[Path]:
        task = self._parts.env.task
        if not self._played or task.timeline is None or not task.timeline.shown:
            return []
        values = {name: np.stack([step[name] for step in self._shown]) for name in task.timeline.shown}
        try:
            path = timeline_plot.draw(
                self._beside("errors"),
                {task.measures[name]: value for name, value in values.items()},
                np.stack(self._played).astype(np.int64),
                np.stack(self._first),
                task.cases(self._parts.env),
                self._parts.env.spec.control_dt,
                title,
            )
        except OSError as error:
            self._warn(f"no picture of the errors: {error.strerror or error}.")
            return []
        return [path]

    def _sheet(self) -> list[Path]:
        whole = video_job.stack(self._frames)
        parts = self._parts
        try:
            path = video.render_sheet(
                self._beside("frames"),
                whole,
                parts.robot,
                parts.terrain.ground,
                parts.env.spec.control_dt,
                parts.cfg.logger.video,
            )
        except VideoUnavailable as error:
            self._warn(f"no picture of the robot: {error}. Silence this with --pictures False.")
            return []
        return [path]

    def _beside(self, what: str) -> Path:
        return self._target.with_name(f"{self._target.stem}-{what}.png")


def _velocities(sim: SimState) -> jax.Array:
    """[E, 3] forward and left m/s, yaw rate rad/s, in the base's frame."""
    linear = rotations.rotate_inverse(sim.root_quat, sim.root_lin_vel)
    angular = rotations.rotate_inverse(sim.root_quat, sim.root_ang_vel)
    return jnp.concatenate([linear[:, :2], angular[:, 2:]], axis=-1)
