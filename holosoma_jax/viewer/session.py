"""Opening the viewer that a config asks for, beside a training or an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from bridges.protocol import Array, SimState
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.experiment import Setup
from holosoma_jax.parallel import processes
from holosoma_jax.render.steering import Command, Limits, clamp
from holosoma_jax.viewer.viewer import Viewer, ViewerUnavailable, open_viewer


class Screen(Protocol):
    """What a run needs of `viewer.Viewer`. Once it is open, nothing in it stops a run."""

    @property
    def closed(self) -> bool:
        """Whether the user has closed it."""
        ...

    @property
    def command(self) -> Command | None:
        """The user's velocity command."""
        ...

    def show(self, sim: SimState, command: Array | None = None) -> None:
        """Show the environment that the user selected; frames may be dropped."""
        ...

    def close(self) -> None:
        """End it."""
        ...


@contextmanager
def viewer_session(
    parts: Setup,
    title: str,
    say: Callable[[str], None],
    command: Command | None = None,
    limits: Limits | None = None,
) -> Iterator[Viewer | None]:
    """The viewer that the config asks for, open within the context; None if it asks for none.

    Args:
      parts: of the run.
      title: of the panel.
      say: gets the line that tells where to look.
      command: the first velocity command of a user who steers; None: the user only watches.
      limits: of the velocity commands; None: the user only watches.

    Raises:
      ConfigError: no viewer can be shown here.
    """
    cfg = parts.cfg
    if cfg.training.headless or not processes.is_main():
        yield None
        return
    try:
        viewer = open_viewer(
            cfg.viewer,
            parts.robot,
            parts.terrain.ground,
            parts.env.spec.num_envs,
            title,
            limits=limits,
            command=(0.0, 0.0, 0.0) if command is None or limits is None else clamp(command, limits),
            stays=command is None,
            say=say,
        )
    except ViewerUnavailable as error:
        raise ConfigError(f"training.headless: got false, but there is no viewer here ({error}).") from None
    try:
        yield viewer
    finally:
        viewer.close()
