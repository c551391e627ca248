"""The viewer that follows a training run."""

from __future__ import annotations

import logging

from holosoma_jax.rollout.state import StepInfo
from holosoma_jax.training.callbacks import Callback
from holosoma_jax.viewer.viewer import Viewer

log = logging.getLogger(__name__)


class ViewerCallback(Callback):
    """Shows every control step, until the user closes the viewer; training continues."""

    def __init__(self, viewer: Viewer):
        """Show in `viewer`."""
        self._viewer, self._logged = viewer, False

    def on_step(self, info: StepInfo) -> None:
        """A control step has been taken."""
        if not self._viewer.closed:
            self._viewer.show(info.sim, info.command)
        elif not self._logged:
            self._logged = True
            log.info("The viewer is closed; training continues.")
