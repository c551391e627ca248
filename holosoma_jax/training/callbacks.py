"""What else happens during a run: callbacks of the training loop."""

from __future__ import annotations

from typing import Any

from holosoma_jax.rollout.state import StepInfo


class Callback:
    """Does nothing; subclasses override what they need. Nothing that a callback does may end the run."""

    def on_iteration_start(self, iteration: int) -> None:
        """Iteration `iteration` begins. Of iterations in one XLA program this is called after the program."""

    def on_step(self, info: StepInfo) -> None:
        """A control step has been taken; its arrays are borrowed."""

    def on_checkpoint(self, iteration: int, learner: Any) -> None:
        """A checkpoint has been written, `iteration` iterations being completed."""
