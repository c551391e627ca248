"""The viewer that follows a training run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holosoma_jax.rollout.control_step import Step
from holosoma_jax.training.trainer import Extras
from holosoma_jax.viewer.viewer import Viewer


class ViewerCallback:
    """`trainer.Extras` that shows every control step and passes every call on to the one it wraps."""

    def __init__(self, extras: Extras, viewer: Viewer, say: Callable[[str], None]):
        """Show in `viewer`; `say` gets one line when it is closed, training goes on."""
        self._extras, self._viewer, self._say = extras, viewer, say
        self._told = False

    def begin(self, iteration: int) -> None:
        """An iteration starts."""
        self._extras.begin(iteration)

    def step(self, step: Step) -> None:
        """A control step has been taken."""
        self._extras.step(step)
        if not self._viewer.closed:
            self._viewer.show(step.sim, getattr(step.env, "command", None))
        elif not self._told:
            self._told = True
            self._say("The viewer is closed; training goes on.")

    def saved(self, iteration: int, learner: Any) -> None:
        """A checkpoint has been written."""
        self._extras.saved(iteration, learner)
