"""The viewer that follows a training run."""

from __future__ import annotations

import logging

from holosoma_jax.rollout.state import StepInfo
from holosoma_jax.signals import Stop
from holosoma_jax.training.callbacks import Callback
from holosoma_jax.viewer.pacing import Pacer
from holosoma_jax.viewer.viewer import Viewer

log = logging.getLogger(__name__)


class ViewerCallback(Callback):
    """Shows every control step, until the user closes the viewer; training continues.

    The user may stop the training's clock, take single control steps and slow it down.
    """

    def __init__(self, viewer: Viewer, control_dt: float, stop: Stop):
        """Show in `viewer`.

        Args:
          viewer: an open one.
          control_dt: s.
          stop: asks for the end of the training, paused or not.
        """
        self._viewer, self._stop = viewer, stop
        self._pacer = Pacer(viewer, control_dt)
        self._logged = self._paused = False

    def on_step(self, info: StepInfo) -> None:
        """A control step has been taken."""
        if not self._viewer.closed:
            self._show(info)
        elif not self._logged:
            self._logged = True
            log.info("The viewer is closed; training continues.")

    def _show(self, info: StepInfo) -> None:
        def show() -> None:
            self._viewer.show(info.sim, info.command, ghost=info.ghost)

        show()
        if self._viewer.paused != self._paused:
            self._paused = self._viewer.paused
            log.info("Paused in the viewer." if self._paused else "The viewer's user lets it continue.")
        self._pacer.wait(show, lambda: self._viewer.closed or self._stop.requested)
