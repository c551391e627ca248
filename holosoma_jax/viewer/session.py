"""Opening the viewer that a config asks for, beside a training or an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.experiment import Setup
from holosoma_jax.parallel import processes
from holosoma_jax.viewer.controls import Command, CommandLimits, Playback, clamp
from holosoma_jax.viewer.opening import open_viewer
from holosoma_jax.viewer.viewer import Viewer, ViewerUnavailable


def frames_of(parts: Setup) -> int:
    """Frames of the task's timeline, of which a user may choose one; 0: it has none."""
    timeline = getattr(parts.env.task, "timeline", None)
    return 0 if timeline is None else timeline.length(parts.env)


@contextmanager
def viewer_session(
    parts: Setup,
    title: str,
    print_line: Callable[[str], None],
    command: Command | None = None,
    limits: CommandLimits | None = None,
) -> Iterator[Viewer | None]:
    """The viewer that the config asks for, open within the context; None if it asks for none.

    Args:
      parts: of the run.
      title: of the panel.
      print_line: gets the line that tells where to look.
      command: the first velocity command of a user who steers (an evaluation); None: the user only watches (a
        training), and may stop its clock where no other process would wait for this one.
      limits: of the velocity commands; None: the user gives none.

    Raises:
      ConfigError: no viewer can be shown here.
    """
    cfg = parts.cfg
    if cfg.training.headless or not processes.is_main():
        yield None
        return
    rope = cfg.simulator.config.virtual_gantry
    try:
        viewer = open_viewer(
            cfg.viewer,
            parts.robot,
            parts.terrain.ground,
            parts.env.spec.num_envs,
            title,
            limits=limits,
            command=(0.0, 0.0, 0.0) if command is None or limits is None else clamp(command, limits),
            playback=Playback(
                pausable=command is not None or processes.size() == 1,
                num_frames=0 if command is None else frames_of(parts),
                rope=rope.length if rope.enabled and command is not None else None,
                unpaced=command is None,
            ),
            stays=command is None,
            print_line=print_line,
        )
    except ViewerUnavailable as error:
        raise ConfigError(f"training.headless: got false, but there is no viewer here ({error}).") from None
    try:
        yield viewer
    finally:
        viewer.close()
